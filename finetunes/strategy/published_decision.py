"""The published decision function, to the letter, quirks included. Pure.

It compares `dev cost / (monthly savings / 3)` with 3: that is true where the savings pay the cost back within *one*
month, though its comment says three. With no savings at all the ratio is infinite (or, for no cost either, no number),
and with negative ones it is below three. finetunes.strategy.decision does what the comment says; the page shows where they
differ.
"""

from dataclasses import dataclass
from math import isfinite
from typing import Any

from finetunes.strategy.units import divided

TOKEN_CUTOFF = 5_000_000
LATENCY_SLA_MS = 600
FORMAT_ERRORS = 0.05
PROMPT_PRICE, TUNED_PRICE = 14.50, 5.20
HOURLY_RATE = 150
ROI_MONTHS = 3


@dataclass(frozen=True)
class Metrics:
    """What the function is told: tokens a month, milliseconds, a share from 0 to 1, hours."""

    monthly_tokens: float
    avg_latency_ms: float
    format_error_rate: float
    dev_cost_hours: float


@dataclass(frozen=True)
class Seeded:
    """Its answer; `ratio` is what it compares with 3, `payback_months` what that was meant to be."""

    strategy: str
    ratio: float
    monthly_savings_usd: float
    dev_cost_usd: float

    @property
    def payback_months(self) -> float | None:
        found = divided(self.dev_cost_usd, self.monthly_savings_usd)
        return found if isfinite(found) else None


def recommend(metrics: Metrics) -> Seeded:
    """prompt, fine-tune or hybrid, as the published function says; the same operations in the same order."""
    savings = (metrics.monthly_tokens / 1_000_000) * (PROMPT_PRICE - TUNED_PRICE)
    cost = metrics.dev_cost_hours * HOURLY_RATE
    ratio = divided(cost, savings / 3)
    if metrics.avg_latency_ms > LATENCY_SLA_MS or metrics.format_error_rate > FORMAT_ERRORS:
        # No number is never at most three.
        strategy = "fine-tune" if ratio <= ROI_MONTHS else "hybrid"
    else:
        strategy = "prompt" if metrics.monthly_tokens < TOKEN_CUTOFF else "hybrid"
    return Seeded(strategy, ratio, savings, cost)


def reasons(metrics: Metrics, found: Seeded) -> list[str]:
    """Why it said so, in its own terms."""
    told = [
        f"{metrics.avg_latency_ms:,.0f} ms against {LATENCY_SLA_MS} ms, {metrics.format_error_rate:.1%} format errors "
        f"against {FORMAT_ERRORS:.0%}: {_breach(metrics)}.",
        f"${found.dev_cost_usd:,.2f} to build, ${found.monthly_savings_usd:,.2f} saved a month; "
        f"cost / (savings / 3) is {found.ratio:.4g}, and has to be at most {ROI_MONTHS}.",
    ]
    if metrics.avg_latency_ms <= LATENCY_SLA_MS and metrics.format_error_rate <= FORMAT_ERRORS:
        told.append(f"{metrics.monthly_tokens:,.0f} tokens a month against {TOKEN_CUTOFF:,}.")
    if found.payback_months is not None and (found.ratio <= ROI_MONTHS) != (found.payback_months <= ROI_MONTHS):
        told.append(
            f"The comment of the function says three months, and payback is {found.payback_months:.1f}; its formula "
            "asks for one."
        )
    return told


def _breach(metrics: Metrics) -> str:
    names = [
        name
        for name, is_over in (
            ("latency", metrics.avg_latency_ms > LATENCY_SLA_MS),
            ("format", metrics.format_error_rate > FORMAT_ERRORS),
        )
        if is_over
    ]
    return f"over on {' and '.join(names)}" if names else "within both"


def document(metrics: Metrics) -> dict[str, Any]:
    """The answer as JSON; what is infinite or no number is null."""
    found = recommend(metrics)
    return {
        "strategy": found.strategy,
        "payback_months": found.payback_months,
        "ratio": found.ratio if isfinite(found.ratio) else None,
        "monthly_savings_usd": found.monthly_savings_usd,
        "dev_cost_usd": found.dev_cost_usd,
        "reasons": reasons(metrics, found),
    }
