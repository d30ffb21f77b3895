"""Figures that benchmarks print."""


def percentile(ordered: list[float], share: float) -> float:
    """The value that `share` percent of the ordered ones do not exceed."""
    return ordered[min(len(ordered) - 1, round(len(ordered) * share / 100))]
