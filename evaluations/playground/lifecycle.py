"""Playground runs: a prompt as it stands, on a few inputs, by several models side by side. Nothing is committed.

evaluations.playground.worker makes the calls. Playground runs are deleted after some days; a good answer can be saved
as a case or an example.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Prefetch, Q, QuerySet, TextField
from django.db.models.functions import Cast
from django.utils import timezone

from core.content import without_aside
from core.errors import Fault, Problem
from core.json_values import normalise_json
from evaluations.curation import proposals
from evaluations.datasets.cases import input_text
from evaluations.models import (
    PLAYGROUND_OPEN,
    Case,
    Dataset,
    DatasetVersion,
    PlaygroundAnswer,
    PlaygroundRun,
    PlaygroundState,
    ProviderModel,
    Split,
)
from evaluations.providers import configuration as providers
from evaluations.runs import planning
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.examples import example_sets
from registry.models import ExampleSet, Prompt, PromptVersion, UploadedImage
from registry.prompts import versions

MAX_MODELS = 6
MAX_INPUTS = 20
MAX_ANSWERS = 60
MAX_OPEN = 20
MAX_VARIABLES_BYTES = 256 * 1024
RETENTION_DAYS = 7
# A playground run that no worker has claimed within this time has lost its task.
TASK_TIMEOUT = timedelta(seconds=5)
TAG = "playground"


@dataclass(frozen=True)
class Input:
    """Variables for the prompt, and the case that they are from."""

    variables: Mapping[str, Any]
    case: Case | None = None


@dataclass(frozen=True)
class PlaygroundSettings:
    """Settings of a playground run. `content` is a committed version or a draft's document."""

    content: PromptVersion | Mapping[str, Any]
    inputs: Sequence[Input]
    models: Sequence[ProviderModel]
    parameters: Mapping[str, Any] = field(default_factory=dict)


@transaction.atomic
def start(actor: Actor, prompt: Prompt, settings: PlaygroundSettings) -> PlaygroundRun:
    """Have a worker ask every model about every input. Refuses a content that a commit would refuse."""
    actor.require(Right.EDIT)
    faults: list[Fault] = []
    parameters = planning.read_parameters(settings.parameters, faults)
    _check(settings, faults)
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    if PlaygroundRun.objects.filter(project=actor.project, state__in=PLAYGROUND_OPEN).count() >= MAX_OPEN:
        raise Problem("playground_run.too_many", f"{MAX_OPEN} playground runs are open in this project; wait for one.")
    version = settings.content if isinstance(settings.content, PromptVersion) else None
    content = (
        version.content if version else versions.preview_commit(actor.project, prompt, without_aside(settings.content))
    )
    for model in settings.models:
        providers.require_usable(model, content, parameters)
    playground_run = PlaygroundRun.objects.create(
        project=actor.project,
        prompt=prompt,
        version=version,
        content=content,
        parameters=parameters,
        by=actor.user,
        by_key=actor.key,
        by_name=actor.name,
    )
    PlaygroundAnswer.objects.bulk_create(
        PlaygroundAnswer(
            playground_run=playground_run,
            place=place,
            column=column,
            model=model,
            case=prompt_input.case,
            variables=dict(prompt_input.variables),
        )
        for place, prompt_input in enumerate(settings.inputs)
        for column, model in enumerate(settings.models)
    )
    after = {"of": str(version or f"{prompt.name}, not committed"), "models": [str(model) for model in settings.models]}
    audit.record(actor, "playground_run.started", playground_run, after={**after, "inputs": len(settings.inputs)})
    return playground_run


def _check(settings: PlaygroundSettings, faults: list[Fault]) -> None:
    if not 1 <= len(settings.models) <= MAX_MODELS:
        faults.append(Fault("/models", "count", f"Choose from 1 to {MAX_MODELS} models."))
    if not 1 <= len(settings.inputs) <= MAX_INPUTS:
        faults.append(Fault("/cases", "count", f"Choose from 1 to {MAX_INPUTS} inputs."))
    if len(settings.models) * len(settings.inputs) > MAX_ANSWERS:
        faults.append(Fault("/cases", "count", f"At most {MAX_ANSWERS} answers at once; a run takes more."))
    for prompt_input in settings.inputs:
        normalise_json(prompt_input.variables, faults)
        if len(json.dumps(prompt_input.variables)) > MAX_VARIABLES_BYTES:
            faults.append(Fault("/variables", "too_large", f"At most {MAX_VARIABLES_BYTES:,} bytes."))


def inputs_from_cases(
    version: DatasetVersion, *, keys: Iterable[int] = (), split: str = "", count: int = 1
) -> list[Input]:
    """Return these cases of a dataset's version as inputs; without keys, random cases of a split."""
    cases = Case.objects.of(version)
    wanted_keys = list(keys)[: MAX_INPUTS + 1]
    if wanted_keys:
        found_cases = cases.in_bulk(wanted_keys)
        if missing := [key for key in wanted_keys if key not in found_cases]:
            sentence = f"{version} has no case {missing[0]}."
            raise Problem("request.invalid", sentence, faults=[Fault("/cases", "unknown", sentence)])
        return [Input(found_cases[key].variables, found_cases[key]) for key in dict.fromkeys(wanted_keys)]
    if split and split not in Split.values:
        sentence = f"Must be one of: {', '.join(Split.values)}, or empty."
        raise Problem("request.invalid", sentence, faults=[Fault("/split", "choice", sentence)])
    cases = cases.filter(split=split) if split else cases
    drawn = list(cases.order_by("?")[: max(1, min(count, MAX_INPUTS))])
    if not drawn:
        raise Problem("run.no_cases", f"{version} has no case in this split.")
    return [Input(case.variables, case) for case in drawn]


