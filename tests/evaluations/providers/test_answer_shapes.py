"""Whatever shape a server is known to answer in ends as the right answer or as a named error (faults.md P)."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from evaluations.providers.answer_shapes import StreamedToolCalls, read_count, read_object
from evaluations.providers.chat import CallError, Completion, Remedy
from evaluations.providers.prices import Price, TokenUsage
from evaluations.providers.wires.openai_chat import StreamedAnswer, read_answer

TEXT = {"type": "text", "text": "billing"}
THINKING = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}


def read_completion(text: str, latency_ms: float, request_id: str) -> Completion:
    return read_answer(read_object(text), latency_ms, request_id)


def body(content: Any, **members: Any) -> str:
    return json.dumps({"choices": [{"finish_reason": "stop", "message": {"content": content}, **members}]})


@pytest.mark.parametrize(
    ("content", "text", "thinking"),
    [
        ("billing", "billing", ""),
        ([TEXT], "billing", ""),
        (["bill", "ing"], "billing", ""),
        ([THINKING, TEXT], "billing", "hm"),
        ([{"type": "reasoning", "text": "hm"}, {"type": "output_text", "text": "billing"}], "billing", "hm"),
        ([{"text": "billing"}], "billing", ""),
        ([], "", ""),
        (None, "", ""),
        ("<think>\nhm\n</think>\n\nbilling", "billing", "hm"),
        ("<think>cut off", "", "cut off"),
        ("I <think> so", "I <think> so", ""),
    ],
)
def test_text_is_found_in_every_shape(content: Any, text: str, thinking: str):
    answer = read_completion(body(content), 1.0, "")
    assert (answer.text, answer.thinking) == (text, thinking)


@pytest.mark.parametrize(
    "content", [7, {"text": "x"}, True, [7], [{"type": "image"}], [{"type": ["x"]}], [{"type": "text", "text": None}]]
)
def test_what_can_never_be_read_is_not_paid_for_again(content: Any):
    with pytest.raises(CallError) as failed:
        read_completion(body(content), 1.0, "")
    assert (failed.value.code, failed.value.remedy) == ("call.unreadable", Remedy.GIVE_UP)


@pytest.mark.parametrize(
    ("error", "code", "remedy"),
    [
        ({"code": 402, "message": "Insufficient credits"}, "call.no_credit", Remedy.CONFIGURE),
        ({"code": "429", "message": "Slow down"}, "call.rate_limited", Remedy.RETRY),
        ({"code": 400, "message": "No"}, "call.refused", Remedy.GIVE_UP),
        ({"code": "insufficient_quota", "message": "No"}, "call.no_credit", Remedy.CONFIGURE),
        ({"type": "rate_limit_exceeded", "message": "No"}, "call.rate_limited", Remedy.RETRY),
        ({"code": 401, "message": "No"}, "call.not_allowed", Remedy.CONFIGURE),
        ({"code": 502, "message": "Bad gateway"}, "call.garbled", Remedy.RETRY),
        ({"message": "no"}, "call.garbled", Remedy.RETRY),
        ("no", "call.garbled", Remedy.RETRY),
    ],
)
@pytest.mark.parametrize("place", ["body", "choice", "stream"])
def test_an_error_inside_a_200_is_an_error(place: str, error: Any, code: str, remedy: Remedy):
    def read() -> object:
        if place == "stream":
            return StreamedAnswer().add({"error": error, "choices": []})
        whole = json.dumps({"error": error}) if place == "body" else body("", error=error, finish_reason="error")
        return read_completion(whole, 1.0, "")

    with pytest.raises(CallError) as failed:
        read()
    assert (failed.value.code, failed.value.remedy) == (code, remedy)


def test_a_choice_that_ended_in_an_error_is_no_empty_answer():
    with pytest.raises(CallError):
        read_completion(body("", finish_reason="error"), 1.0, "")


@pytest.mark.parametrize(
    "pieces",
    [
        # As OpenAI sends them.
        [(0, "a", "look", "{"), (1, "b", "find", "["), (0, None, None, "}"), (1, None, None, "]")],
        # One index for all.
        [(0, "a", "look", "{"), (0, "a", None, "}"), (0, "b", "find", "["), (0, None, None, "]")],
        # No index at all.
        [(None, "a", "look", "{}"), (None, "b", "find", "["), (None, None, None, "]")],
    ],
)
def test_parallel_tool_calls_stay_apart(pieces: list[tuple[Any, ...]]):
    calls = StreamedToolCalls()
    for piece in pieces:
        calls.add(*piece)
    assert calls.as_list() == [{"name": "look", "arguments": "{}"}, {"name": "find", "arguments": "[]"}]


def test_counts_are_whole_numbers_in_any_notation():
    assert [read_count(value) for value in (7, 7.0, 7.5, None, "7", True, -1, float("nan"))] == [7, 7, 0, 0, 0, 0, 0, 0]
    counted = read_completion(
        json.dumps({"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": 1200.0}}), 1.0, ""
    )
    assert counted.tokens_in == 1200


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        # OpenAI: cached and reasoning are parts.
        (
            {
                **{"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150},
                "prompt_tokens_details": {"cached_tokens": 64},
                "completion_tokens_details": {"reasoning_tokens": 30},
            },
            TokenUsage(100, 64, 0, 50, 30),
        ),
        # xAI: reasoning stands beside the completion.
        (
            {
                **{"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 150},
                "completion_tokens_details": {"reasoning_tokens": 30},
            },
            TokenUsage(100, 0, 0, 50, 30),
        ),
        # DeepSeek.
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 5,
                "prompt_cache_hit_tokens": 64,
                "prompt_cache_miss_tokens": 36,
            },
            TokenUsage(100, 64, 0, 5, 0),
        ),
        # OpenRouter.
        (
            {
                **{"prompt_tokens": 100, "completion_tokens": 5},
                "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 80},
            },
            TokenUsage(100, 0, 80, 5, 0),
        ),
        ({"prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details": None}, TokenUsage(100, 0, 0, 5, 0)),
        ({"prompt_tokens": 9, "completion_tokens": 5, "completion_tokens_details": []}, TokenUsage(9, 0, 0, 5, 0)),
    ],
)
def test_tokens_of_every_kind_are_read_wherever_a_server_tells_them(usage: Any, counted: TokenUsage):
    document = {"choices": [{"finish_reason": "stop", "message": {"content": "x"}}], "usage": usage}

    assert read_completion(json.dumps(document), 1.0, "").usage == counted


def test_each_kind_of_token_has_its_price():
    price = Price(Decimal(10), Decimal(1), Decimal(40), cache_write=Decimal(12))

    assert price.of(TokenUsage(1_000, 700, 200, 100, 60)) == Decimal(1_000 + 700 + 2_400 + 4_000) / 1_000_000
    assert replace(price, cache_write=None).of(TokenUsage(10, 0, 10)) == Decimal(100) / 1_000_000
    assert Price.read(price.as_dict()) == price
    # A run of before has no price of writing.
    assert Price.read({"input": "1", "cached_input": "1", "output": "2"}) == Price(Decimal(1), Decimal(1), Decimal(2))
