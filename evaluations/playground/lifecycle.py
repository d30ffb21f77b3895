"""The playground: a prompt tried as it stands, on a few inputs, by some models side by side. Nothing is committed.

What people and machines do with it is here; evaluations.playground.worker asks. Trials are forgotten after some days; what is
worth keeping is kept as a case or an example.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Prefetch, Q, QuerySet
from django.utils import timezone

from core.content import without_aside
from core.errors import Fault, Problem
from core.json_values import plain
from evaluations.datasets import lifecycle as datasets
from evaluations.datasets.cases import input_text
from evaluations.models import (
    TRIAL_OPEN,
    Case,
    Dataset,
    DatasetVersion,
    ProviderModel,
    Split,
    Trial,
    TrialAnswer,
    TrialState,
)
from evaluations.providers import configuration as providers
from evaluations.runs import planning
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.examples import example_sets
from registry.models import ExampleSet, Prompt, PromptVersion
from registry.prompts import versions

MOST_MODELS = 6
MOST_INPUTS = 20
MOST_ANSWERS = 60
MOST_OPEN = 20
LARGEST_VARIABLES = 256 * 1024
KEPT_DAYS = 7
# A worker tells every few seconds that it lives; what it asked for a page is not asked again by another.
SILENCE = timedelta(seconds=30)
# What nobody took up within this was not heard of: its task was lost.
UNHEARD = timedelta(seconds=5)
TAG = "playground"


@dataclass(frozen=True)
class Input:
    """What the prompt is rendered with, and the case that it is from."""

    variables: Mapping[str, Any]
    case: Case | None = None


@dataclass(frozen=True)
class Asked:
    """What somebody wants to try. `content` is a committed version or a document that may not be committed."""

    content: PromptVersion | Mapping[str, Any]
    inputs: Sequence[Input]
    models: Sequence[ProviderModel]
    parameters: Mapping[str, Any] = field(default_factory=dict)


@transaction.atomic
def start(actor: Actor, prompt: Prompt, asked: Asked) -> Trial:
    """Leave it to a worker to ask every model about every input. Refuses a content that a commit would refuse."""
    actor.require(Right.EDIT)
    faults: list[Fault] = []
    parameters = planning.read_parameters(asked.parameters, faults)
    _check(asked, faults)
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    for model in asked.models:
        providers.require_usable(model)
    if Trial.objects.filter(project=actor.project, state__in=TRIAL_OPEN).count() >= MOST_OPEN:
        raise Problem("trial.too_many", f"{MOST_OPEN} trials are under way in this project; wait for one.")
    version = asked.content if isinstance(asked.content, PromptVersion) else None
    content = version.content if version else versions.uncommitted(actor.project, prompt, without_aside(asked.content))
    trial = Trial.objects.create(
        project=actor.project,
        prompt=prompt,
        version=version,
        content=content,
        parameters=parameters,
        by=actor.user,
        by_key=actor.key,
        by_name=actor.name,
    )
    TrialAnswer.objects.bulk_create(
        TrialAnswer(trial=trial, place=place, column=column, model=model, case=one.case, variables=dict(one.variables))
        for place, one in enumerate(asked.inputs)
        for column, model in enumerate(asked.models)
    )
    after = {"of": str(version or f"{prompt.name}, not committed"), "models": [str(model) for model in asked.models]}
    audit.record(actor, "trial.started", trial, after={**after, "inputs": len(asked.inputs)})
    return trial


def _check(asked: Asked, faults: list[Fault]) -> None:
    if not 1 <= len(asked.models) <= MOST_MODELS:
        faults.append(Fault("/models", "count", f"Choose from 1 to {MOST_MODELS} models."))
    if not 1 <= len(asked.inputs) <= MOST_INPUTS:
        faults.append(Fault("/cases", "count", f"Choose from 1 to {MOST_INPUTS} inputs."))
    if len(asked.models) * len(asked.inputs) > MOST_ANSWERS:
        faults.append(Fault("/cases", "count", f"At most {MOST_ANSWERS} answers at once; a run takes more."))
    for one in asked.inputs:
        plain(one.variables, faults)
        if len(json.dumps(one.variables)) > LARGEST_VARIABLES:
            faults.append(Fault("/variables", "too_large", f"At most {LARGEST_VARIABLES:,} bytes."))


def of_cases(version: DatasetVersion, *, keys: Iterable[int] = (), split: str = "", count: int = 1) -> list[Input]:
    """These cases of a dataset's version as inputs; without keys, some of a side by chance."""
    cases = Case.objects.of(version)
    wanted = list(keys)[: MOST_INPUTS + 1]
    if wanted:
        found = cases.in_bulk(wanted)
        if missing := [key for key in wanted if key not in found]:
            sentence = f"{version} has no case {missing[0]}."
            raise Problem("request.invalid", sentence, faults=[Fault("/cases", "unknown", sentence)])
        return [Input(found[key].variables, found[key]) for key in dict.fromkeys(wanted)]
    if split and split not in Split.values:
        sentence = f"Must be one of: {', '.join(Split.values)}, or empty."
        raise Problem("request.invalid", sentence, faults=[Fault("/split", "choice", sentence)])
    cases = cases.filter(split=split) if split else cases
    drawn = list(cases.order_by("?")[: max(1, min(count, MOST_INPUTS))])
    if not drawn:
        raise Problem("run.no_cases", f"{version} has no case on this side.")
    return [Input(case.variables, case) for case in drawn]


