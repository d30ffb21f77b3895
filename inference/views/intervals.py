"""An interval as a small drawing: where it is, and where zero and the margin are."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isinf
from typing import Any

WIDTH = 240
# Free on either side, so that ends can be seen.
EDGE = 8


@dataclass(frozen=True)
class IntervalDrawing:
    """Places on a line of WIDTH units: of the ends, the value, zero and the margin on the worse side (None for none).
    An end that lies beyond the line, or is not known, is at the line's."""

    low: int
    high: int
    value: int
    zero: int
    margin: int | None


def interval_drawing(verdict: Mapping[str, Any]) -> IntervalDrawing | None:
    """Return the drawing of a verdict's change; None where there is none. Right is better, whatever that is of a
    metric."""
    change = verdict["change"]
    if change is None or (change["low"] is None and change["high"] is None):
        return None
    sign = 1 if verdict["better"] == "higher" else -1
    ends = [sign * (-inf if change["low"] is None else change["low"])]
    ends += [sign * (inf if change["high"] is None else change["high"])]
    low, high = sorted(ends)
    value, margin = sign * change["value"], verdict.get("margin", 0.0)
    # As wide as the value and the nearer end need: an end that is far away is cut.
    finite = [abs(end) for end in (low, high) if not isinf(end)]
    half = (high - low) / 2
    reach = max(abs(value) * 2, min(finite) * 1.2, margin * 1.5, 0.0 if isinf(half) else half) or 1.0

    def place(at: float) -> int:
        return round(WIDTH / 2 + max(-1.0, min(1.0, at / reach)) * (WIDTH / 2 - EDGE))

    return IntervalDrawing(place(low), place(high), place(value), place(0), place(-margin) if margin else None)
