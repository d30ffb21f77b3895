"""Training sets: what people and machines do with them. finetunes.training_sets.builder has the work itself."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from core.errors import Fault, Problem
from core.references import parse_reference
from evaluations.comparisons import pairwise
from evaluations.curation import annotation
from evaluations.datasets import lifecycle as datasets
from evaluations.models import DatasetVersion
from evaluations.runs import lifecycle as runs
from evaluations.runs import planning
from finetunes.models import TrainingFile, TrainingSet, TrainingSetState
from finetunes.providers.jsonl import Method
from finetunes.training_sets import builder, short_prompt
from infra import work
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.content.content_hash import content_hash
from registry.models import Project, Prompt, PromptVersion
from registry.prompts import lifecycle as prompts
from registry.prompts import resolution, versions

SILENCE = timedelta(minutes=10)
LONGEST_INSTRUCTION = 8_000
# Where the short prompt of a prompt is kept: a prompt of its own, so that it can be read, measured and changed.
COMPANION = ".minimal"
# Not of a cross-validation.
WHOLE = (0, 0)


def create(actor: Actor, **asked: Any) -> TrainingSet:
    """As `ensure`, for who need not know whether the set is new."""
    return ensure(actor, **asked)[0]


@transaction.atomic
def ensure(
    actor: Actor,
    *,
    dataset_version: DatasetVersion,
    source: PromptVersion,
    instruction: str,
    method: str = Method.SUPERVISED,
    pairs: Mapping[str, Any] | None = None,
) -> tuple[TrainingSet, bool]:
    """Have files made of a dataset's training and validation cases, asked with `instruction` in place of all that
    `source` says; the set that the project has already of the same is the answer. Returns whether it is new.

    Preference pairs need a source: `{"comparison": 3}` (the better of two runs' answers to each case), `{"run": 5}`
    (expected outputs against answers that people marked as wrong) or `{"round": 7}` (what an annotation round settled
    on against what it overruled).
    """
    actor.require(Right.EDIT)
    faults: list[Fault] = []
    if method not in list(Method):
        faults.append(Fault("/method", "choice", f"Must be one of: {', '.join(Method)}."))
    if len(instruction) > LONGEST_INSTRUCTION:
        faults.append(Fault("/instruction", "too_long", f"Must have at most {LONGEST_INSTRUCTION:,} characters."))
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    chosen = _read_pairs(actor.project, Method(method), pairs or {}, dataset_version)
    prompt = _companion(actor, source, instruction)
    return _ensured(actor, dataset_version, source, prompt, method, chosen)


@transaction.atomic
def fold_of(actor: Actor, training_set: TrainingSet, fold: int, folds: int) -> TrainingSet:
    """The set that is made as this one is, but learns all folds of the data but one, which is left for the test."""
    actor.require(Right.EDIT)
    same = (training_set.dataset_version, training_set.source, training_set.prompt)
    return _ensured(actor, *same, training_set.method, training_set.pairs, (fold, folds))[0]


def _ensured(
    actor: Actor,
    dataset_version: DatasetVersion,
    source: PromptVersion,
    prompt: PromptVersion,
    method: str,
    pairs: Mapping[str, int],
    fold: tuple[int, int] = WHOLE,
) -> tuple[TrainingSet, bool]:
    recipe = {
        "dataset": dataset_version.content_hash,
        "dataset_version": f"{dataset_version.dataset.name}@{dataset_version.number}",
        "source": source.pk,
        "prompt": prompt.content_hash,
        "method": method,
        "pairs": pairs,
        # People go on marking answers: other marks are another set.
        "marked": planning.hash_of(builder.marked_wrong(pairs["run"])) if "run" in pairs else "",
        **({"fold": list(fold)} if fold != WHOLE else {}),
    }
    digest = content_hash(recipe)
    # Two that ask for the same at once wait for each other here.
    Project.objects.select_for_update(no_key=True).get(pk=actor.project.pk)
    there = TrainingSet.objects.filter(project=actor.project, recipe_hash=digest)
    same = there.exclude(state=TrainingSetState.FAILED).first()
    if same:
        return same, False
    made = TrainingSet.objects.create(
        project=actor.project,
        dataset_version=dataset_version,
        source=source,
        prompt=prompt,
        method=method,
        pairs=pairs,
        fold=fold[0],
        folds=fold[1],
        recipe_hash=digest,
        by=actor.user,
        by_key=actor.key,
        by_name=actor.name,
    )
    after = {"dataset": str(dataset_version), "source": str(source), "prompt": str(prompt), "method": method}
    audit.record(actor, "training_set.created", made, after=after)
    return made, True


def _read_pairs(project: Project, method: Method, pairs: Mapping[str, Any], version: DatasetVersion) -> dict[str, int]:
    if method != Method.PREFERENCE:
        if pairs:
            raise _pairs_fault("Only preference pairs come from runs, comparisons and rounds.")
        return {}
    match dict(pairs):
        case {"comparison": int(number), **others} if not others and not isinstance(number, bool):
            found = pairwise.numbered(project, number)
            dataset = found.candidate.dataset_version.dataset_id
        case {"run": int(number), **others} if not others and not isinstance(number, bool):
            dataset = runs.numbered(project, number).dataset_version.dataset_id
        case {"round": int(number), **others} if not others and not isinstance(number, bool):
            dataset = annotation.applied(project, number).dataset_id
        case _:
            raise _pairs_fault('Say where pairs come from: {"comparison": 3}, {"run": 5} or {"round": 7}.')
    if dataset != version.dataset_id:
        raise _pairs_fault(f"That is not on {version.dataset.name}.")
    return {name: int(value) for name, value in pairs.items()}


def _pairs_fault(sentence: str) -> Problem:
    return Problem("request.invalid", sentence, faults=[Fault("/pairs", "choice", sentence)])


def _companion(actor: Actor, source: PromptVersion, instruction: str) -> PromptVersion:
    """The version of the short prompt beside `source`'s own that has this instruction."""
    content = short_prompt.minimal(source.content, instruction)
    name = f"{source.prompt.name.removesuffix(COMPANION)}{COMPANION}"
    prompt = Prompt.objects.filter(project=actor.project, name=name).first()
    if prompt is None:
        description = f"The short prompt that models tuned for {source.prompt.name} are asked with."
        prompt = prompts.create(actor, name=name, description=description, tags=["fine-tuning"])
    prompt.project = actor.project
    version = versions.commit(actor, prompt, content=content, message=f"Short form of {source}").version
    version.prompt = prompt
    return version


def asked_for(project: Project, document: Mapping[str, Any]) -> dict[str, Any]:
    """A set as it is written: `dataset` (support.tickets@3), `prompt` (support.route@production), `instruction` (a
    suggestion where it is not given), `method` and `pairs`."""
    source = resolution.resolve(project, parse_reference(str(document["prompt"])))
    name, _, selector = str(document["dataset"]).partition("@")
    given = document.get("instruction")
    return {
        "dataset_version": datasets.selected(project, name, selector or "latest"),
        "source": source,
        "instruction": short_prompt.suggested(source.content) if given is None else str(given),
        "method": str(document.get("method") or Method.SUPERVISED.value),
        "pairs": document.get("pairs") or {},
    }


def loaded() -> QuerySet[TrainingSet]:
    """Sets with what they are about, without the long members that lists do not show."""
    wanted = ("project", "dataset_version__dataset", "source__prompt", "prompt__prompt", "by", "by_key__project")
    return TrainingSet.objects.select_related(*wanted).defer("lengths")


def numbered(project: Project, number: int) -> TrainingSet:
    """The project's set with this number, or `training_set.not_found`."""
    found = loaded().filter(project=project, pk=number).first()
    if found is None:
        raise Problem("training_set.not_found", f"There is no training set {number}.")
    found.project = project
    return found


def pieces(training_set: TrainingSet, file: str) -> Iterator[bytes]:
    """A file's bytes, piece by piece; `training_set.not_ready` or `training_set.no_file` where there are none."""
    if training_set.state != TrainingSetState.READY:
        raise Problem("training_set.not_ready", f"{training_set} is not built.")
    rows = TrainingFile.objects.filter(training_set=training_set, file=file).order_by("number")
    if not rows.exists():
        raise Problem("training_set.no_file", f"{training_set} has no file {file!r}.")
    return (bytes(data) for data in rows.values_list("data", flat=True).iterator(chunk_size=4))


def open_work() -> QuerySet[TrainingSet]:
    """What waits for a worker, or was left by one that died."""
    dead = timezone.now() - SILENCE
    waiting = TrainingSet.objects.filter(Q(beat_at=None) | Q(beat_at__lt=dead), state=TrainingSetState.BUILDING)
    return waiting.order_by("id")


def perform(training_set: TrainingSet) -> None:
    """Build a set; does nothing where another worker does it already."""
    mine = open_work().filter(pk=training_set.pk)
    if mine.update(beat_at=timezone.now(), attempts=F("attempts") + 1) != 1:
        return
    training_set.refresh_from_db(fields=["attempts"])
    work.carry_out(
        training_set,
        lambda: _keep(training_set, builder.built(training_set)),
        lambda sentence: _finish(training_set, TrainingSetState.FAILED, error=sentence),
    )


@transaction.atomic
def _keep(training_set: TrainingSet, built: builder.Built) -> None:
    if not TrainingSet.objects.select_for_update().filter(
        pk=training_set.pk, state=TrainingSetState.BUILDING, attempts=training_set.attempts
    ):
        return
    TrainingFile.objects.bulk_create(
        TrainingFile(training_set=training_set, file=file, number=place, data=piece)
        for file, data in built.files.items()
        for place, piece in enumerate(builder.cut(data), start=1)
    )
    _finish(
        training_set,
        TrainingSetState.READY,
        content_hash=built.content_hash,
        **built.counts,
        size=sum(map(len, built.files.values())),
        report=built.report,
        lengths=built.lengths,
    )


def _finish(training_set: TrainingSet, state: TrainingSetState, **members: Any) -> None:
    mine = TrainingSet.objects.filter(
        pk=training_set.pk, state=TrainingSetState.BUILDING, attempts=training_set.attempts
    )
    mine.update(state=state, finished_at=timezone.now(), **members)
