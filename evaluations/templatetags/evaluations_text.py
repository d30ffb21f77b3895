"""Small pieces of text and pictures on the pages of datasets and evaluations."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from django import template

from evaluations.datasets.cases import SPLITS, input_text
from evaluations.models import Capability, Case, Dataset, DatasetImport, DatasetVersion, Finding, Gate, Provider
from evaluations.statistics import slas
from registry.templatetags.registry_text import dollars, without_hashes

register = template.Library()
WIDTH = 1_000
# What a test of a connection tries (evaluations.providers.connection_test), and the setting that says it can.
CAPABILITY_OF_CHECK = {"structured output": Capability.JSON_SCHEMA, "tools": Capability.TOOLS}


@register.filter
def shown_input(case: Case) -> str:
    """The input of a case; with several variables each is named. Uploaded images are shown beside it."""
    if len(case.variables) == 1:
        return without_hashes(input_text(case.variables))
    return without_hashes("\n".join(f"{name}: {_plain(value)}" for name, value in case.variables.items()))


@register.filter
def as_typed(value: Any) -> str:
    """An answer as a user would type it."""
    return _plain(value)


@register.filter
def contradicts(check: Mapping[str, Any], provider: Provider) -> bool:
    """Whether a check of a test failed at what the provider's settings say that it can."""
    capability = CAPABILITY_OF_CHECK.get(check["name"])
    return not check["passed"] and capability is not None and capability in provider.capabilities


@register.filter
def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


@register.filter
def measured(estimate: Mapping[str, Any] | None, unit: str = "") -> str:
    """A figure with its interval: 0.91 (0.87 to 0.94)."""
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
    if 0.995 <= value < 1:
        # Not all, and not rounded up to it.
        return f"{math.floor(value * 1_000) / 1_000:.3f}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}" if 0 < abs(value) < 0.01 else f"{value:.2f}"


@register.filter
def score_tone(score: int) -> str:
    """Return the class of the tag that shows a readiness score."""
    return "good" if score >= 80 else "warn" if score >= 50 else "bad"


@register.filter
def readiness_words(score: int) -> str:
    """The verdict on a dataset by its readiness score."""
    return {"good": "Ready", "warn": "Usable, with care", "bad": "Not ready yet"}[score_tone(score)]


@register.filter
def old_version_query(version: DatasetVersion | None, dataset: Dataset) -> str:
    """The query that keeps an address at a version which is not the newest."""
    return f"?version={version.number}" if version and version.pk != dataset.head_id else ""


@register.filter
def import_words(upload: DatasetImport) -> str:
    """The rows of an import that is done, in words."""
    counts = [(upload.rows_added, "added"), (upload.rows_known, "unchanged"), (upload.rows_bad, "invalid")]
    parts = [f"{count:,} {word}" for count, word in counts if count or word == "added"]
    return f"{upload.rows_read:,} rows read: {', '.join(parts)}."


FINDING_MEASURES = {
    "contained": "of its word sequences",
    "near": "of the letters in common",
    "meaning": "similar in meaning",
}


@register.filter
def finding_score(finding: Finding) -> str:
    """How similar the two texts of a finding are, and by what measure."""
    return f"{percent(finding.score or 0)} {FINDING_MEASURES.get(finding.kind, '')}"


@register.filter
def duplicate_words(kind: str) -> str:
    """How a proposed case is similar to an existing one, before its name."""
    return {"exact": "The same as", "near": "Nearly the same as"}.get(kind, "Largely repeated in")


@register.filter
def verdict_tone(verdict: str) -> str:
    """Return the class of the tag that shows the verdict of a comparison."""
    return {"better": "good", "worse": "bad"}.get(verdict, "plain")


@register.filter
def confidence_tone(confidence: float) -> str:
    """Return the class of the tag that shows the confidence in a recommendation."""
    return "good" if confidence >= 0.9 else "warn" if confidence >= 0.6 else "bad"


@register.filter
def gate_conditions(gate: Gate) -> list[str]:
    """The conditions of a gate in words."""
    conditions = []
    if gate.min_quality is not None:
        conditions.append(f"{gate.quality_scorer or 'quality'} at least {gate.min_quality:g}")
    if gate.not_worse:
        conditions.append(f"not worse than the live version by {gate.margin:g}")
    if gate.keeps_slas:
        conditions.append("SLAs met")
    return conditions


@register.filter
def matrix_rows(labels: Mapping[str, Any]) -> list[tuple[str, list[tuple[int, bool]]]]:
    """The rows of a confusion matrix: the expected label, and by answered label its count and whether it is correct."""
    return [
        (row, [(count, column == row) for count, column in zip(counts, labels["columns"], strict=True)])
        for row, counts in zip(labels["rows"], labels["matrix"], strict=True)
    ]


@register.filter
def thousandfold(value: float) -> float:
    """The cost of a thousand calls, from that of one."""
    return 1_000 * value


@register.filter
def level_title(name: str) -> str:
    """The title of an SLA target."""
    return slas.TITLES.get(name, name)


@register.filter
def level_bound(name: str, level: float) -> str:
    """An SLA target in words: at least 0.8."""
    bound = "at least" if name in slas.PROPORTIONS else "at most"
    unit = slas.UNITS.get(name, "")
    # As it was set: rounding would say another level.
    return f"{bound} {level:g}" if not unit else f"{bound} {amount(level, unit)}"


@register.filter
def level_figure(finding: Mapping[str, Any]) -> str:
    """The measured figure of an SLA target, with its interval."""
    if finding["value"] is None:
        return finding.get("reason") or "not measured"
    return measured(finding, slas.UNITS.get(finding["name"], ""))


@register.filter
def signed(value: float | None) -> str:
    if value is None:
        return "–"
    # Shares with three places; what is smaller, such as dollars, or larger with as many as matter.
    return f"{value:+.3f}" if value == 0 or 0.001 <= abs(value) < 1 else f"{value:+,.3g}"


@register.inclusion_tag("evaluations/datasets/_splits.html")
def split_bar(splits: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The number of cases of each split, as one bar with its legend."""
    total = sum(split["count"] for split in splits)
    return {"splits": splits, "bars": _bars([(split["name"], split["count"]) for split in splits], total or 1)}


@register.inclusion_tag("evaluations/datasets/_label_bar.html")
def label_bar(row: Mapping[str, Any]) -> dict[str, Any]:
    """A label's cases by split; the commonest label has the longest bar."""
    return {"bars": _bars([(part["split"], part["count"]) for part in row["parts"]], row["most"] or 1), "row": row}


def _bars(counts: Sequence[tuple[str, int]], total: int) -> list[dict[str, Any]]:
    """Return each split's stretch of a bar, in thousandths."""
    bars, before = [], 0
    for split, count in counts:
        start, end = round(WIDTH * before / total), round(WIDTH * (before + count) / total)
        if end > start and split in SPLITS:
            bars.append({"split": split, "x": start, "width": end - start})
        before += count
    return bars


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@register.filter
def name_counts(counts: Mapping[str, int]) -> str:
    """Name the members of a file, with the number of rows that had them: `ticket (364 rows), team (12 rows)`."""
    return ", ".join(f"{name} ({rows:,} {'row' if rows == 1 else 'rows'})" for name, rows in counts.items())
