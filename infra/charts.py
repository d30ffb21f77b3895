"""Charts as SVG, computed on the server: they need no script, print well, and have a description in words. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, log10, sqrt

WIDTH, HEIGHT = 640, 190
LEFT, RIGHT, TOP, BOTTOM = 52, 632, 14, 160
TICKS = 4
SCATTER_HEIGHT, SCATTER_BOTTOM = 300, 262
MIN_RADIUS, MAX_RADIUS = 4, 11
# Room for the name of a point at the right edge.
MARGIN = 18
# More captions below one line would overlap.
MAX_CAPTIONS = 12


@dataclass(frozen=True)
class Dot:
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
    marks: Sequence[Dot]
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
    """Draw (label, value) pairs from left to right, the vertical axis from zero; `limit` is a labelled level.

    `key` is unique on its page: the picture's title is found by it.
    """
    highest = max([value for _, value in values] + ([limit[1]] if limit else []), default=0) or 1
    step = _round_up(highest / TICKS)
    top = step * ceil(highest / step)
    width = (RIGHT - LEFT) / max(1, len(values) - 1)
    every = ceil(len(values) / MAX_CAPTIONS)
    marks = [
        Dot(
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
        f"{title}: {', '.join(dot.label for dot in marks)}",
        " ".join(f"{dot.x},{dot.y}" for dot in marks),
        marks,
        ticks,
        Level(_y(limit[1], top), limit[0]) if limit else None,
    )


@dataclass(frozen=True)
class Curve:
    """One of several lines; its `name` stands below, and `place` selects its stroke."""

    name: str
    points: str
    end: Dot
    place: int


# A series that is lower everywhere counts as zero.
MIN_TOP = 1e-12


@dataclass(frozen=True)
class CurveChart:
    """Several lines over one axis, for templates/parts/_curves.html."""

    key: str
    title: str
    description: str
    curves: Sequence[Curve]
    ticks: Sequence[Level]
    steps: Sequence[Dot]
    # Moments that are marked by a vertical line.
    marks: Sequence[Dot] = ()
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = RIGHT
    bottom: int = BOTTOM


def curve_chart(
    key: str,
    title: str,
    series: Sequence[tuple[str, Sequence[tuple[float, float]]]],
    *,
    across: str,
    marks: Sequence[tuple[float, str]] = (),
    reach: float = 0.0,
) -> CurveChart:
    """Draw a line for each (name, (x, y) pairs); both axes begin at zero, and `across` names what x counts. `marks` are
    vertical lines at an x, each with a name; the axis goes at least as far as `reach`."""
    every = [pair for _, pairs in series for pair in pairs]
    far = max([reach, *(x for x, _ in every)], default=0) or 1
    maximum: float = max((y for _, y in every), default=0.0)
    highest = maximum if maximum > MIN_TOP else 1.0
    step = _round_up(highest / TICKS)
    top = step * ceil(highest / step - 1e-9)

    def x_of(value: float) -> int:
        return round(LEFT + (RIGHT - LEFT) * value / far)

    curves, descriptions = [], []
    for place, (name, pairs) in enumerate(series):
        if not pairs:
            continue
        (_, first), (last_x, last) = pairs[0], pairs[-1]
        # Below the axis nothing is drawn.
        points = " ".join(f"{x_of(x)},{_y(max(y, 0.0), top)}" for x, y in pairs)
        curves.append(Curve(name, points, Dot(x_of(last_x), _y(max(last, 0.0), top), f"{name}: {_short(last)}"), place))
        descriptions.append(f"{name} from {_short(first)} to {_short(last)}")
    across_step = _round_up(far / (TICKS + 2))
    steps = [
        Dot(x_of(across_step * k), BOTTOM, "", f"{across_step * k:,.0f}") for k in range(int(far // across_step) + 1)
    ]
    ticks = [Level(_y(step * k, top), _short(step * k)) for k in range(round(top / step) + 1)]
    lines = [Dot(x_of(x), TOP, name, name.partition(",")[0]) for x, name in marks if 0 <= x <= far]
    description = f"{title} by {across}: {'; '.join([*descriptions, *(name for _, name in marks)])}"
    return CurveChart(key, title, description, curves, ticks, steps, lines)


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
    """A bar chart, for templates/parts/_bars.html."""

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
    """Draw (label, value) pairs from left to right, the vertical axis from zero. `key` is unique on its page."""
    highest = max((value for _, value in values), default=0) or 1
    step = _round_up(highest / TICKS)
    top = step * ceil(highest / step)
    width = (RIGHT - LEFT) / max(1, len(values))
    every = ceil(len(values) / (MAX_CAPTIONS // 2))
    bars = [
        Bar(
            round(LEFT + index * width) + 1,
            min(_y(value, top), BOTTOM - 2) if value else BOTTOM,
            max(1, round(width) - 2),
            # A bar for a value above zero is always visible.
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
    """Round up to 1, 2, 5, 10, 20, 50, ...: readable steps."""
    power = 10.0 ** floor(log10(value))
    return next(power * nice for nice in (1.0, 2.0, 5.0, 10.0) if power * nice >= value)


@dataclass(frozen=True)
class Spot:
    """A drawn point; `low` and `high` are the ends of its vertical interval, where it has one."""

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
    """Points by two figures, for templates/parts/_scatter.html."""

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
    """Input of a scatter chart: `x` from zero; `y` from 0 to 1, with its interval; `size` from zero scales the spot."""

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
    """Draw points by a proportion (vertical) and a figure from zero (`across`, in the format `form`); `limit` is a
    labelled level. The vertical axis shows only the part of 0 to 1 that is used."""
    ends = [end for point in points for end in (point.low, point.high, point.y) if end is not None]
    ends += [limit[1]] if limit else []
    floor_, ceiling = max(0.0, min(ends) - 0.02), min(1.0, max(ends) + 0.02)
    furthest, largest = max(point.x for point in points) or 1.0, max(point.size for point in points) or 1.0
    step = _round_up(furthest / TICKS)
    reach = step * ceil(furthest / step)

    def y(value: float) -> int:
        share = (value - floor_) / ((ceiling - floor_) or 1.0)
        return round(SCATTER_BOTTOM - (SCATTER_BOTTOM - TOP) * share)

    def x(value: float) -> int:
        return round(LEFT + (RIGHT - LEFT - MARGIN) * value / reach)

    spots = [
        Spot(
            x(point.x),
            y(point.y),
            None if point.low is None else y(point.low),
            None if point.high is None else y(point.high),
            point.name,
            point.label,
            point.is_chosen,
            # Readers compare areas, so the area grows with the size.
            round(MIN_RADIUS + (MAX_RADIUS - MIN_RADIUS) * sqrt(point.size / largest), 1),
        )
        for point in points
    ]
    spots = [
        replace(
            spot,
            name=", ".join(other.name for other in spots if (other.x, other.y) == (spot.x, spot.y)),
            is_chosen=any(other.is_chosen for other in spots if (other.x, other.y) == (spot.x, spot.y)),
        )
        for index, spot in enumerate(spots)
        # Points at the same place are drawn as one spot with all names.
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
