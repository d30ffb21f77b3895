"""Everything that a server may say in place of an answer, over HTTP and through the client that everybody uses."""

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from evaluations.providers.answer_shapes import read_object
from evaluations.providers.caller import Caller
from evaluations.providers.chat import CallError, ChatRequest, Completion, Endpoint, Remedy, storable
from evaluations.providers.outbound import Destinations
from evaluations.providers.protocols.openai_chat import OpenAIChat, open_chat
from evaluations.providers.wires.openai_chat import read_answer
from tests.http_server import Handler, serve
from tests.sandbox import Running, running

HERE = Destinations(["127.0.0.1"])
HELLO = ChatRequest("sandbox-small", [{"role": "user", "content": "Hello"}], {"temperature": 0})


@pytest.fixture
def server(tmp_path: Path) -> Any:
    with running(tmp_path, "right") as server:
        yield server


def with_chat(
    server: Running, do: Callable[[OpenAIChat], Awaitable[Any]], *, key: str = "right", seconds: float = 5
) -> Any:
    async def work() -> Any:
        async with open_chat(Endpoint(server.url, key, seconds), HERE) as chat:
            return await do(chat)

    return asyncio.run(work())


def test_an_answer_has_its_tokens_and_its_time(server: Running):
    answer = with_chat(server, lambda chat: chat.complete(HELLO))
    assert answer.text == "Hello"
    assert (answer.finish_reason, answer.tokens_in > 0, answer.tokens_out > 0) == ("stop", True, True)
    assert answer.latency_ms > 0
    assert answer.request_id.startswith("chatcmpl-")


def test_a_stream_comes_in_pieces_and_ends_with_the_same_answer(server: Running):
    long = ChatRequest("sandbox-small", [{"role": "user", "content": "word " * 30}], {"temperature": 0})

    async def pieces(chat: OpenAIChat) -> list[Any]:
        return [piece async for piece in chat.stream(long)]

    *texts, answer = with_chat(server, pieces)
    assert len(texts) > 5
    assert isinstance(answer, Completion)
    assert "".join(texts) == answer.text == with_chat(server, lambda chat: chat.complete(long)).text
    assert answer.tokens_out > 0


@pytest.mark.parametrize(
    ("kind", "code", "remedy"),
    [
        ("html", "call.garbled", Remedy.RETRY),
        ("broken_json", "call.garbled", Remedy.RETRY),
        ("empty", "call.garbled", Remedy.RETRY),
        ("wrong_types", "call.garbled", Remedy.RETRY),
        ("rate_limited", "call.rate_limited", Remedy.RETRY),
        ("overloaded", "call.overloaded", Remedy.RETRY),
        ("drop", "call.unreachable", Remedy.RETRY),
        ("unauthorized", "call.not_allowed", Remedy.CONFIGURE),
        ("no_credit", "call.no_credit", Remedy.CONFIGURE),
        ("refused", "call.refused", Remedy.GIVE_UP),
    ],
)
def test_what_is_no_answer_is_an_error_with_its_remedy(server: Running, kind: str, code: str, remedy: Remedy):
    server.fault(kind)
    with pytest.raises(CallError) as failed:
        with_chat(server, lambda chat: chat.complete(HELLO))
    assert (failed.value.code, failed.value.remedy) == (code, remedy)
    assert failed.value.detail


def test_a_server_that_hangs_is_not_waited_for(server: Running):
    server.fault("hang")
    with pytest.raises(CallError) as failed:
        with_chat(server, lambda chat: chat.complete(HELLO), seconds=0.3)
    assert failed.value.code == "call.timeout"


def test_how_long_to_wait_is_told(server: Running):
    server.fault("rate_limited", retry_after=150)
    with pytest.raises(CallError) as failed:
        with_chat(server, lambda chat: chat.complete(HELLO))
    assert failed.value.retry_after == 150


def test_a_wrong_key_and_an_unknown_model_need_somebody(server: Running):
    with pytest.raises(CallError) as failed:
        with_chat(server, lambda chat: chat.complete(HELLO), key="wrong")
    assert failed.value.code == "call.not_allowed"
    with pytest.raises(CallError) as failed:
        with_chat(server, lambda chat: chat.complete(ChatRequest("none", HELLO.messages)))
    assert failed.value.code == "call.unknown_model"


def test_nobody_listens():
    async def work() -> None:
        async with open_chat(Endpoint("http://127.0.0.1:9/v1", "x", 2), HERE) as chat:
            await chat.complete(HELLO)

    with pytest.raises(CallError) as failed:
        asyncio.run(work())
    assert failed.value.code == "call.unreachable"


@pytest.mark.parametrize(
    "body",
    [
        *("", "null", "[]", '{"choices": null}', '{"choices": [null]}', '{"choices": [{"message": "x"}]}'),
        *('{"error": {"message": "no"}}', "<html>", '{"choices": [{}]}'),
    ],
)
def test_odd_bodies_are_garbled(body: str):
    with pytest.raises(CallError) as failed:
        read_answer(read_object(body), 1.0, "")
    assert failed.value.code == "call.garbled"


def test_tool_calls_refusals_and_odd_counts_are_read():
    body = """{"choices": [{"finish_reason": "tool_calls", "message": {"content": null, "refusal": null,
      "tool_calls": [{"function": {"name": "look", "arguments": "{}"}}]}}], "usage": {"prompt_tokens": -3}}"""
    completion = read_answer(read_object(body), 1.0, "")
    assert completion.tool_calls == [{"name": "look", "arguments": "{}"}]
    assert completion.tokens_in == 0


