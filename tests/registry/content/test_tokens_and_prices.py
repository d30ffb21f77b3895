"""Counting tokens and pricing calls, without a network."""

from decimal import Decimal

import pytest

from registry.content import list_prices, tokens
from registry.content.model_profiles.facts import current_models


@pytest.mark.parametrize(
    ("model", "expected"), [("gpt-4o-mini", 2), ("ft:gpt-4o-mini-2024-07-18:acme::x", 2), ("gpt-3.5-turbo", 2)]
)
def test_known_models_are_counted_exactly(model: str, expected: int):
    assert tokens.count("hello world", model) == tokens.TokenCount(expected, is_exact=True)


def test_vocabularies_differ():
    text = "Überraschungsmoment 東京都"

    assert tokens.count(text, "gpt-4o").tokens != tokens.count(text, "gpt-4").tokens


def test_an_unknown_model_is_an_estimate():
    assert not tokens.count("hello", "gemma-3-270m").is_exact
    assert not tokens.count("hello").is_exact


def test_a_chat_request_has_framing():
    counted = tokens.count_messages([{"role": "user", "content": "hello world"}], "gpt-4o")

    assert counted.tokens == 2 + 3 + 3


def test_a_text_beyond_the_counters_limit_is_counted_in_pieces():
    assert tokens.count("word " * 250_000, "gpt-4o").tokens > 200_000


def test_special_tokens_in_a_prompt_are_text():
    assert tokens.count("<|endoftext|>", "gpt-4o").tokens > 1


def test_a_price_is_for_a_thousand_calls():
    price = list_prices.price_per_thousand_calls("gpt-4o-mini", 1_000, 100)

    assert price is not None
    assert price.input == 1_000 * list_prices.price_per_thousand_calls("gpt-4o-mini", 1).input  # type: ignore[union-attr]
    assert price.total == price.input + price.output  # type: ignore[operator]
    assert price.input > 0


def test_without_a_longest_answer_only_the_input_has_a_price():
    price = list_prices.price_per_thousand_calls("gpt-4o-mini", 1_000)

    assert price is not None
    assert (price.output, price.total) == (None, price.input)


@pytest.mark.parametrize("model", ["", "gemma-3-270m-from-my-machine", "ft:nothing::x"])
def test_an_unknown_model_has_no_price(model: str):
    assert list_prices.price_per_thousand_calls(model, 10) is None


def test_offered_models_live_on_and_most_have_prices():
    models = current_models()

    assert {"gpt-6-luna", "claude-sonnet-5-5", "gemini-3.8-flash"} <= set(models)
    assert "gpt-4o-mini" not in models
    priced = [model for model in models if list_prices.price_per_thousand_calls(model, 1)]
    assert len(priced) > len(models) / 2
    assert isinstance(list_prices.price_per_thousand_calls("gpt-6-luna", 1).input, Decimal)  # type: ignore[union-attr]
