"""The cost of calls, by the list prices of the package genai-prices. Pure: usable without Django or network.

Prices are US dollars. They are list prices of the day the package was made: a bill may differ (batches, caches,
agreements), so pages call these figures estimates.
"""

from dataclasses import dataclass
from decimal import Decimal

from genai_prices import Usage, calc_price

# The providers whose model names are written plainly, without the provider in front. First match wins.
PROVIDERS = ("openai", "mistral", "deepseek", "anthropic", "google", "x-ai", "groq", "together")
CALLS = 1_000


@dataclass(frozen=True)
class CallPrice:
    """US dollars for 1,000 calls: of the input, and of the longest output where one is set."""

    provider: str
    input: Decimal
    output: Decimal | None

    @property
    def total(self) -> Decimal:
        return self.input + (self.output or 0)


def price_per_thousand_calls(model: str, input_tokens: int, output_tokens: int | None = None) -> CallPrice | None:
    """Return the list price of 1,000 such calls, or None where the model's price is unknown."""
    usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens or 0)
    for provider in PROVIDERS if model else ():
        try:
            price = calc_price(usage, model_ref=model, provider_id=provider)
        except LookupError:
            continue
        if not price.input_price:
            # A price of zero at its maker's free tier says nothing about its cost elsewhere.
            continue
        output = price.output_price * CALLS if output_tokens is not None else None
        return CallPrice(price.provider.name, price.input_price * CALLS, output)
    return None
