"""Training sets: creating, finding and building them. finetunes.training_sets.builder makes the files."""

from collections.abc import Iterator, Mapping
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from core.errors import Fault, Problem
from core.references import parse_reference
from evaluations.comparisons import lifecycle as comparisons
from evaluations.curation import annotation
from evaluations.datasets import lifecycle as datasets
from evaluations.models import DatasetVersion
from evaluations.runs import lifecycle as runs
from evaluations.runs import planning
from finetunes.models import TrainingFile, TrainingSet, TrainingSetState
from finetunes.providers.jsonl import Method
from finetunes.training_sets import builder, short_prompt
from infra import work
from infra.work import Lease
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.content.content_hash import content_hash
from registry.models import Project, Prompt, PromptVersion
from registry.prompts import lifecycle as prompts
from registry.prompts import resolution, versions

MAX_INSTRUCTION_LENGTH = 8_000
# The short prompt of a prompt is a prompt of its own with this suffix, so that it can be read, measured and changed.
SHORT_PROMPT_SUFFIX = ".minimal"
# Not of a cross-validation.
WHOLE = (0, 0)


def create(actor: Actor, **request: Any) -> TrainingSet:
    """Create a set as `ensure` does, and return it alone."""
    return ensure(actor, **request)[0]


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
    """Create a set of a dataset's train and validation cases, asked with `instruction` in place of all that `source`
    says; an existing set of the same recipe is returned instead. Also returns whether it is new.

    Preference pairs need a source: `{"comparison": 3}` (the better of two runs' answers to each case), `{"run": 5}`
    (expected outputs against answers that users annotated as wrong) or `{"round": 7}` (the answers that an annotation
    round settled on against those that it overruled).
    """
    actor.require(Right.EDIT)
    faults: list[Fault] = []
    if method not in list(Method):
        faults.append(Fault("/method", "choice", f"Must be one of: {', '.join(Method)}."))
    if len(instruction) > MAX_INSTRUCTION_LENGTH:
        faults.append(Fault("/instruction", "too_long", f"Must have at most {MAX_INSTRUCTION_LENGTH:,} characters."))
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    pair_source = _read_pairs(actor.project, Method(method), pairs or {}, dataset_version)
    prompt = _commit_short_prompt(actor, source, instruction)
    return _ensure_from_recipe(actor, dataset_version, source, prompt, method, pair_source)


@transaction.atomic
def ensure_fold(actor: Actor, training_set: TrainingSet, fold: int, folds: int) -> TrainingSet:
    """Create the set that is made as this one is, but learns all folds of the data but one, which is for the test."""
    actor.require(Right.EDIT)
    same = (training_set.dataset_version, training_set.source, training_set.prompt)
    return _ensure_from_recipe(actor, *same, training_set.method, training_set.pairs, (fold, folds))[0]


