"""What each approach costs: savings, payback, break-even volume, total cost over some months. Pure.

All is computed with units (finetunes.strategy.units). Prices are for a million *input tokens that the prompt of today asks
with*, all that a call costs included: what a tuned model saves by its shorter question is in its price.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from finetunes.strategy.evidence import Evidence, Figure, Origin, of
from finetunes.strategy.policy import Policy
from finetunes.strategy.units import Quantity, quantity

MTOKEN = quantity(1e-6, "Mtoken/token")
APPROACHES = ("prompt", "trim", "retrieval", "fine-tune", "hybrid")


@dataclass(frozen=True)
class Money:
    """What an evidence comes to: dollars a month saved, dollars to get there, months until that is paid back (infinite
    where it never is), and the tokens a month from which it is paid back in time."""

    monthly_savings: Quantity
    dev_cost: Quantity
    payback: Quantity
    break_even: Quantity | None


def priced(evidence: Evidence, policy: Policy, name: str) -> Quantity:
    """What a million tokens cost by an approach: as measured or typed in, else the policy's."""
    return of(evidence, name) or quantity(getattr(policy, name), "USD/Mtoken")


def volume(evidence: Evidence) -> Quantity:
    return (of(evidence, "monthly_tokens") or quantity(0, "token/month")) * MTOKEN


def dev_cost(evidence: Evidence, policy: Policy) -> Quantity:
    hours = of(evidence, "dev_cost_hours") or quantity(policy.tuned_hours, "hour")
    return hours * quantity(policy.hourly_rate, "USD/hour") + (of(evidence, "tuning_cost_usd") or quantity(0, "USD"))


def money(evidence: Evidence, policy: Policy, share: float = 1.0) -> Money:
    """payback = cost to tune / monthly savings. Without savings it is never paid back, unless it costs nothing. `share`
    is how much of the savings is kept: all of them by a tuned model, some by a hybrid."""
    difference = (priced(evidence, policy, "prompt_price") - priced(evidence, policy, "tuned_price")) * share
    savings = volume(evidence) * difference
    cost = dev_cost(evidence, policy)
    nothing = quantity(0, "USD/month")
    if cost.value == 0:
        payback = quantity(0, "month")
    else:
        payback = cost / savings if savings > nothing else quantity(inf, "month")
    break_even = None
    if difference > quantity(0, "USD/Mtoken"):
        break_even = cost / quantity(policy.payback_months, "month") / difference / MTOKEN
    return Money(savings, cost, payback, break_even)


def total(approach: str, evidence: Evidence, policy: Policy) -> Quantity:
    """US dollars over the policy's horizon: calls, the work to get there, and looking after it."""
    month, rate = quantity(policy.horizon_months, "month"), quantity(policy.hourly_rate, "USD/hour")

    def work(hours: float) -> Quantity:
        return quantity(hours, "hour") * rate

    def care(hours: float) -> Quantity:
        return quantity(hours, "hour/month") * rate * month

    prompt, tuned = priced(evidence, policy, "prompt_price"), priced(evidence, policy, "tuned_price")
    calls = volume(evidence) * month
    match approach:
        case "prompt":
            return calls * prompt + care(policy.low_maintenance)
        case "trim":
            kept = prompt * kept_share(evidence, policy)
            return calls * kept + work(policy.prompt_hours) + care(policy.low_maintenance)
        case "retrieval":
            price = priced(evidence, policy, "retrieval_price")
            return calls * price + work(policy.retrieval_hours) + care(policy.medium_maintenance)
        case "fine-tune":
            return calls * tuned + dev_cost(evidence, policy) + care(policy.high_maintenance)
        case "hybrid":
            between = tuned + (prompt - tuned) * (1 - policy.hybrid_share)
            return calls * between + dev_cost(evidence, policy) + care(policy.high_maintenance)
    raise ValueError(approach)


def kept_share(evidence: Evidence, policy: Policy) -> float:
    """What is left of a question's tokens when the prompt is brought down to where it is not bloated."""
    own, whole = of(evidence, "prompt_tokens"), of(evidence, "tokens_per_call")
    if own is None or whole is None or whole.value <= 0:
        return 1.0
    over = max(0.0, own.value - policy.bloat_tokens)
    return max(0.0, 1 - over / max(whole.value, own.value))


def ranges(evidence: Evidence, policy: Policy) -> dict[str, dict[str, Any]]:
    """Each approach's total, and between what it lies when every input is at the end of its interval that makes it
    smaller or larger (totals rise with each input that they depend on, but for the prompt's own length)."""
    return {
        one: {
            "value": total(one, evidence, policy).to("USD"),
            "low": total(one, _at(evidence, lambda figure: figure.low), policy).to("USD"),
            "high": total(one, _at(evidence, lambda figure: figure.high), policy).to("USD"),
        }
        for one in APPROACHES
    }


def over_volume(
    evidence: Evidence, policy: Policy, volumes: Iterable[float], approaches: Iterable[str] = APPROACHES
) -> dict[str, list[tuple[float, float]]]:
    """(tokens a month, total) of each approach, for the picture of where one becomes cheaper than another."""
    lines: dict[str, list[tuple[float, float]]] = {one: [] for one in approaches}
    for tokens in volumes:
        there = {**evidence, "monthly_tokens": _point(evidence, tokens)}
        for one, pairs in lines.items():
            pairs.append((tokens, total(one, there, policy).to("USD")))
    return lines


def _at(evidence: Evidence, end: Callable[[Figure], float]) -> Mapping[str, Figure]:
    names = ("monthly_tokens", "prompt_price", "tuned_price", "retrieval_price", "dev_cost_hours", "tuning_cost_usd")
    moved = {name: _moved(evidence[name], end(evidence[name])) for name in names if name in evidence}
    return {**evidence, **moved}


def _moved(figure: Figure, value: float) -> Figure:
    return Figure(max(0.0, value), value, value, figure.origin, figure.source)


def _point(evidence: Evidence, tokens: float) -> Figure:
    there = evidence.get("monthly_tokens")
    return _moved(there, tokens) if there else Figure(tokens, tokens, tokens, Origin.ASSUMED)
