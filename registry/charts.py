"""Lines as SVG, computed on the server: they need no script, print well, and say in words what they show. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

WIDTH, HEIGHT = 640, 190
LEFT, RIGHT, TOP, BOTTOM = 52, 632, 14, 160
TICKS = 4
# More captions than these below one line run into each other.
MOST_CAPTIONS = 12


@dataclass(frozen=True)
class Mark:
    x: int
    y: int
    label: str
    caption: str = ""


@dataclass(frozen=True)
class Level:
    y: int
    label: str


@dataclass(frozen=True)
class LineChart:
    """Geometry in the units of the picture, for templates/parts/_chart.html."""

    key: str
    title: str
    description: str
    points: str
    marks: Sequence[Mark]
    ticks: Sequence[Level]
    limit: Level | None
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = RIGHT
    bottom: int = BOTTOM


def line_chart(
    key: str, title: str, values: Sequence[tuple[str, float]], *, unit: str = "", limit: tuple[str, float] | None = None
) -> LineChart:
    """(label, value) pairs from left to right, the vertical axis from zero; `limit` is a labelled level.

    `key` is unique on its page: the picture's title is found by it.
    """
    highest = max([value for _, value in values] + ([limit[1]] if limit else []), default=0) or 1
    step = _round_up(highest / TICKS)
    top = step * ceil(highest / step)
    width = (RIGHT - LEFT) / max(1, len(values) - 1)
    every = ceil(len(values) / MOST_CAPTIONS)
    marks = [
        Mark(
            round(LEFT + index * width),
            _y(value, top),
            f"{label}: {value:,.0f} {unit}",
            label if index % every == 0 else "",
        )
        for index, (label, value) in enumerate(values)
    ]
    ticks = [Level(_y(step * k, top), f"{step * k:,.0f}") for k in range(round(top / step) + 1)]
    return LineChart(
        key,
        title,
        f"{title}: {', '.join(mark.label for mark in marks)}",
        " ".join(f"{mark.x},{mark.y}" for mark in marks),
        marks,
        ticks,
        Level(_y(limit[1], top), limit[0]) if limit else None,
    )


@dataclass(frozen=True)
class Bar:
    x: int
    y: int
    width: int
    height: int
    label: str
    caption: str = ""


@dataclass(frozen=True)
class BarChart:
    """Bars side by side, for templates/parts/_bars.html."""

    key: str
    title: str
    description: str
    bars: Sequence[Bar]
    ticks: Sequence[Level]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = RIGHT
    bottom: int = BOTTOM


def bar_chart(key: str, title: str, values: Sequence[tuple[str, float]], *, unit: str = "") -> BarChart:
    """(label, value) pairs from left to right, the vertical axis from zero. `key` is unique on its page."""
    highest = max((value for _, value in values), default=0) or 1
    step = _round_up(highest / TICKS)
    top = step * ceil(highest / step)
    width = (RIGHT - LEFT) / max(1, len(values))
    every = ceil(len(values) / (MOST_CAPTIONS // 2))
    bars = [
        Bar(
            round(LEFT + index * width) + 1,
            min(_y(value, top), BOTTOM - 2) if value else BOTTOM,
            max(1, round(width) - 2),
            # A bar that stands for something is seen.
            max(BOTTOM - _y(value, top), 2 if value else 0),
            f"{label}: {value:,.0f} {unit}",
            label if index % every == 0 else "",
        )
        for index, (label, value) in enumerate(values)
    ]
    ticks = [Level(_y(step * k, top), f"{step * k:,.0f}") for k in range(round(top / step) + 1)]
    return BarChart(key, title, f"{title}: {', '.join(bar.label for bar in bars)}", bars, ticks)


def _y(value: float, top: float) -> int:
    return round(BOTTOM - (BOTTOM - TOP) * value / top)


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50, ...: steps that people count in."""
    power = 10.0 ** floor(log10(value))
    return next(power * nice for nice in (1.0, 2.0, 5.0, 10.0) if power * nice >= value)
