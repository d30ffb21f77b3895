"""Costs of each approach: savings, payback, break-even volume, total cost over some months. Pure.

All is computed with units (finetunes.strategy.units). Prices are for a million *input tokens of today's prompt* and
include all that a call costs: what a tuned model saves by its shorter question is in its price.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from finetunes.strategy.evidence import Evidence, Figure, Origin, quantity_of
from finetunes.strategy.policy import Policy
from finetunes.strategy.units import Quantity, quantity

MTOKEN = quantity(1e-6, "Mtoken/token")
APPROACHES = ("prompt", "trim", "retrieval", "fine-tune", "hybrid")


@dataclass(frozen=True)
class TuningCosts:
    """Costs and savings of tuning: dollars saved a month, dollars to get there, months until they are paid back
    (infinite where never), and the tokens a month from which they are paid back in time."""

    monthly_savings: Quantity
    dev_cost: Quantity
    payback: Quantity
    break_even: Quantity | None


def price_per_mtoken(evidence: Evidence, policy: Policy, name: str) -> Quantity:
    """Return the price of a million tokens with an approach: as measured or entered, else the policy's."""
    return quantity_of(evidence, name) or quantity(getattr(policy, name), "USD/Mtoken")


def monthly_mtokens(evidence: Evidence) -> Quantity:
    return (quantity_of(evidence, "monthly_tokens") or quantity(0, "token/month")) * MTOKEN


def dev_cost(evidence: Evidence, policy: Policy) -> Quantity:
    hours = quantity_of(evidence, "dev_cost_hours") or quantity(policy.tuned_hours, "hour")
    return hours * quantity(policy.hourly_rate, "USD/hour") + (
        quantity_of(evidence, "tuning_cost_usd") or quantity(0, "USD")
    )


def tuning_costs(evidence: Evidence, policy: Policy, share: float = 1.0) -> TuningCosts:
    """Compute payback = cost to tune / monthly savings. Without savings it is never paid back, unless it costs nothing.
    `share` is the part of the savings that remains: all of them with a tuned model, some with a hybrid."""
    difference = (
        price_per_mtoken(evidence, policy, "prompt_price") - price_per_mtoken(evidence, policy, "tuned_price")
    ) * share
    savings = monthly_mtokens(evidence) * difference
    cost = dev_cost(evidence, policy)
    nothing = quantity(0, "USD/month")
    if cost.value == 0:
        payback = quantity(0, "month")
    else:
        payback = cost / savings if savings > nothing else quantity(inf, "month")
    break_even = None
    if difference > quantity(0, "USD/Mtoken"):
        break_even = cost / quantity(policy.payback_months, "month") / difference / MTOKEN
    return TuningCosts(savings, cost, payback, break_even)


def total_cost(approach: str, evidence: Evidence, policy: Policy) -> Quantity:
    """Return US dollars over the policy's horizon: calls, the work to get there, and upkeep."""
    month, rate = quantity(policy.horizon_months, "month"), quantity(policy.hourly_rate, "USD/hour")

    def work_cost(hours: float) -> Quantity:
        return quantity(hours, "hour") * rate

    def upkeep_cost(hours: float) -> Quantity:
        return quantity(hours, "hour/month") * rate * month

    prompt, tuned = (
        price_per_mtoken(evidence, policy, "prompt_price"),
        price_per_mtoken(evidence, policy, "tuned_price"),
    )
    calls = monthly_mtokens(evidence) * month
    match approach:
        case "prompt":
            return calls * prompt + upkeep_cost(policy.low_maintenance)
        case "trim":
            trimmed_price = prompt * remaining_token_ratio(evidence, policy)
            return calls * trimmed_price + work_cost(policy.prompt_hours) + upkeep_cost(policy.low_maintenance)
        case "retrieval":
            price = price_per_mtoken(evidence, policy, "retrieval_price")
            return calls * price + work_cost(policy.retrieval_hours) + upkeep_cost(policy.medium_maintenance)
        case "fine-tune":
            return calls * tuned + dev_cost(evidence, policy) + upkeep_cost(policy.high_maintenance)
        case "hybrid":
            between = tuned + (prompt - tuned) * (1 - policy.hybrid_share)
            return calls * between + dev_cost(evidence, policy) + upkeep_cost(policy.high_maintenance)
    raise ValueError(approach)


