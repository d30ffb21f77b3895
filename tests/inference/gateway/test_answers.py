"""What OpenAI's own client reads from the answers that the inference service writes."""

import json
from typing import Any

import httpx
import openai
import orjson
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from core.errors import Problem
from evaluations.providers.chat import CallError, Completion, Remedy
from inference.gateway import answers

EVENT_STREAM = "text/event-stream"
TOOLS = [{"name": "find_order", "arguments": '{"number": 7}'}, {"name": "close", "arguments": "{}"}]
CALLED = Completion(text="", finish_reason="tool_calls", tool_calls=TOOLS, tokens_in=3, tokens_out=2, latency_ms=1.0)


def client_that_reads(content: bytes, kind: str) -> openai.OpenAI:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=content, headers={"Content-Type": kind}))
    return openai.OpenAI(base_url="http://gateway/v1", api_key="k", http_client=httpx.Client(transport=transport))


def test_tool_calls_in_chat_completions():
    document = orjson.dumps(answers.chat_answer(CALLED, "c1", "task:t"))

    answer = client_that_reads(document, "application/json").chat.completions.create(model="task:t", messages=[])

    calls: Any = answer.choices[0].message.tool_calls
    assert [(each.id, each.type) for each in calls] == [("call_c1_0", "function"), ("call_c1_1", "function")]
    assert [(each.function.name, each.function.arguments) for each in calls] == [
        ("find_order", '{"number": 7}'),
        ("close", "{}"),
    ]
    assert answer.choices[0].finish_reason == "tool_calls"


def test_tool_calls_in_a_stream_of_chat_completions():
    writer = answers.ChatStream("c1", "task:t", True)
    stream = b"".join((writer.begin(), *writer.end(CALLED)))

    chunks = list(
        client_that_reads(stream, EVENT_STREAM).chat.completions.create(model="task:t", messages=[], stream=True)
    )

    (calls,) = [
        chunk.choices[0].delta.tool_calls for chunk in chunks if chunk.choices and chunk.choices[0].delta.tool_calls
    ]
    assert [(each.index, each.id) for each in calls] == [(0, "call_c1_0"), (1, "call_c1_1")]
    assert [each.function.arguments for each in calls if each.function] == ['{"number": 7}', "{}"]
    assert chunks[-1].usage
    assert chunks[-1].usage.prompt_tokens == 3


def test_tool_calls_in_responses_whole_and_streamed():
    document = orjson.dumps(answers.responses_answer(CALLED, "c1", "task:t"))
    answer = client_that_reads(document, "application/json").responses.create(model="task:t", input="x")
    writer = answers.ResponsesStream("c1", "task:t")
    stream = b"".join((writer.begin(), *writer.end(CALLED)))
    events: list[Any] = list(
        client_that_reads(stream, EVENT_STREAM).responses.create(model="task:t", input="x", stream=True)
    )

    calls: list[Any] = [item for item in answer.output if item.type == "function_call"]
    assert [(each.call_id, each.name, each.arguments) for each in calls] == [
        ("call_c1_0", "find_order", '{"number": 7}'),
        ("call_c1_1", "close", "{}"),
    ]
    assert [each.sequence_number for each in events] == list(range(len(events)))
    streamed = [item for item in events[-1].response.output if item.type == "function_call"]
    assert [each.call_id for each in streamed] == ["call_c1_0", "call_c1_1"]


def test_a_refusal_in_responses_whole_and_streamed():
    refused = Completion(text="", refusal="I cannot", finish_reason="stop")
    document = orjson.dumps(answers.responses_answer(refused, "c1", "task:t"))
    answer: Any = client_that_reads(document, "application/json").responses.create(model="task:t", input="x")
    writer = answers.ResponsesStream("c1", "task:t")
    stream = b"".join((writer.begin(), *writer.end(refused)))
    events: list[Any] = list(
        client_that_reads(stream, EVENT_STREAM).responses.create(model="task:t", input="x", stream=True)
    )

    assert [part.refusal for part in answer.output[0].content] == ["I cannot"]
    (refusal,) = [event for event in events if event.type == "response.refusal.done"]
    assert (refusal.refusal, refusal.content_index) == ("I cannot", 1)
    content = events[-1].response.output[0].content
    assert [part.type for part in content] == ["output_text", "refusal"]
    # Each part was begun before it was done.
    begun = [event.content_index for event in events if event.type == "response.content_part.added"]
    assert begun == [event.content_index for event in events if event.type == "response.content_part.done"] == [0, 1]


@pytest.mark.parametrize(
    ("reason", "status", "details"),
    [
        ("stop", "completed", None),
        ("length", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
    ],
)
def test_an_answer_in_responses_is_what_the_client_says_it_is(reason: str, status: str, details: str | None):
    answer = Completion(text="billing", finish_reason=reason, tokens_in=9, tokens_cached=4, tokens_cache_write=2)
    writer = answers.ResponsesStream("c1", "task:t")
    parts = [writer.begin(), writer.piece("bil"), writer.piece("ling"), *writer.end(answer)]
    events = [orjson.loads(line[6:]) for part in parts for line in part.split(b"\n") if line.startswith(b"data: ")]

    # Not parsed as the client does, which takes anything, but checked against its types.
    for event in events:
        TypeAdapter(ResponseStreamEvent).validate_python(event)
    whole = Response.model_validate(answers.responses_answer(answer, "c1", "task:t"))
    assert (whole.status, whole.incomplete_details and whole.incomplete_details.reason) == (status, details)
    assert whole.output[0].model_dump()["status"] == status
    assert {event["response"]["created_at"] for event in events if "response" in event} == {writer.created}
    assert events[-1]["type"] == f"response.{status}"


@pytest.mark.parametrize("writer", [answers.ChatStream("c1", "t", False), answers.ResponsesStream("c1", "t")])
def test_half_of_a_surrogate_pair_ends_no_stream(writer: answers.ChatStream | answers.ResponsesStream):
    event = writer.piece("a \ud83d")

    data = event.decode().split("data: ", 1)[1]
    assert "a ?" in json.dumps(json.loads(data))


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (CallError("call.overloaded", "busy", Remedy.RETRY), 503),
        (CallError("call.rate_limited", "slower", Remedy.RETRY), 429),
        (CallError("call.garbled", "what", Remedy.RETRY), 502),
        (Problem("gateway.invalid", "no"), 400),
    ],
)
def test_the_status_of_a_refusal(error: CallError | Problem, status: int):
    assert answers.error_document(error)[0] == status
