"""Verdicts on a difference, in one word and one sentence. Pure: usable without Django.

The margin is the loss that would be tolerated. It is set before anything is measured; with it, "no difference was
found" and "there is none that matters" are two verdicts and not one.
"""

from dataclasses import dataclass
from enum import StrEnum

from evaluations.statistics.paired import ALPHA, Difference, cases_needed


class Verdict(StrEnum):
    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class Judgement:
    """A verdict; `more_cases` is how many further cases would decide where these do not."""

    verdict: Verdict
    is_not_worse: bool
    more_cases: int | None = None


def judge(difference: Difference, *, margin: float, higher_is_better: bool = True, p: float | None = None) -> Judgement:
    """Judge a second run against a first.

    Better or worse: the (adjusted) test finds a difference and the interval excludes zero. Equivalent: the whole
    interval lies within the margin. Not worse (non-inferior): its bad end does. `p` is the adjusted probability.
    """
    low, high, mean = (difference.low, difference.high, difference.mean)
    if low is None or high is None:
        # Every case differs by the same amount, so there is no spread: the constant is its own interval.
        low = high = mean
    if not higher_is_better:
        low, high, mean = -high, -low, -mean
    is_not_worse = low > -margin
    is_significant = (difference.p if p is None else p) < ALPHA
    if is_significant and low > 0:
        return Judgement(Verdict.BETTER, True)
    if is_significant and high < 0 and not (low > -margin and high < margin):
        return Judgement(Verdict.WORSE, False)
    if -margin < low and high < margin:
        return Judgement(Verdict.EQUIVALENT, True)
    return Judgement(Verdict.INCONCLUSIVE, is_not_worse, _more_cases(difference, margin))


def _more_cases(difference: Difference, margin: float) -> int | None:
    """Compute how many more cases would detect a difference of the observed size, or, where that is smaller than the
    margin, would show that there is none as large as the margin."""
    effect = max(abs(difference.mean), margin)
    needed = cases_needed(difference.spread, effect)
    return max(needed - difference.n, 1) if needed else None


def sentence(judgement: Judgement, name: str, wins: int, losses: int, margin: str) -> str:
    """Write the verdict for users: `name` is the figure, `margin` is formatted already."""
    match judgement.verdict:
        case Verdict.BETTER:
            return f"Better on {name}: {wins:,} cases won, {losses:,} lost."
        case Verdict.WORSE:
            return f"Worse on {name}: {losses:,} cases lost, {wins:,} won."
        case Verdict.EQUIVALENT:
            return f"No difference on {name} that matters: it lies within {margin}."
    if judgement.more_cases is None:
        return f"Inconclusive on {name}: these cases do not decide."
    return f"Inconclusive on {name}: about {judgement.more_cases:,} more cases would decide."
