"""Whatever a server answers over any protocol ends as an answer or as a named error, whole or streamed."""

import asyncio
import copy
import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from evaluations.providers.chat import CallError, Completion, Endpoint, Remedy
from evaluations.providers.prices import TokenUsage
from evaluations.providers.protocols import open_chat
from evaluations.providers.transport.refused_setting import refused_setting
from evaluations.providers.wires import get_wire
from tests.evaluations.providers.strict_wires import ANSWERS, CALL, strict_server
from tests.evaluations.providers.wire_requests import (
    HERE,
    MODELS,
    PROTOCOLS,
    TOOL,
    ask,
    request,
)
from tests.http_server import Handler, serve


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_answer_and_its_stream_say_the_same(protocol: str):
    answer, *pieces, streamed = ask(protocol, request(protocol), strict_server())

    assert (answer.text, answer.thinking, answer.finish_reason) == ("billing", "hm", "stop")
    written = 0 if protocol == "gemini" else 10
    assert answer.usage == TokenUsage(100, 64, written, 50, 30)
    assert "".join(pieces) == "billing"
    assert isinstance(streamed, Completion)
    assert (streamed.text, streamed.thinking, streamed.usage) == (answer.text, answer.thinking, answer.usage)
    assert (streamed.finish_reason, streamed.model) == (answer.finish_reason, answer.model)
    assert answer.model


def with_call(protocol: str) -> dict[str, Any]:
    """The protocol's answer, with a call of a tool in place of its text."""
    answer = copy.deepcopy(ANSWERS[protocol])
    if protocol == "openai_responses":
        answer["output"][1] = {"type": "function_call", "call_id": "call_9", **CALL}
    elif protocol == "anthropic_messages":
        answer["content"][1] = {"type": "tool_use", "id": "call_9", "name": CALL["name"], "input": {"order": 7}}
        answer["stop_reason"] = "tool_use"
    elif protocol == "gemini":
        call = {"functionCall": {"id": "call_9", "name": CALL["name"], "args": {"order": 7}}, "thoughtSignature": "x"}
        answer["candidates"][0]["content"]["parts"][1] = call
    else:
        calls = [{"id": "call_9", "type": "function", "function": CALL}]
        answer["choices"][0] |= {"finish_reason": "tool_calls", "message": {"content": None, "tool_calls": calls}}
    return answer


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_call_of_a_tool_is_read_whole_and_streamed(protocol: str):
    handler = strict_server(**{protocol: with_call(protocol)})
    settings = {"reasoning": {"effort": "none"}} if protocol == "openai_chat" else {}

    answer, *_, streamed = ask(protocol, request(protocol, tools=[TOOL], settings=settings), handler)

    for each in (answer, streamed):
        assert each.finish_reason == "tool_calls"
        (call,) = each.tool_calls
        assert (call["name"], json.loads(call["arguments"])) == ("look_up", {"order": 7})


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_the_server_refuses_is_said_in_its_words(protocol: str):
    """A setting that it refuses whatever its value ends a run; a value that it refuses ends a call."""
    chat_request = request(protocol, settings={"temperature": "warm"} if protocol == "gemini" else {"temperature": 0.5})

    with pytest.raises(CallError) as failed:
        ask(protocol, chat_request, strict_server())

    assert "temperature" in failed.value.detail
    expected = ("call.refused", Remedy.GIVE_UP, "")
    if protocol != "gemini":
        expected = ("call.setting_refused", Remedy.CONFIGURE, "temperature")
    assert (failed.value.code, failed.value.remedy, failed.value.setting) == expected


@pytest.mark.parametrize(
    ("detail", "setting"),
    [
        ("Unsupported parameter: 'max_tokens' is not supported with this model.", "max_output_tokens"),
        ("Unsupported value: 'temperature' does not support 0.2 with this model.", "temperature"),
        ("`temperature` is deprecated for this model.", "temperature"),
        ("reasoning_effort: Extra inputs are not permitted", "reasoning"),
        ("Unknown name \"topK\" at 'generation_config': Cannot find field.", "top_k"),
        ("This model does not support temperature.", "temperature"),
        ("The parameter temperature is not supported for this model.", "temperature"),
        # About something else that has the word in it.
        ("Image input is not supported; stop sending images.", ""),
        ("Images are not supported by reasoning models.", ""),
        ("The document 'please lower the temperature' is not supported", ""),
        ("{'loc': ['body','messages',0,'content','temperature']} Extra inputs are not permitted", ""),
        ("This model does not support effort level 'max'. Supported levels: low.", ""),
        ("reasoning_effort: 'xhigh' is not supported. Supported values are: low.", ""),
        ("max_tokens: 64000 is not supported for this model, whose maximum is 8192", ""),
        # About this call, and not about the setting.
        ("max_tokens is too large: 99999. This model supports at most 16384 tokens.", ""),
        ("Invalid value for temperature: must be at most 2.", ""),
        ("Unsupported parameter: 'logit_bias'.", ""),
        ("Unsupported value: 'reasoning_effort' does not support 'minimal' with this model.", ""),
        ("Function tools with reasoning_effort are not supported for gpt-5.4 in /v1/chat/completions.", ""),
        ("Invalid schema for response_format: 'temperature' is not supported.", ""),
    ],
)
def test_a_setting_that_is_refused_as_such_is_told_from_its_value(detail: str, setting: str):
    assert refused_setting(detail, ["max_output_tokens", "temperature", "reasoning", "top_k"]) == setting


