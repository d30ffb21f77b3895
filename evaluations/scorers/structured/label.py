"""The output names the expected label. Over all cases: precision, recall and F1 of each label, and their mean."""

from evaluations.datasets.cases import comparison_form, label_of
from evaluations.scorers.base import MISSING, Parameter, Parameters, Sample, Score, Scorer, ScoringContext, clipped

NO_LABEL = "(no label)"


def score(sample: Sample, parameters: Parameters, _context: ScoringContext) -> Score | None:
    if not sample.label:
        return None
    predicted = predicted_label(sample, str(parameters.get("member") or ""))
    details = {"expected": sample.label, "predicted": predicted}
    if comparison_form(predicted) == comparison_form(sample.label):
        return Score(1.0, details={**details, "predicted": sample.label})
    return Score(0.0, f"Answered {clipped(predicted, 60)}, expected {clipped(sample.label, 60)}.", details)


def predicted_label(sample: Sample, member: str) -> str:
    """Read the label that an output names: a member of its JSON object, else the whole output where it is short."""
    parsed = sample.parsed
    if isinstance(parsed, dict):
        return (label_of(parsed.get(member)) if member else label_of(parsed)) or NO_LABEL
    return label_of(sample.output if parsed is MISSING else parsed) or NO_LABEL


SCORER = Scorer(
    "Label",
    "The output names the expected label. Over all cases: precision, recall and F1 by label, and a confusion matrix.",
    score,
    (Parameter("member", "text", "The member of the JSON object that has the label; found by itself where empty"),),
    place=12,
    needs_expected=True,
)
