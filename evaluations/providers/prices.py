"""The price of a model's tokens: fresh input, cached input, output. Pure.

Lists of prices that others publish: evaluations.providers.list_prices.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

MILLION = Decimal(1_000_000)


@dataclass(frozen=True)
class Price:
    """US dollars for a million tokens."""

    input: Decimal
    cached_input: Decimal
    output: Decimal

    def of(self, tokens_in: int, tokens_cached: int, tokens_out: int) -> Decimal:
        """Compute the cost of a call: `tokens_in` includes `tokens_cached`, which cost less."""
        fresh = max(0, tokens_in - tokens_cached)
        return (fresh * self.input + tokens_cached * self.cached_input + tokens_out * self.output) / MILLION

    def as_dict(self) -> dict[str, str]:
        return {"input": str(self.input), "cached_input": str(self.cached_input), "output": str(self.output)}

    @classmethod
    def read(cls, stored: Mapping[str, str] | None) -> "Price | None":
        return cls(**{name: Decimal(value) for name, value in stored.items()}) if stored else None