@pytest.mark.parametrize("protocol", ["anthropic_messages", "gemini"])
def test_a_wrong_key_is_a_matter_of_settings(protocol: str):
    with pytest.raises(CallError) as failed:
        ask(protocol, request(protocol), strict_server(), key="wrong")
    assert failed.value.remedy == Remedy.CONFIGURE


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_models_are_listed_by_the_names_that_calls_take(protocol: str):
    async def work(address: str) -> list[dict[str, Any]]:
        async with open_chat(Endpoint(address, "right", 5, protocol=protocol), HERE) as chat:
            assert await chat.slots() is None
            return await chat.models()

    with serve(strict_server()) as port:
        path = "v1beta" if protocol == "gemini" else "v1"
        listed = asyncio.run(work(f"http://127.0.0.1:{port}/{path}"))
    assert [model["name"] for model in listed] == [MODELS[protocol]]


def spoiled(document: Any) -> Iterator[Any]:
    """Yield a document with each of its members, in turn, absent or of another kind."""
    if isinstance(document, dict):
        for name in document:
            yield {other: value for other, value in document.items() if other != name}
            for odd in (None, 7, "x", [], {}, [7], True, {"type": ["x"]}):
                yield {**document, name: odd}
            for value in spoiled(document[name]):
                yield {**document, name: value}
    elif isinstance(document, list):
        for place, member in enumerate(document):
            for value in (None, 7, "x", *spoiled(member)):
                yield [*document[:place], value, *document[place + 1 :]]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("kind", ["text", "call"])
def test_whatever_shape_an_answer_has_it_is_read_or_a_named_error(protocol: str, kind: str):
    wire = get_wire(protocol)
    whole = ANSWERS[protocol] if kind == "text" else with_call(protocol)
    count = 0
    for document in spoiled(whole):
        count += 1
        for read in (wire.read_answer, _as_stream(protocol)):
            # Anything else that is raised fails the test.
            with suppress(CallError):
                answer = read(document, 1.0, "")
                assert isinstance(answer.text, str)
                json.dumps(answer.as_dict())
                assert answer.tokens_in >= 0
    assert count > 100


def _as_stream(protocol: str) -> Any:
    def read(document: Any, latency: float, _: str) -> Completion:
        reader = get_wire(protocol).stream_reader()
        event = {"type": "response.completed", "response": document} if protocol == "openai_responses" else document
        for each in (event, {"type": "content_block_delta", "index": 0, "delta": document}, {"choices": [document]}):
            reader.add(each)
        return reader.completion(latency)

    return read


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_stream_that_ends_early_is_no_answer(protocol: str):
    reader = get_wire(protocol).stream_reader()
    with pytest.raises(CallError) as failed:
        reader.completion(1.0)
    assert failed.value.code == "call.garbled"


def test_what_was_cut_or_withheld_says_so():
    responses, messages, gemini = (get_wire(name) for name in ("openai_responses", "anthropic_messages", "gemini"))
    cut = {**ANSWERS["openai_responses"], "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    assert responses.read_answer(cut, 1.0, "").finish_reason == "length"
    refused = {**ANSWERS["anthropic_messages"], "stop_reason": "refusal"}
    assert messages.read_answer(refused, 1.0, "").refusal == "billing"
    with pytest.raises(CallError, match="PROHIBITED"):
        gemini.read_answer({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}, 1.0, "")
    failed = {
        **ANSWERS["openai_responses"],
        "status": "failed",
        "error": {"code": "rate_limit_exceeded", "message": "x"},
    }
    with pytest.raises(CallError) as error:
        responses.read_answer(failed, 1.0, "")
    assert error.value.code == "call.rate_limited"


def streamed(protocol: str, *events: dict[str, Any]) -> Completion:
    reader = get_wire(protocol).stream_reader()
    for event in events:
        reader.add(event)
    return reader.completion(1.0)


def test_a_call_that_comes_whole_or_is_cut_off_is_what_the_model_said():
    start = {"type": "content_block_start", "index": 0}
    whole = {**start, "content_block": {"type": "tool_use", "name": "f", "input": {"city": "Paris"}}}
    piece = {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '{"a": '}}
    stop = {"type": "message_stop"}

    assert streamed("anthropic_messages", whole, stop).tool_calls == [{"name": "f", "arguments": '{"city": "Paris"}'}]
    assert streamed("anthropic_messages", whole, piece, stop).tool_calls == [{"name": "f", "arguments": '{"a": '}]
    with pytest.raises(CallError, match="same block twice"):
        streamed("anthropic_messages", whole, whole, stop)


