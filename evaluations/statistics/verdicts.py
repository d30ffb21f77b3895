"""Verdicts on a difference, in one word and one sentence. Pure: usable without Django.

The margin is the loss that would be tolerated. It is set before anything is measured; with it, "no difference was
found" and "there is none that matters" are two verdicts and not one.
"""

from dataclasses import dataclass
from enum import StrEnum
from math import floor, log, log1p

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


def judge(
    difference: Difference, *, margin: float, higher_is_better: bool = True, p: float | None = None, scale: float = 1.0
) -> Judgement:
    """Judge a second run against a first.

    Better or worse: the (adjusted) test finds a difference and the interval excludes zero. Equivalent: the whole
    interval lies within the margin. Not worse (non-inferior): its bad end does. `p` is the adjusted probability, and
    `scale` the most by which one case can differ.
    """
    low, high, mean = (difference.low, difference.high, difference.mean)
    reach = 0.0
    if low is None or high is None:
        # Every case differs by the same amount. That there is a difference is the test's to say; how large it may be
        # in others is not known from the spread that these do not have.
        low = high = mean
        reach = scale * unseen_share(difference.groups)
    if not higher_is_better:
        low, high, mean = -high, -low, -mean
    is_not_worse = low - reach > -margin
    is_within_margin = is_not_worse and high + reach < margin
    is_significant = (difference.p if p is None else p) < ALPHA
    if is_significant and low > 0:
        return Judgement(Verdict.BETTER, True)
    if is_significant and high < 0 and not is_within_margin:
        return Judgement(Verdict.WORSE, False)
    if is_within_margin:
        return Judgement(Verdict.EQUIVALENT, True)
    return Judgement(Verdict.INCONCLUSIVE, is_not_worse, _more_cases(difference, margin, scale))


def unseen_share(n: int) -> float:
    """Compute the largest share of cases that may be otherwise where `n` were all alike: the upper end of the exact
    95 % interval (Clopper and Pearson 1934; about 3.7/n)."""
    return float(1 - (ALPHA / 2) ** (1 / n))


def _more_cases(difference: Difference, margin: float, scale: float) -> int | None:
    """Compute how many more cases would detect a difference of the observed size, or, where that is smaller than the
    margin, would show that there is none as large as the margin."""
    if difference.low is None:
        room = (margin - abs(difference.mean)) / scale if scale else 0.0
        return max(floor(log(ALPHA / 2) / log1p(-room)) + 1 - difference.groups, 1) if 0 < room < 1 else None
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