def test_a_name_that_points_inside_is_not_followed(server: Running):
    """An address may be fine and its name lead inside: that is seen when it is resolved. `localhost` stands for such
    a name here, let through by the first check."""
    port = server.url.split(":")[2].split("/")[0]

    class Fooled(Destinations):
        def require(self, url: str, pointer: str = "/base_url") -> None:
            return None

    async def work() -> None:
        async with open_chat(Endpoint(f"http://localhost:{port}/v1", "right", 2), Fooled([])) as chat:
            await chat.complete(HELLO)

    with pytest.raises(CallError) as failed:
        asyncio.run(work())
    assert failed.value.code == "call.unreachable"
    assert server.calls() == []


def test_calls_go_out_together_and_give_way_when_turned_away(server: Running, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("evaluations.providers.retries.FIRST_PAUSE_SECONDS", 0.01)
    server.fault("rate_limited", count=10)
    with Caller(lambda: open_chat(Endpoint(server.url, "right", 5), HERE), 16) as caller:
        futures = [caller.submit(HELLO, key=f"call-{number}") for number in range(60)]
        assert all(future.result(30).text == "Hello" for future in futures)
        assert caller.stats.rejected == 10
    assert len(server.calls()) == 60
    assert server.paid_twice() == []


def test_the_same_name_is_charged_once(server: Running):
    first = with_chat(server, lambda chat: chat.complete(HELLO, key="one"))
    second = with_chat(server, lambda chat: chat.complete(HELLO, key="one"))
    assert first.request_id == second.request_id
    assert len(server.calls()) == 1


def test_what_a_database_cannot_hold_is_replaced():
    body = {
        "id": "a\0",
        "choices": [{"finish_reason": "st\0p", "message": {"content": "one\0two", "tool_calls": None}}],
    }

    answer = read_answer(body, 1.0, "")

    assert (answer.text, answer.finish_reason, answer.request_id) == ("one\ufffdtwo", "st\ufffdp", "a\ufffd")
    assert storable("a\ud800") == "a?"
    assert storable("plain\n") == "plain\n"


class Laconic(Handler):
    """A server that answers, also in pieces, and tells no tokens."""

    def post(self) -> None:
        if self.read_json().get("stream"):
            pieces = [{"delta": {"content": "Hello"}}, {"delta": {"content": " you"}, "finish_reason": "stop"}]
            lines = [f"data: {json.dumps({'choices': [piece], 'usage': None})}\n\n" for piece in pieces]
            self.answer_bytes("".join([*lines, "data: [DONE]\n\n"]).encode(), Content_Type="text/event-stream")
        else:
            choice = {"finish_reason": "stop", "message": {"content": "Hello you"}}
            self.answer({"choices": [choice], "usage": None})


class Packing(Handler):
    """A server that packs its answer, though nobody asked for that."""

    def post(self) -> None:
        self.read_json()
        self.answer_bytes(gzip.compress(b" " * 50_000_000), Content_Encoding="gzip")


def test_where_no_tokens_are_told_they_are_counted_and_marked():
    async def ask(port: int) -> list[Completion]:
        async with open_chat(Endpoint(f"http://127.0.0.1:{port}/v1", "key", 5), HERE) as chat:
            streamed = [piece async for piece in chat.stream(HELLO)]
            return [await chat.complete(HELLO), streamed[-1]]

    with serve(Laconic) as port:
        answers = asyncio.run(ask(port))

    for answer in answers:
        assert answer.text == "Hello you"
        assert answer.is_usage_estimated
        assert (answer.tokens_in, answer.tokens_out) == (7, 2)


def test_a_packed_answer_is_refused_before_it_is_unpacked():
    async def ask(port: int) -> Completion:
        async with open_chat(Endpoint(f"http://127.0.0.1:{port}/v1", "key", 5), HERE) as chat:
            return await chat.complete(HELLO)

    with serve(Packing) as port, pytest.raises(CallError) as refused:
        asyncio.run(ask(port))

    assert refused.value.code == "call.garbled"
    assert "packed (gzip)" in refused.value.detail


class Versioned(Handler):
    """Azure's: every request has a version, and the key has another name."""

    def post(self) -> None:
        self.read_json()
        if self.path != "/openai/deployments/small/chat/completions?api-version=2024-10-21":
            return self.answer({"error": {"message": f"No {self.path}"}}, status=404)
        message = {"role": "assistant", "content": str(self.headers["api-key"])}
        timings = {"prompt_ms": 12.5, "predicted_ms": 30}
        return self.answer({"choices": [{"message": message, "finish_reason": "stop"}], "timings": timings})


def test_an_address_may_have_a_version_and_a_server_tells_its_own_time():
    async def ask(port: int) -> Completion:
        address = f"http://127.0.0.1:{port}/openai/deployments/small?api-version=2024-10-21"
        async with open_chat(Endpoint(address, "right", 5), HERE) as chat:
            return await chat.complete(HELLO)

    with serve(Versioned) as port:
        answer = asyncio.run(ask(port))

    assert answer.text == "right"
    assert answer.server_ms == 42.5


@pytest.mark.parametrize(
    "timings", [None, [], {"prompt_ms": 1}, {"prompt_ms": "1", "predicted_ms": 2}, {"prompt_ms": -1}]
)
def test_odd_timings_are_none(timings: Any):
    body = {"choices": [{"message": {"content": "x"}}], "timings": timings}

    assert read_answer(body, 1.0, "").server_ms is None