def costs_per_1000_calls(evidence: Evidence, policy: Policy) -> dict[str, float] | None:
    """Return US dollars for a thousand calls by approach, without work and upkeep; None where the length of a question
    is not known. A price for a million *input* tokens makes short questions look dear: an answer costs the same for
    fewer of them."""
    tokens = quantity_of(evidence, "tokens_per_call")
    if tokens is None:
        return None
    prompt, tuned, retrieval = (
        price_per_mtoken(evidence, policy, name) for name in ("prompt_price", "tuned_price", "retrieval_price")
    )
    prices = {
        "prompt": prompt,
        "trim": prompt * remaining_token_ratio(evidence, policy),
        "retrieval": retrieval,
        "fine-tune": tuned,
        "hybrid": tuned + (prompt - tuned) * (1 - policy.hybrid_share),
    }
    return {approach: price.value * tokens.value / 1_000 for approach, price in prices.items()}


def remaining_token_ratio(evidence: Evidence, policy: Policy) -> float:
    """Return the part of a question's tokens that remains when the prompt is shortened until it is not bloated."""
    own, whole = quantity_of(evidence, "prompt_tokens"), quantity_of(evidence, "tokens_per_call")
    if own is None or whole is None or whole.value <= 0:
        return 1.0
    over = max(0.0, own.value - policy.bloat_tokens)
    return max(0.0, 1 - over / max(whole.value, own.value))


def total_cost_ranges(evidence: Evidence, policy: Policy) -> dict[str, dict[str, Any]]:
    """Return each approach's total with its range, every input being at the end of its interval that makes the total
    smaller or larger (totals rise with each input that they depend on, except the prompt's own length)."""
    return {
        approach: {
            "value": total_cost(approach, evidence, policy).to("USD"),
            "low": total_cost(approach, _evidence_at(evidence, lambda figure: figure.low), policy).to("USD"),
            "high": total_cost(approach, _evidence_at(evidence, lambda figure: figure.high), policy).to("USD"),
        }
        for approach in APPROACHES
    }


def totals_over_volume(
    evidence: Evidence, policy: Policy, volumes: Iterable[float], approaches: Iterable[str] = APPROACHES
) -> dict[str, list[tuple[float, float]]]:
    """Return (tokens a month, total) pairs of each approach, for the chart of where one becomes cheaper."""
    lines: dict[str, list[tuple[float, float]]] = {approach: [] for approach in approaches}
    for tokens in volumes:
        evidence_at_volume = {**evidence, "monthly_tokens": _volume_figure(evidence, tokens)}
        for approach, pairs in lines.items():
            pairs.append((tokens, total_cost(approach, evidence_at_volume, policy).to("USD")))
    return lines


def _evidence_at(evidence: Evidence, end: Callable[[Figure], float]) -> Mapping[str, Figure]:
    names = ("monthly_tokens", "prompt_price", "tuned_price", "retrieval_price", "dev_cost_hours", "tuning_cost_usd")
    moved = {name: _figure_with_value(evidence[name], end(evidence[name])) for name in names if name in evidence}
    return {**evidence, **moved}


def _figure_with_value(figure: Figure, value: float) -> Figure:
    return Figure(max(0.0, value), value, value, figure.origin, figure.source)


def _volume_figure(evidence: Evidence, tokens: float) -> Figure:
    figure = evidence.get("monthly_tokens")
    return _figure_with_value(figure, tokens) if figure else Figure(tokens, tokens, tokens, Origin.ASSUMED)
