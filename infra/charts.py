"""Lines as SVG, computed on the server: they need no script, print well, and say in words what they show. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, log10, sqrt

WIDTH, HEIGHT = 640, 190
LEFT, RIGHT, TOP, BOTTOM = 52, 632, 14, 160
TICKS = 4
SCATTER_HEIGHT, SCATTER_BOTTOM = 300, 262
SMALLEST, LARGEST = 4, 11
# Room for the name of a spot at the right edge.
MARGIN = 18
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
class Curve:
    """A line among others; its `name` stands below, and `place` tells it apart from the rest by its stroke."""

    name: str
    points: str
    end: Mark
    place: int


# What is lower everywhere is as good as zero.
NOTHING = 1e-12


@dataclass(frozen=True)
class CurveChart:
    """Several lines over one axis, for templates/parts/_curves.html."""

    key: str
    title: str
    description: str
    curves: Sequence[Curve]
    ticks: Sequence[Level]
    steps: Sequence[Mark]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = RIGHT
    bottom: int = BOTTOM


def curve_chart(
    key: str, title: str, series: Sequence[tuple[str, Sequence[tuple[float, float]]]], *, across: str
) -> CurveChart:
    """(name, (x, y) pairs) of each line; both axes begin at zero, and `across` says what x counts."""
    every = [pair for _, pairs in series for pair in pairs]
    far = max((x for x, _ in every), default=0) or 1
    found: float = max((y for _, y in every), default=0.0)
    highest = found if found > NOTHING else 1.0
    step = _round_up(highest / TICKS)
    top = step * ceil(highest / step - 1e-9)

    def x_of(value: float) -> int:
        return round(LEFT + (RIGHT - LEFT) * value / far)

    curves, told = [], []
    for place, (name, pairs) in enumerate(series):
        if not pairs:
            continue
        (_, first), (last_x, last) = pairs[0], pairs[-1]
        # Below the axis nothing is drawn.
        points = " ".join(f"{x_of(x)},{_y(max(y, 0.0), top)}" for x, y in pairs)
        curves.append(
            Curve(name, points, Mark(x_of(last_x), _y(max(last, 0.0), top), f"{name}: {_short(last)}"), place)
        )
        told.append(f"{name} from {_short(first)} to {_short(last)}")
    across_step = _round_up(far / (TICKS + 2))
    steps = [
        Mark(x_of(across_step * k), BOTTOM, "", f"{across_step * k:,.0f}") for k in range(int(far // across_step) + 1)
    ]
    ticks = [Level(_y(step * k, top), _short(step * k)) for k in range(round(top / step) + 1)]
    return CurveChart(key, title, f"{title} by {across}: {'; '.join(told)}", curves, ticks, steps)


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


def _short(value: float) -> str:
    return f"{value:,.0f}" if 100 <= abs(value) < 1e9 else f"{value:.3g}"


def _y(value: float, top: float) -> int:
    return round(BOTTOM - (BOTTOM - TOP) * value / top)


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, 50, ...: steps that people count in."""
    power = 10.0 ** floor(log10(value))
    return next(power * nice for nice in (1.0, 2.0, 5.0, 10.0) if power * nice >= value)


@dataclass(frozen=True)
class Spot:
    """Something at a place of its own; `low` and `high` are the ends of its vertical interval, where it has one."""

    x: int
    y: int
    low: int | None
    high: int | None
    name: str
    label: str
    is_chosen: bool
    radius: float


@dataclass(frozen=True)
class Step:
    x: int
    label: str


@dataclass(frozen=True)
class ScatterChart:
    """Spots by two figures, for templates/parts/_scatter.html."""

    key: str
    title: str
    description: str
    across: str
    spots: Sequence[Spot]
    levels: Sequence[Level]
    steps: Sequence[Step]
    limit: Level | None
    width: int = WIDTH
    height: int = SCATTER_HEIGHT
    left: int = LEFT
    right: int = RIGHT
    top: int = TOP
    bottom: int = SCATTER_BOTTOM


@dataclass(frozen=True)
class Point:
    """`x` from zero on; `y` a share from 0 to 1, with its interval; `size` from zero on is how large the spot is."""

    name: str
    x: float
    y: float
    low: float | None
    high: float | None
    label: str
    is_chosen: bool = False
    size: float = 0.0


def scatter_chart(
    key: str, title: str, points: Sequence[Point], *, across: str, form: str, limit: tuple[str, float] | None = None
) -> ScatterChart:
    """Points by a share (upwards) and a figure from zero on (`across`, told by the format `form`); `limit` is a
    labelled level. The vertical axis shows as much of 0 to 1 as there is to see."""
    ends = [end for one in points for end in (one.low, one.high, one.y) if end is not None]
    ends += [limit[1]] if limit else []
    floor_, ceiling = max(0.0, min(ends) - 0.02), min(1.0, max(ends) + 0.02)
    furthest, largest = max(one.x for one in points) or 1.0, max(one.size for one in points) or 1.0
    step = _round_up(furthest / TICKS)
    reach = step * ceil(furthest / step)

    def y(value: float) -> int:
        share = (value - floor_) / ((ceiling - floor_) or 1.0)
        return round(SCATTER_BOTTOM - (SCATTER_BOTTOM - TOP) * share)

    def x(value: float) -> int:
        return round(LEFT + (RIGHT - LEFT - MARGIN) * value / reach)

    spots = [
        Spot(
            x(one.x),
            y(one.y),
            None if one.low is None else y(one.low),
            None if one.high is None else y(one.high),
            one.name,
            one.label,
            one.is_chosen,
            # People compare areas, so it is the area that grows with the size.
            round(SMALLEST + (LARGEST - SMALLEST) * sqrt(one.size / largest), 1),
        )
        for one in points
    ]
    spots = [
        replace(
            spot,
            name=", ".join(other.name for other in spots if (other.x, other.y) == (spot.x, spot.y)),
            is_chosen=any(other.is_chosen for other in spots if (other.x, other.y) == (spot.x, spot.y)),
        )
        for index, spot in enumerate(spots)
        # What stands on one another is one spot with all its names.
        if not any((other.x, other.y) == (spot.x, spot.y) for other in spots[:index])
    ]
    marks = [floor_ + (ceiling - floor_) * k / TICKS for k in range(TICKS + 1)]
    return ScatterChart(
        key,
        title,
        f"{title}: {'; '.join(f'{spot.name}: {spot.label}' for spot in spots)}",
        across,
        spots,
        [Level(y(value), f"{value:.2f}") for value in marks],
        [Step(x(step * k), form.format(step * k)) for k in range(round(reach / step) + 1)],
        Level(y(limit[1]), limit[0]) if limit else None,
    )
