"""The published decision function, to the letter, quirks included. Pure.

It compares `dev cost / (monthly savings / 3)` with 3: that is true where the savings pay the cost back within *one*
month, though its comment says three. With no savings at all the ratio is infinite (or, for no cost either, no number),
and with negative ones it is below three. finetunes.strategy.decision does what the comment says; the page shows where
they differ.
"""

from dataclasses import dataclass
from math import isfinite
from typing import Any

from finetunes.strategy.units import divide

TOKEN_CUTOFF = 5_000_000
LATENCY_SLA_MS = 600
FORMAT_ERRORS = 0.05
PROMPT_PRICE, TUNED_PRICE = 14.50, 5.20
HOURLY_RATE = 150
ROI_MONTHS = 3


@dataclass(frozen=True)
class Metrics:
    """Arguments of the function: tokens a month, milliseconds, a share from 0 to 1, hours."""

    monthly_tokens: float
    avg_latency_ms: float
    format_error_rate: float
    dev_cost_hours: float


@dataclass(frozen=True)
class PublishedAnswer:
    """The function's answer; `ratio` is what it compares with 3, `payback_months` what that was meant to be."""

    strategy: str
    ratio: float
    monthly_savings_usd: float
    dev_cost_usd: float

    @property
    def payback_months(self) -> float | None:
        months = divide(self.dev_cost_usd, self.monthly_savings_usd)
        return months if isfinite(months) else None


def recommend(metrics: Metrics) -> PublishedAnswer:
    """Return prompt, fine-tune or hybrid as the published function does: the same operations in the same order."""
    savings = (metrics.monthly_tokens / 1_000_000) * (PROMPT_PRICE - TUNED_PRICE)
    cost = metrics.dev_cost_hours * HOURLY_RATE
    ratio = divide(cost, savings / 3)
    if metrics.avg_latency_ms > LATENCY_SLA_MS or metrics.format_error_rate > FORMAT_ERRORS:
        # No number is never at most three.
        strategy = "fine-tune" if ratio <= ROI_MONTHS else "hybrid"
    else:
        strategy = "prompt" if metrics.monthly_tokens < TOKEN_CUTOFF else "hybrid"
    return PublishedAnswer(strategy, ratio, savings, cost)


def reasons(metrics: Metrics, answer: PublishedAnswer) -> list[str]:
    """Explain the answer in the function's own terms."""
    sentences = [
        f"{metrics.avg_latency_ms:,.0f} ms against {LATENCY_SLA_MS} ms, {metrics.format_error_rate:.1%} format errors "
        f"against {FORMAT_ERRORS:.0%}: {_breach_text(metrics)}.",
        f"${answer.dev_cost_usd:,.2f} to build, ${answer.monthly_savings_usd:,.2f} saved a month; "
        f"cost / (savings / 3) is {answer.ratio:.4g}, and has to be at most {ROI_MONTHS}.",
    ]
    if metrics.avg_latency_ms <= LATENCY_SLA_MS and metrics.format_error_rate <= FORMAT_ERRORS:
        sentences.append(f"{metrics.monthly_tokens:,.0f} tokens a month against {TOKEN_CUTOFF:,}.")
    if answer.payback_months is not None and (answer.ratio <= ROI_MONTHS) != (answer.payback_months <= ROI_MONTHS):
        sentences.append(
            f"The comment of the function says three months, and payback is {answer.payback_months:.1f}; its formula "
            "asks for one."
        )
    return sentences


def _breach_text(metrics: Metrics) -> str:
    names = [
        name
        for name, is_over in (
            ("latency", metrics.avg_latency_ms > LATENCY_SLA_MS),
            ("format", metrics.format_error_rate > FORMAT_ERRORS),
        )
        if is_over
    ]
    return f"over on {' and '.join(names)}" if names else "within both"


def answer_as_dict(metrics: Metrics) -> dict[str, Any]:
    """Return the answer as JSON; infinite values and NaN are null."""
    answer = recommend(metrics)
    return {
        "strategy": answer.strategy,
        "payback_months": answer.payback_months,
        "ratio": answer.ratio if isfinite(answer.ratio) else None,
        "monthly_savings_usd": answer.monthly_savings_usd,
        "dev_cost_usd": answer.dev_cost_usd,
        "reasons": reasons(metrics, answer),
    }
