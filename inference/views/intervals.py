"""An interval as a small drawing: where it is, and where zero and the margin are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

WIDTH = 240
# Free on either side, so that ends can be seen.
EDGE = 8


@dataclass(frozen=True)
class IntervalDrawing:
    """Places on a line of WIDTH units: of the ends, the value, zero and the margin on the worse side (None for none);
    `is_cut` where an end lies beyond the line."""

    low: int
    high: int
    value: int
    zero: int
    margin: int | None
    is_cut: bool


def interval_drawing(verdict: Mapping[str, Any]) -> IntervalDrawing | None:
    """Return the drawing of a verdict's change; None where there is none. Right is better, whatever that is of a
    metric."""
    change = verdict["change"]
    if change is None or change["low"] is None or change["high"] is None:
        return None
    sign = 1 if verdict["better"] == "higher" else -1
    low, high = sorted((sign * change["low"], sign * change["high"]))
    value, margin = sign * change["value"], verdict.get("margin", 0.0)
    # As wide as the value and the nearer end need: an end that is far away is cut.
    reach = max(abs(value) * 2, min(abs(low), abs(high)) * 1.2, margin * 1.5, (high - low) / 2) or 1.0

    def place(at: float) -> int:
        return round(WIDTH / 2 + max(-1.0, min(1.0, at / reach)) * (WIDTH / 2 - EDGE))

    is_cut = low < -reach or high > reach
    return IntervalDrawing(place(low), place(high), place(value), place(0), place(-margin) if margin else None, is_cut)