def _ensure_from_recipe(
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
        # Users go on annotating answers: other annotations make another set.
        "marked": planning.hash_cases(builder.results_judged_wrong(pairs["run"])) if "run" in pairs else "",
        **({"fold": list(fold)} if fold != WHOLE else {}),
    }
    digest = content_hash(recipe)
    # Concurrent requests for the same set wait for each other here.
    Project.objects.select_for_update(no_key=True).get(pk=actor.project.pk)
    same_recipe = TrainingSet.objects.filter(project=actor.project, recipe_hash=digest)
    existing = same_recipe.exclude(state=TrainingSetState.FAILED).first()
    if existing:
        return existing, False
    training_set = TrainingSet.objects.create(
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
    audit.record(actor, "training_set.created", training_set, after=after)
    return training_set, True


def _read_pairs(project: Project, method: Method, pairs: Mapping[str, Any], version: DatasetVersion) -> dict[str, int]:
    if method != Method.PREFERENCE:
        if pairs:
            raise _pairs_fault("Only preference pairs come from runs, comparisons and rounds.")
        return {}
    match dict(pairs):
        case {"comparison": int(number), **others} if not others and not isinstance(number, bool):
            comparison = comparisons.get_comparison(project, number)
            if comparison.candidate is None:
                raise _pairs_fault("Pairs come from a comparison of two runs.")
            dataset = comparison.candidate.dataset_version.dataset_id
        case {"run": int(number), **others} if not others and not isinstance(number, bool):
            dataset = runs.get_run(project, number).dataset_version.dataset_id
        case {"round": int(number), **others} if not others and not isinstance(number, bool):
            dataset = annotation.get_applied_round(project, number).dataset_id
        case _:
            raise _pairs_fault('Say where pairs come from: {"comparison": 3}, {"run": 5} or {"round": 7}.')
    if dataset != version.dataset_id:
        raise _pairs_fault(f"That is not on {version.dataset.name}.")
    return {name: int(value) for name, value in pairs.items()}


def _pairs_fault(sentence: str) -> Problem:
    return Problem("request.invalid", sentence, faults=[Fault("/pairs", "choice", sentence)])


def _commit_short_prompt(actor: Actor, source: PromptVersion, instruction: str) -> PromptVersion:
    """Commit the version of the short prompt of `source` that has this instruction."""
    content = short_prompt.make_short_prompt(source.content, instruction)
    name = f"{source.prompt.name.removesuffix(SHORT_PROMPT_SUFFIX)}{SHORT_PROMPT_SUFFIX}"
    prompt = Prompt.objects.filter(project=actor.project, name=name).first()
    if prompt is None:
        description = f"The short prompt that models tuned for {source.prompt.name} are asked with."
        prompt = prompts.create(actor, name=name, description=description, tags=["fine-tuning"])
    prompt.project = actor.project
    version = versions.commit(actor, prompt, content=content, message=f"Short form of {source}").version
    version.prompt = prompt
    return version


def read_request(project: Project, document: Mapping[str, Any]) -> dict[str, Any]:
    """Read a request for a set: `dataset` (support.tickets@3), `prompt` (support.route@production), `instruction` (a
    suggestion where it is missing), `method` and `pairs`."""
    source = resolution.resolve(project, parse_reference(str(document["prompt"])))
    name, _, selector = str(document["dataset"]).partition("@")
    instruction = document.get("instruction")
    return {
        "dataset_version": datasets.get_version(project, name, selector or "latest"),
        "source": source,
        "instruction": short_prompt.suggest_instruction(source.content) if instruction is None else str(instruction),
        "method": str(document.get("method") or Method.SUPERVISED.value),
        "pairs": document.get("pairs") or {},
    }


def training_sets_with_related() -> QuerySet[TrainingSet]:
    """Return sets with their related rows, without the long members that lists do not show."""
    related = ("project", "dataset_version__dataset", "source__prompt", "prompt__prompt", "by", "by_key__project")
    return TrainingSet.objects.select_related(*related).defer("lengths")


def get_training_set(project: Project, number: int) -> TrainingSet:
    """Return the project's set with this number, or raise `training_set.not_found`."""
    training_set = training_sets_with_related().filter(project=project, pk=number).first()
    if training_set is None:
        raise Problem("training_set.not_found", f"There is no training set {number}.")
    training_set.project = project
    return training_set


def file_pieces(training_set: TrainingSet, file: str) -> Iterator[bytes]:
    """Yield a file's bytes, piece by piece; raises `training_set.not_ready` or `training_set.no_file`."""
    if training_set.state != TrainingSetState.DONE:
        raise Problem("training_set.not_ready", f"{training_set} is not built.")
    rows = TrainingFile.objects.filter(training_set=training_set, file=file).order_by("number")
    if not rows.exists():
        raise Problem("training_set.no_file", f"{training_set} has no file {file!r}.")
    return (bytes(data) for data in rows.values_list("data", flat=True).iterator(chunk_size=4))


def claimable_training_sets() -> QuerySet[TrainingSet]:
    """Return what waits for a worker, or was left by one that went silent."""
    return TrainingSet.objects.filter(TrainingSet.claimable()).order_by("id")


def build(training_set: TrainingSet) -> None:
    """Build a set; does nothing where another worker holds it."""
    lease = work.claim(training_set)
    if lease:
        work.run(lease, lambda: _save_built(lease, builder.build_files(training_set)))


@transaction.atomic
def _save_built(lease: Lease[TrainingSet], built: builder.BuildResult) -> None:
    # First, so that the files of a worker that lost its lease are never written.
    lease.finish(
        TrainingSetState.DONE,
        content_hash=built.content_hash,
        **built.counts,
        size=sum(map(len, built.files.values())),
        report=built.report,
        lengths=built.lengths,
    )
    TrainingFile.objects.bulk_create(
        TrainingFile(training_set=lease.item, file=file, number=number, data=piece)
        for file, data in built.files.items()
        for number, piece in enumerate(builder.chunks_of(data), start=1)
    )
