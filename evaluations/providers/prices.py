"""The price of a model's tokens: fresh input, cached input, input written to a cache, output. Pure.

Lists of prices that others publish: evaluations.providers.list_prices.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

MILLION = Decimal(1_000_000)


@dataclass(frozen=True)
class TokenUsage:
    """Tokens of a call. `tokens_in` is the whole question, with what was read from a cache and what was written to one;
    `tokens_out` is the whole answer, reasoning included."""

    tokens_in: int = 0
    tokens_cached: int = 0
    tokens_cache_write: int = 0
    tokens_out: int = 0
    tokens_reasoning: int = 0


@dataclass(frozen=True)
class Price:
    """US dollars for a million tokens. Where writing to a cache has no price of its own, it costs what input does."""

    input: Decimal
    cached_input: Decimal
    output: Decimal
    cache_write: Decimal | None = None

    def of(self, usage: TokenUsage) -> Decimal:
        """Compute the cost of a call. Reasoning is output."""
        fresh = max(0, usage.tokens_in - usage.tokens_cached - usage.tokens_cache_write)
        cache_write = self.input if self.cache_write is None else self.cache_write
        question = fresh * self.input + usage.tokens_cached * self.cached_input + usage.tokens_cache_write * cache_write
        return (question + usage.tokens_out * self.output) / MILLION

    def as_dict(self) -> dict[str, str]:
        prices = {"input": self.input, "cached_input": self.cached_input, "output": self.output}
        prices |= {"cache_write": self.cache_write} if self.cache_write is not None else {}
        return {name: str(price) for name, price in prices.items()}

    @classmethod
    def read(cls, stored: Mapping[str, str] | None) -> "Price | None":
        return cls(**{name: Decimal(value) for name, value in stored.items()}) if stored else None
