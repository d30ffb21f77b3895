"""The output is the expected answer: texts letter for letter, JSON by its values."""

from evaluations.scorers.base import MISSING, Parameters, Sample, Score, Scorer, ScoringContext, clipped


def score(sample: Sample, _parameters: Parameters, _context: ScoringContext) -> Score | None:
    if sample.expected is None:
        return None
    if not isinstance(sample.expected, str) and sample.parsed is MISSING:
        return Score(0.0, "The output is not JSON.")
    return Score(1.0) if is_same(sample) else Score(0.0, f"Expected {clipped(sample.expected_text)}.")


def is_same(sample: Sample) -> bool:
    """Return whether the output is the expected answer."""
    answer = sample.output if isinstance(sample.expected, str) else sample.parsed
    return bool(answer == sample.expected) and isinstance(answer, bool) == isinstance(sample.expected, bool)


SCORER = Scorer("Exact", "The output is the expected answer.", score, place=10, needs_expected=True)
