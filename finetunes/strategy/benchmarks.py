"""Benchmark table of a task: the results of our own runs by approach, beside the published figures. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evaluations.statistics.slas import format_adherence
from finetunes.strategy.policy import Policy

PROMPT, TUNED, RETRIEVAL = "Prompt engineering", "Fine-tuning", "Retrieval and prompting"


@dataclass(frozen=True)
class BenchmarkRow:
    """One approach: p99 latency in ms, US dollars for a million input tokens, format adherence from 0 to 1, hours of
    work, and upkeep. `run` is the run that measured it; None for published figures."""

    approach: str
    p99_ms: float | None
    price: float | None
    adherence: float | None
    hours: float
    maintenance: str
    run: int | None = None


# Of 50 production workloads, by the source document, which says of itself that it is generated.
PUBLISHED = (
    BenchmarkRow(PROMPT, 1_200, 14.50, 0.82, 4, "low"),
    BenchmarkRow(TUNED, 450, 5.20, 0.96, 24, "high"),
    BenchmarkRow(RETRIEVAL, 1_800, 16.00, 0.75, 12, "medium"),
)


def measured_row(
    approach: str, summary: Mapping[str, Any], price: float | None, policy: Policy, run: int
) -> BenchmarkRow:
    """Make the row of a run of ours. Hours are the policy's, because nobody measures them."""
    hours, upkeep = {
        PROMPT: (policy.prompt_hours, "low"),
        TUNED: (policy.tuned_hours, "high"),
        RETRIEVAL: (policy.retrieval_hours, "medium"),
    }[approach]
    p99 = (summary.get("latency_ms") or {}).get("p99")
    adherence = format_adherence(summary)
    return BenchmarkRow(
        approach,
        p99["value"] if p99 else None,
        price,
        adherence["value"] if adherence else None,
        hours,
        upkeep,
        run,
    )
