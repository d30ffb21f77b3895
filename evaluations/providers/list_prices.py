"""List prices of models by the package genai-prices, used until a user enters another price. Pure."""

from decimal import Decimal
from urllib.parse import urlsplit

from evaluations.providers.prices import Price

# Prices are asked for few tokens: long questions have another one.
ASKED_TOKENS, MILLION = 1_000, 1_000_000
SOURCE = "genai-prices"
# The price list for a server's models. A self-hosted model costs its electricity, not its maker's price.
MAKERS = {
    "api.openai.com": "openai",
    "api.mistral.ai": "mistral",
    "api.deepseek.com": "deepseek",
    "api.groq.com": "groq",
    "api.together.xyz": "together",
    "api.x.ai": "x-ai",
    "api.fireworks.ai": "fireworks",
    "openrouter.ai": "openrouter",
    "generativelanguage.googleapis.com": "google",
    "api.anthropic.com": "anthropic",
}


def list_price(base_url: str, model: str) -> Price | None:
    """Return the list price of a model at this server, or None where it is unknown."""
    maker = MAKERS.get((urlsplit(base_url).hostname or "").lower())
    if maker is None:
        return None
    # Imported here: it takes a quarter of a second of each process's start, and few look prices up.
    from genai_prices import Usage, calc_price  # noqa: PLC0415

    try:
        few = ASKED_TOKENS
        fresh = calc_price(Usage(input_tokens=few, output_tokens=few), model_ref=model, provider_id=maker)
        cached = calc_price(Usage(input_tokens=few, cache_read_tokens=few), model_ref=model, provider_id=maker)
        written = calc_price(Usage(input_tokens=few, cache_write_tokens=few), model_ref=model, provider_id=maker)
    except LookupError:
        return None
    if not fresh.input_price and not fresh.output_price:
        return None
    scale = MILLION // ASKED_TOKENS
    fresh_price, cache_write = Decimal(fresh.input_price) * scale, Decimal(written.input_price) * scale
    return Price(
        fresh_price,
        Decimal(cached.input_price) * scale,
        Decimal(fresh.output_price) * scale,
        cache_write if cache_write != fresh_price else None,
    )
