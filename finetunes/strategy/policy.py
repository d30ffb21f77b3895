"""Policy of recommendations: thresholds, prices, hours. Pure.

The defaults are those of Cuebook's source document, except where it has only a word (`low`, `high`): those are our own
and have a comment.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from core.errors import Fault, Problem

MAX_VALUE = 1e15


@dataclass(frozen=True)
class Policy:
    """Numbers of a policy: tokens a month, milliseconds, shares, hours, months; US dollars for a million input tokens,
    and for an hour."""

    token_cutoff: float = 5_000_000
    low_volume: float = 1_000_000
    high_volume: float = 10_000_000
    latency_sla_ms: float = 600
    latency_sensitive_ms: float = 500
    format_error_rate: float = 0.05
    prompt_price: float = 14.50
    tuned_price: float = 5.20
    retrieval_price: float = 16.00
    hourly_rate: float = 150
    payback_months: float = 3
    horizon_months: float = 6
    bloat_tokens: float = 2_000
    bloat_examples: float = 5
    prompt_hours: float = 4
    # Three days of eight hours.
    tuned_hours: float = 24
    retrieval_hours: float = 12
    # Ours: hours a month for what the source calls low, medium and high overhead.
    low_maintenance: float = 1
    medium_maintenance: float = 4
    high_maintenance: float = 8
    # The source's 50 to 100 examples of high quality.
    enough_examples: float = 50
    # Ours: what service levels of classifiers often ask for.
    min_quality: float = 0.8
    # Ours: the part of tuning's savings that remains where a part of the prompt stays.
    hybrid_share: float = 0.5

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


DEFAULT_POLICY = Policy()
TITLES: Mapping[str, tuple[str, str]] = {
    "token_cutoff": ("Tuning is worth a look from", "tokens a month"),
    "low_volume": ("Low volume is below", "tokens a month"),
    "high_volume": ("High volume is from", "tokens a month"),
    "latency_sla_ms": ("Mean latency may be", "ms"),
    "latency_sensitive_ms": ("Latency-sensitive is below", "ms"),
    "format_error_rate": ("Format errors may be", "share"),
    "min_quality": ("Quality has to be at least", "share"),
    "prompt_price": ("Prompting costs", "USD for 1M input tokens"),
    "tuned_price": ("A tuned model costs", "USD for 1M input tokens"),
    "retrieval_price": ("Retrieval costs", "USD for 1M input tokens"),
    "hourly_rate": ("An hour of engineering costs", "USD"),
    "payback_months": ("Tuning has to pay back within", "months"),
    "horizon_months": ("Total costs are of", "months"),
    "bloat_tokens": ("A prompt is bloated above", "tokens"),
    "bloat_examples": ("or above", "examples"),
    "prompt_hours": ("A prompt takes", "hours"),
    "tuned_hours": ("A tuned model takes", "hours"),
    "retrieval_hours": ("Retrieval takes", "hours"),
    "low_maintenance": ("Low maintenance is", "hours a month"),
    "medium_maintenance": ("Medium maintenance is", "hours a month"),
    "high_maintenance": ("High maintenance is", "hours a month"),
    "enough_examples": ("Enough clean examples are", "examples"),
    "hybrid_share": ("Of tuning's savings a hybrid keeps", "share"),
}
RATIOS = frozenset({"format_error_rate", "hybrid_share", "min_quality"})


def read_policy(document: Mapping[str, Any], base: Policy = DEFAULT_POLICY) -> Policy:
    """Read a policy from a request; missing members are taken from `base`. Raises `policy.invalid` with every fault."""
    names = {field.name for field in fields(Policy)}
    faults = [Fault(f"/{name}", "unknown", "There is no such member.") for name in sorted(document.keys() - names)]
    members = base.as_dict()
    for name in sorted(document.keys() & names):
        value, maximum = document[name], 1 if name in RATIOS else MAX_VALUE
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= maximum:
            faults.append(Fault(f"/{name}", "range", f"Must be a number from 0 to {maximum:g}."))
        else:
            members[name] = float(value)
    for low, high in (("low_volume", "token_cutoff"), ("token_cutoff", "high_volume")):
        if not faults and members[low] > members[high]:
            faults.append(Fault(f"/{low}", "order", f"Must be at most {high}."))
    for name in ("horizon_months", "payback_months"):
        if not faults and not members[name]:
            faults.append(Fault(f"/{name}", "range", "Must be above 0."))
    if faults:
        raise Problem("policy.invalid", faults[0].message, faults=faults)
    return Policy(**members)