@transaction.atomic
def cancel(actor: Actor, playground_run: PlaygroundRun) -> PlaygroundRun:
    """Cancel a playground run; its answers so far stay. Does nothing where it is over."""
    actor.require(Right.EDIT)
    if PlaygroundRun.objects.filter(pk=playground_run.pk, state__in=PLAYGROUND_OPEN).update(
        **_end_values(PlaygroundState.CANCELLED)
    ):
        answers = PlaygroundAnswer.objects.filter(playground_run=playground_run, state__in=PLAYGROUND_OPEN)
        answers.update(state=PlaygroundState.CANCELLED, changed_at=timezone.now())
        audit.record(actor, "playground_run.cancelled", playground_run)
    return get_playground_run(actor, playground_run.pk)


@transaction.atomic
def save_as_case(actor: Actor, answer: PlaygroundAnswer, dataset: Dataset) -> str:
    """Propose a case with the answer's input, and the answer as what is expected: a model wrote it, so somebody has to
    read it first (evaluations.curation.proposals). Returns what it became."""
    locked = _answer_to_save(actor, answer)
    expected: Any = locked.output
    if locked.playground_run.content.get("response", {}).get("format", "text") != "text":
        expected = _as_json(locked.output)
    added = {"variables": locked.variables, "expected": expected, "tags": [TAG]}
    origin = f"Playground of {locked.playground_run.prompt.name}, answered by {locked.model}"
    proposals.propose(actor, dataset, cases=[added], origin=origin[: proposals.MAX_ORIGIN_LENGTH])
    return _note_saved(locked, f"a proposal for {dataset.name}")


@transaction.atomic
def save_as_example(actor: Actor, answer: PlaygroundAnswer, example_set: ExampleSet) -> str:
    """Save an answer as a few-shot example for its input. Returns what it became."""
    locked = _answer_to_save(actor, answer)
    shot = {"input": input_text(locked.variables), "output": locked.output}
    message = f"From the playground of {locked.playground_run.prompt.name}"
    committed = example_sets.revise(actor, example_set, changed={}, added=[shot], message=message)
    return _note_saved(locked, f"an example of {committed.version}")


def _answer_to_save(actor: Actor, answer: PlaygroundAnswer) -> PlaygroundAnswer:
    actor.require(Right.EDIT)
    rows = PlaygroundAnswer.objects.select_for_update(of=("self",)).select_related("playground_run__prompt")
    locked = rows.get(pk=answer.pk)
    if locked.state != PlaygroundState.DONE or not locked.output:
        raise Problem("playground_run.no_answer", "There is no answer to save.")
    return locked


def _note_saved(answer: PlaygroundAnswer, saved_as: str) -> str:
    answer.saved_as = ", ".join(filter(None, (answer.saved_as, saved_as)))[:300]
    answer.changed_at = timezone.now()
    answer.save(update_fields=["saved_as", "changed_at"])
    return saved_as


def _as_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def visible_playground_runs(actor: Actor) -> QuerySet[PlaygroundRun]:
    """Return playground runs that the actor may see: everybody's of committed versions, their own of drafts."""
    own = Q(by=actor.user) if actor.user else Q(by_key=actor.key) if actor.key else Q(by=None, by_key=None)
    return playground_runs_with_related().filter(own | Q(version__isnull=False), project=actor.project)


def image_use(image: UploadedImage) -> str:
    """Return the sentence on a playground run that was given an image; nothing where none was."""
    answers = PlaygroundAnswer.objects.filter(playground_run__project=image.project_id)
    named = answers.annotate(text=Cast("variables", TextField())).filter(text__contains=image.sha256)
    return "A playground run of the last days has it." if named.exists() else ""


def get_playground_run(actor: Actor, number: int) -> PlaygroundRun:
    """Return the playground run with this number and its answers, or raise `playground_run.not_found`."""
    playground_run = visible_playground_runs(actor).filter(pk=number).first()
    if playground_run is None:
        raise Problem(
            "playground_run.not_found", f"There is no playground run {number}; they are kept for {RETENTION_DAYS} days."
        )
    return playground_run


def playground_runs_with_related() -> QuerySet[PlaygroundRun]:
    """Return playground runs with their related rows."""
    answers = PlaygroundAnswer.objects.select_related("model__provider", "case").order_by("place", "column")
    whole = PlaygroundRun.objects.select_related("project", "prompt", "version").defer(
        "prompt__head_text", "version__content"
    )
    return whole.prefetch_related(Prefetch("answers", answers))


def get_answer(playground_run: PlaygroundRun, key: int) -> PlaygroundAnswer:
    """Return one answer of a playground run, or raise `playground_run.not_found`."""
    for answer in playground_run.answers.all():
        if answer.pk == key:
            return answer
    raise Problem("playground_run.not_found", f"Playground run {playground_run.pk} has no answer {key}.")


def claimable_playground_runs() -> QuerySet[PlaygroundRun]:
    """Return playground runs whose task was lost, or whose worker died."""
    is_late = Q(heartbeat_at__isnull=False) | Q(created_at__lt=timezone.now() - TASK_TIMEOUT)
    return PlaygroundRun.objects.filter(PlaygroundRun.claimable(), is_late).order_by("id")


def clear_old() -> int:
    """Delete playground runs that have been over for days; return how many."""
    old = Q(created_at__lt=timezone.now() - timedelta(days=RETENTION_DAYS)) & ~Q(state__in=PLAYGROUND_OPEN)
    return PlaygroundRun.objects.filter(old).delete()[1].get("evaluations.PlaygroundRun", 0)


def _end_values(state: PlaygroundState) -> dict[str, Any]:
    return {"state": state, "finished_at": timezone.now()}