@transaction.atomic
def cancel(actor: Actor, trial: Trial) -> Trial:
    """Ask nothing more; what has come so far stays. Nothing happens to one that is over."""
    actor.require(Right.EDIT)
    if Trial.objects.filter(pk=trial.pk, state__in=TRIAL_OPEN).update(**_ended(TrialState.CANCELLED)):
        answers = TrialAnswer.objects.filter(trial=trial, state__in=TRIAL_OPEN)
        answers.update(state=TrialState.CANCELLED, changed_at=timezone.now())
        audit.record(actor, "trial.cancelled", trial)
    return numbered(actor, trial.pk)


@transaction.atomic
def keep_as_case(actor: Actor, answer: TrialAnswer, dataset: Dataset) -> str:
    """The answer as what is expected for its input: one more case. Says what it became."""
    locked = _unkept(actor, answer)
    expected: Any = locked.output
    if locked.trial.content.get("response", {}).get("format", "text") != "text":
        expected = _as_json(locked.output)
    added = {"variables": locked.variables, "expected": expected, "tags": [TAG]}
    loaded = datasets.change(
        actor, dataset, added=[added], message=f"From the playground of {locked.trial.prompt.name}"
    )
    return _keep(locked, f"a case of {loaded.version}")


@transaction.atomic
def keep_as_example(actor: Actor, answer: TrialAnswer, example_set: ExampleSet) -> str:
    """The answer as a few-shot example of how such an input is answered. Says what it became."""
    locked = _unkept(actor, answer)
    shot = {"input": input_text(locked.variables), "output": locked.output}
    message = f"From the playground of {locked.trial.prompt.name}"
    committed = example_sets.revise(actor, example_set, changed={}, added=[shot], message=message)
    return _keep(locked, f"an example of {committed.version}")


def _unkept(actor: Actor, answer: TrialAnswer) -> TrialAnswer:
    actor.require(Right.EDIT)
    rows = TrialAnswer.objects.select_for_update(of=("self",)).select_related("trial__prompt")
    locked = rows.get(pk=answer.pk)
    if locked.state != TrialState.DONE or not locked.output:
        raise Problem("trial.no_answer", "There is no answer to keep.")
    return locked


def _keep(answer: TrialAnswer, what: str) -> str:
    answer.kept = ", ".join(filter(None, (answer.kept, what)))[:300]
    answer.changed_at = timezone.now()
    answer.save(update_fields=["kept", "changed_at"])
    return what


def _as_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def seen_by(actor: Actor) -> QuerySet[Trial]:
    """Trials that somebody may see: of committed versions everybody's, of drafts their own."""
    own = Q(by=actor.user) if actor.user else Q(by_key=actor.key) if actor.key else Q(by=None, by_key=None)
    return loaded().filter(own | Q(version__isnull=False), project=actor.project)


def numbered(actor: Actor, number: int) -> Trial:
    """The trial with this number and its answers, or `trial.not_found`."""
    found = seen_by(actor).filter(pk=number).first()
    if found is None:
        raise Problem("trial.not_found", f"There is no trial {number}; they are kept for {KEPT_DAYS} days.")
    return found


def loaded() -> QuerySet[Trial]:
    """Trials with all that is shown of them."""
    answers = TrialAnswer.objects.select_related("model__provider", "case").order_by("place", "column")
    whole = Trial.objects.select_related("project", "prompt", "version").defer("prompt__head_text", "version__content")
    return whole.prefetch_related(Prefetch("answers", answers))


def answer_of(trial: Trial, key: int) -> TrialAnswer:
    """One answer of a trial, or `trial.not_found`."""
    for answer in trial.answers.all():
        if answer.pk == key:
            return answer
    raise Problem("trial.not_found", f"Trial {trial.pk} has no answer {key}.")


def unheard() -> QuerySet[Trial]:
    """What waits although its task must have arrived long ago."""
    return Trial.objects.filter(state=TrialState.PENDING, created_at__lt=timezone.now() - UNHEARD).order_by("id")


def give_up_silent() -> int:
    """End trials whose worker died: who waits for them asks again if they still want to know. How many there were."""
    silent = Trial.objects.filter(state=TrialState.RUNNING, beat_at__lt=timezone.now() - SILENCE)
    keys = list(silent.values_list("pk", flat=True)[:100])
    for key in keys:
        with transaction.atomic():
            if silent.filter(pk=key).update(**_ended(TrialState.FAILED)):
                TrialAnswer.objects.filter(trial=key, state__in=TRIAL_OPEN).update(
                    state=TrialState.FAILED,
                    error="call.lost",
                    error_detail="The worker that asked ended in the middle. Try again.",
                    changed_at=timezone.now(),
                )
    return len(keys)


def clear_old() -> int:
    """Forget trials that are over for days; how many there were."""
    old = Q(created_at__lt=timezone.now() - timedelta(days=KEPT_DAYS)) & ~Q(state__in=TRIAL_OPEN)
    return Trial.objects.filter(old).delete()[1].get("evaluations.Trial", 0)


def _ended(state: TrialState) -> dict[str, Any]:
    return {"state": state, "finished_at": timezone.now()}
