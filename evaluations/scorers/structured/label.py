"""The output names the expected label. Over all cases: precision, recall and F1 of each label, and their mean."""

from evaluations.datasets.cases import compared, label_of
from evaluations.scorers.base import MISSING, Outside, Parameter, Parameters, Sample, Score, Scorer, clipped

NOTHING = "(no label)"


def score(sample: Sample, parameters: Parameters, _outside: Outside) -> Score | None:
    if not sample.label:
        return None
    predicted = predicted_label(sample, str(parameters.get("member") or ""))
    found = {"expected": sample.label, "predicted": predicted}
    if compared(predicted) == compared(sample.label):
        return Score(1.0, found={**found, "predicted": sample.label})
    return Score(0.0, f"Said {clipped(predicted, 60)}, expected {clipped(sample.label, 60)}.", found)


def predicted_label(sample: Sample, member: str) -> str:
    """The label that an output names: a member of its JSON object, else the whole output where it is short."""
    parsed = sample.parsed
    if isinstance(parsed, dict):
        return (label_of(parsed.get(member)) if member else label_of(parsed)) or NOTHING
    return label_of(sample.output if parsed is MISSING else parsed) or NOTHING


SCORER = Scorer(
    "Label",
    "The output names the expected label. Over all cases: precision, recall and F1 by label, and a confusion matrix.",
    score,
    (Parameter("member", "text", "The member of the JSON object that has the label; found by itself where empty"),),
    place=12,
    needs_expected=True,
)
