"""Cases and examples of live calls: proposed to a dataset, where a person reads them before they count."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from core.errors import Problem
from evaluations.curation import proposals
from evaluations.models import Case, CaseProposal, Dataset
from inference.models import Call, CallText, Feedback, FeedbackKind
from registry.accounts.permissions import Actor, Right
from registry.examples import example_sets
from registry.models import ExampleSet, ExampleSetVersion

LIVE_TAG = "live"


@dataclass(frozen=True)
class ProposedCalls:
    """The proposals that calls became; the ids of calls of whose texts nothing is kept, and of those that have other
    variables than the dataset's cases."""

    proposals: Sequence[CaseProposal]
    without_text: Sequence[str]
    other_variables: Sequence[str]


@transaction.atomic
def propose(actor: Actor, calls: Sequence[Call], dataset: Dataset) -> ProposedCalls:
    """Propose calls as cases: their variables as they are kept (redacted), and the newest corrected answer as what is
    expected, where there is one. `cases.too_few` where no text of any of them is kept."""
    actor.require(Right.EDIT)
    texts = _texts(actor, calls)
    corrections = _corrections(actor, calls)
    names = _variables_of(dataset)
    rows: list[CaseProposal] = []
    without_text, other_variables = [], []
    for call in calls:
        text = texts.get(call.reference)
        if text is None or not text.variables:
            without_text.append(call.reference)
            continue
        if names is not None and text.variables.keys() != names:
            other_variables.append(call.reference)
            continue
        names = set(text.variables)
        case: dict[str, Any] = {"variables": text.variables, "tags": [LIVE_TAG]}
        if correction := corrections.get(call.reference):
            case["expected"] = correction
        rows += proposals.propose(actor, dataset, cases=[case], origin=f"call {call.reference}")
    if not rows and other_variables:
        listed = ", ".join(sorted(names or ()))
        raise Problem("cases.invalid", f"The cases of {dataset.name} have other variables than these calls: {listed}.")
    if not rows:
        raise Problem("cases.too_few", "Nothing is kept of the texts of these calls, so they can be no cases.")
    return ProposedCalls(rows, without_text, other_variables)


def _variables_of(dataset: Dataset) -> set[str] | None:
    """Return the names of the variables that the dataset's newest case has; None where there is none."""
    newest = Case.objects.filter(dataset=dataset).order_by("-id").first()
    return set(newest.variables) if newest else None


def example_of(actor: Actor, call: Call) -> dict[str, str] | None:
    """Return the example that a call is with its newest corrected answer; None where it has none, or nothing is kept of
    its text."""
    text = _texts(actor, [call]).get(call.reference)
    correction = _corrections(actor, [call]).get(call.reference)
    question = _question(text) if text else ""
    return {"input": question, "output": correction} if question and correction else None


def add_example(actor: Actor, call: Call, example_set: ExampleSet) -> ExampleSetVersion:
    """Add a call with its newest corrected answer to an example set, as a new version; `cases.too_few` where it has
    none, or nothing of its text is kept."""
    actor.require(Right.EDIT)
    example = example_of(actor, call)
    if example is None:
        raise Problem("cases.too_few", "An example needs the kept text of the call, and a corrected answer.")
    return example_sets.revise(
        actor, example_set, changed={}, added=[example], message=f"Call {call.reference}"
    ).version


def _question(text: CallText) -> str:
    """Return what the question was: the one variable, or the last message of the user."""
    values = [value for value in text.variables.values() if isinstance(value, str)]
    if len(values) == 1:
        return str(values[0])
    questions = [message.get("content") for message in text.messages if message.get("role") == "user"]
    return questions[-1] if questions and isinstance(questions[-1], str) else ""


def _texts(actor: Actor, calls: Sequence[Call]) -> dict[str, CallText]:
    rows = CallText.objects.filter(project=actor.project, reference__in=[call.reference for call in calls])
    return {row.reference: row for row in rows}


def _corrections(actor: Actor, calls: Sequence[Call]) -> dict[str, str]:
    """Return the newest corrected answer of each call that has one."""
    rows = Feedback.objects.filter(project=actor.project, kind=FeedbackKind.CORRECTION, call_at__isnull=False)
    rows = rows.filter(call__in=[call.reference for call in calls]).order_by("id")
    return dict(rows.values_list("call", "text"))
