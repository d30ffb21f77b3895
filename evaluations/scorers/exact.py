"""The output is the expected answer: texts letter for letter, JSON by its values."""

from evaluations.scorers.base import MISSING, Outside, Parameters, Sample, Score, Scorer, clipped


def score(sample: Sample, _parameters: Parameters, _outside: Outside) -> Score | None:
    if sample.expected is None:
        return None
    found = sample.output if isinstance(sample.expected, str) else sample.parsed
    if found is MISSING:
        return Score(0.0, "The output is not JSON.")
    is_same = found == sample.expected and isinstance(found, bool) == isinstance(sample.expected, bool)
    return Score(1.0) if is_same else Score(0.0, f"Expected {clipped(sample.expected_text)}.")


SCORER = Scorer("Exact", "The output is the expected answer.", score, place=10, needs_expected=True)