def test_what_responses_says_in_an_odd_way_is_no_empty_answer():
    wire = get_wire("openai_responses")
    usual = ANSWERS["openai_responses"]

    message = {"type": "message", "content": "hello"}
    assert wire.read_answer({**usual, "output": [message]}, 1.0, "").text == "hello"
    delta = {"type": "response.output_text.delta", "delta": "hello"}
    done = {"type": "response.completed", "response": {**usual, "output": []}}
    assert streamed("openai_responses", delta, done).text == "hello"
    call = {"type": "function_call", "name": "f", "arguments": {"a": 1}}
    (read_call,) = wire.read_answer({**usual, "output": [call]}, 1.0, "").tool_calls or ()
    assert read_call["arguments"] == '{"a": 1}'
    with pytest.raises(CallError, match="not text"):
        wire.read_answer({**usual, "output": [{"type": "message", "content": ["hello"]}]}, 1.0, "")
    with pytest.raises(CallError, match="queued"):
        wire.read_answer({**usual, "status": "queued"}, 1.0, "")
    with pytest.raises(CallError, match="failed"):
        streamed("openai_responses", {"type": "response.failed", "response": {"output": []}})


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_counts_that_no_column_holds_are_counted_here(protocol: str):
    most = 2**31 - 1

    def largest(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: largest(member) for name, member in value.items()}
        return most if isinstance(value, int) else value

    member = "usageMetadata" if protocol == "gemini" else "usage"
    usage = {**largest(ANSWERS[protocol][member]), "toolUsePromptTokenCount": most, "total_tokens": 3 * most}
    answer = get_wire(protocol).read_answer({**ANSWERS[protocol], member: usage}, 1.0, "")

    assert all(count < 2**31 for count in (answer.tokens_in, answer.tokens_out, answer.tokens_cached))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_answer_of_very_many_levels_is_an_error_of_its_own(protocol: str):
    deep = "DEEP"
    odd = {
        "openai_responses": {**ANSWERS["openai_responses"], "model": deep},
        "anthropic_messages": {"content": [{"type": "tool_use", "name": "f", "input": deep}]},
        "gemini": {"candidates": [{"content": {"parts": [{"functionCall": {"name": "f", "args": {"a": deep}}}]}}]},
        "openai_chat": {"error": deep},
    }[protocol]

    class Deep(Handler):
        def post(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer_bytes(as_text.encode())

    as_text = json.dumps(odd).replace('"DEEP"', "[" * 980 + "]" * 980)
    with pytest.raises(CallError):
        ask(protocol, request(protocol), Deep)


def test_a_stream_is_cut_at_line_ends_alone():
    """Unicode has more of them, which JSON allows within a text."""
    answer = copy.deepcopy(ANSWERS["openai_chat"])
    answer["choices"][0]["message"]["content"] = "a\u2028b\x85c"
    handler = strict_server(openai_chat=answer)

    whole, *pieces, streamed = ask("openai_chat", request("openai_chat"), _unescaped(handler))

    assert whole.text == streamed.text == "".join(pieces) == "a\u2028b\x85c"


def _unescaped(handler: type[Handler]) -> type[Handler]:
    """The server, with its texts as they are, in pieces that split characters and ends of lines."""

    class Unescaped(handler):  # type: ignore[valid-type, misc]
        def answer_bytes(self, body: bytes, *, status: int = 200, **headers: str) -> None:
            text = body.decode().replace("\\u2028", "\u2028").replace("\\u0085", "\x85")
            super().answer_bytes(text.replace("\n", "\r\n").encode(), status=status, **headers)

    return Unescaped


@pytest.mark.parametrize(
    ("error", "code", "remedy"),
    [
        ({"type": "overloaded_error", "message": "x"}, "call.overloaded", Remedy.RETRY),
        ({"type": "rate_limit_error", "message": "x"}, "call.rate_limited", Remedy.RETRY),
        ({"type": "authentication_error", "message": "x"}, "call.not_allowed", Remedy.CONFIGURE),
        ({"type": "invalid_request_error", "message": "x"}, "call.refused", Remedy.GIVE_UP),
        ({"code": "invalid_prompt", "message": "x"}, "call.refused", Remedy.GIVE_UP),
        ({"code": "server_error", "message": "x"}, "call.garbled", Remedy.RETRY),
    ],
)
def test_an_error_in_a_stream_has_its_remedy(error: dict[str, str], code: str, remedy: Remedy):
    with pytest.raises(CallError) as failed:
        get_wire("anthropic_messages").stream_reader().add({"type": "error", "error": error})
    assert (failed.value.code, failed.value.remedy) == (code, remedy)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("Your credit balance is too low to access the API.", "call.no_credit"),
        ("API key not valid. Please pass a valid API key.", "call.not_allowed"),
    ],
)
def test_an_account_that_cannot_pay_ends_a_run_whatever_its_status(message: str, code: str):
    class Refusing(Handler):
        def post(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer({"error": {"message": message, "type": "invalid_request_error"}}, 400)

    with pytest.raises(CallError) as failed:
        ask("anthropic_messages", request("anthropic_messages"), Refusing)
    assert (failed.value.code, failed.value.remedy) == (code, Remedy.CONFIGURE)
