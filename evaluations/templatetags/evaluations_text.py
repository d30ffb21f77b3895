"""Small pieces of text and pictures on the pages of datasets and evaluations."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django import template

from evaluations.datasets.cases import SPLITS, input_text
from evaluations.models import Case
from evaluations.statistics import slas
from registry.templatetags.registry_text import dollars

register = template.Library()
WIDTH = 1_000


@register.filter
def shown_input(case: Case) -> str:
    """What a case asks; with several variables each is named."""
    if len(case.variables) == 1:
        return input_text(case.variables)
    return "\n".join(f"{name}: {_plain(value)}" for name, value in case.variables.items())


@register.filter
def as_typed(value: Any) -> str:
    """An answer as somebody would type it."""
    return _plain(value)


@register.filter
def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


@register.filter
def measured(estimate: Mapping[str, Any] | None, unit: str = "") -> str:
    """A figure with its interval, as people read it: 0.91 (0.87 to 0.94)."""
    if estimate is None:
        return "–"
    value, low, high = (estimate[name] for name in ("value", "low", "high"))
    if low is None and high is None:
        return amount(value, unit)
    bounds = f"{'?' if low is None else amount(low, '')} to {'?' if high is None else amount(high, '')}"
    return f"{amount(value, unit)} ({bounds})"


@register.filter
def amount(value: object, unit: str = "") -> str:
    """A number with as many places as matter; `unit` ms, USD, or nothing for a share. What is no number is a dash."""
    if not isinstance(value, int | float):
        return "–"
    if unit == "USD":
        return dollars(value)
    if unit:
        return f"{value:,.0f} {unit}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}" if 0 < abs(value) < 0.01 else f"{value:.2f}"


@register.filter
def matrix_rows(labels: Mapping[str, Any]) -> list[tuple[str, list[tuple[int, bool]]]]:
    """A confusion matrix's rows: the expected label, and for each that was said how often, and whether it is right."""
    return [
        (row, [(count, column == row) for count, column in zip(counts, labels["columns"], strict=True)])
        for row, counts in zip(labels["rows"], labels["matrix"], strict=True)
    ]


@register.filter
def thousandfold(value: float) -> float:
    """What a thousand calls cost, of what one does."""
    return 1_000 * value


@register.filter
def level_title(name: str) -> str:
    """A service level as people call it."""
    return slas.TITLES.get(name, name)


@register.filter
def level_bound(name: str, level: float) -> str:
    """A service level in words: at least 0.8."""
    bound = "at least" if name in slas.SHARES else "at most"
    unit = slas.UNITS.get(name, "")
    # As it was set: rounding would say another level.
    return f"{bound} {level:g}" if not unit else f"{bound} {amount(level, unit)}"


@register.filter
def level_figure(finding: Mapping[str, Any]) -> str:
    """What was measured of a level, with its interval."""
    if finding["value"] is None:
        return "not measured"
    return measured(finding, slas.UNITS.get(finding["name"], ""))


@register.filter
def signed(value: float | None) -> str:
    if value is None:
        return "–"
    # Shares with three places; what is smaller, such as dollars, or larger with as many as matter.
    return f"{value:+.3f}" if value == 0 or 0.001 <= abs(value) < 1 else f"{value:+,.3g}"


@register.inclusion_tag("evaluations/datasets/_splits.html")
def split_bar(splits: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How many cases are on each side, as one bar with its legend."""
    total = sum(one["count"] for one in splits)
    return {"splits": splits, "bars": _bars([(one["name"], one["count"]) for one in splits], total or 1)}


@register.inclusion_tag("evaluations/datasets/_label_bar.html")
def label_bar(row: Mapping[str, Any]) -> dict[str, Any]:
    """A label's cases by side, as long as they are many beside the commonest label's."""
    return {"bars": _bars([(one["split"], one["count"]) for one in row["parts"]], row["most"] or 1), "row": row}


def _bars(counts: Sequence[tuple[str, int]], total: int) -> list[dict[str, Any]]:
    """Where each side's stretch of a bar is, in thousandths."""
    bars, before = [], 0
    for split, count in counts:
        start, end = round(WIDTH * before / total), round(WIDTH * (before + count) / total)
        if end > start and split in SPLITS:
            bars.append({"split": split, "x": start, "width": end - start})
        before += count
    return bars


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
