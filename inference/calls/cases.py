"""Cases and examples of live calls: proposed to a dataset, where a person reads them before they count."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from core.errors import Problem
from evaluations.curation import proposals
from evaluations.models import CaseProposal, Dataset
from inference.models import Call, CallText, Feedback, FeedbackKind
from registry.accounts.permissions import Actor, Right
from registry.examples import example_sets
from registry.models import ExampleSet, ExampleSetVersion

LIVE_TAG = "live"


@dataclass(frozen=True)
class ProposedCalls:
    """The proposals that calls became, and the ids of calls of whose texts nothing is kept."""

    proposals: Sequence[CaseProposal]
    without_text: Sequence[str]


@transaction.atomic
def propose(actor: Actor, calls: Sequence[Call], dataset: Dataset) -> ProposedCalls:
    """Propose calls as cases: their variables as they are kept (redacted), and the newest corrected answer as what is
    expected, where there is one. `cases.too_few` where no text of any of them is kept."""
    actor.require(Right.EDIT)
    texts = _texts(actor, calls)
    corrections = _corrections(actor, calls)
    cases, without_text = [], []
    for call in calls:
        text = texts.get(call.reference)
        if text is None or not text.variables:
            without_text.append(call.reference)
            continue
        case: dict[str, Any] = {"variables": text.variables, "tags": [LIVE_TAG]}
        if correction := corrections.get(call.reference):
            case["expected"] = correction
        cases.append(case)
    if not cases:
        raise Problem("cases.too_few", "Nothing is kept of the texts of these calls, so they can be no cases.")
    names = sorted({call.version.prompt.name for call in calls})
    origin = f"live calls of {', '.join(names)}"[: proposals.MAX_ORIGIN_LENGTH]
    return ProposedCalls(proposals.propose(actor, dataset, cases=cases, origin=origin), without_text)


def add_example(actor: Actor, call: Call, example_set: ExampleSet) -> ExampleSetVersion:
    """Add a call with its newest corrected answer to an example set, as a new version; `cases.too_few` where it has
    none, or nothing of its text is kept."""
    actor.require(Right.EDIT)
    text = _texts(actor, [call]).get(call.reference)
    correction = _corrections(actor, [call]).get(call.reference)
    question = _question(text) if text else ""
    if not question or not correction:
        raise Problem("cases.too_few", "An example needs the kept text of the call, and a corrected answer.")
    example = {"input": question, "output": correction}
    return example_sets.revise(
        actor, example_set, changed={}, added=[example], message=f"Call {call.reference}"
    ).version


def _question(text: CallText) -> str:
    """Return what was questions: the one variable, or the last message of the user."""
    values = [value for value in text.variables.values() if isinstance(value, str)]
    if len(values) == 1:
        return str(values[0])
    questions = [message["content"] for message in text.messages if message.get("role") == "user"]
    return questions[-1] if questions and isinstance(questions[-1], str) else ""


def _texts(actor: Actor, calls: Sequence[Call]) -> dict[str, CallText]:
    rows = CallText.objects.filter(project=actor.project, reference__in=[call.reference for call in calls])
    return {row.reference: row for row in rows}


def _corrections(actor: Actor, calls: Sequence[Call]) -> dict[str, str]:
    """Return the newest corrected answer of each call that has one."""
    rows = Feedback.objects.filter(project=actor.project, kind=FeedbackKind.CORRECTION, call_at__isnull=False)
    rows = rows.filter(call__in=[call.reference for call in calls]).order_by("id")
    return dict(rows.values_list("call", "text"))
