"""A chat over POSTs: what the protocols share. Pure."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from typing import Any

import openai

from evaluations.providers.answer_shapes import MAX_ANSWER_CHARACTERS, garbled_error, read_object
from evaluations.providers.base import NO_HEADERS
from evaluations.providers.chat import CallError, ChatRequest, Completion, Remedy
from evaluations.providers.transport.openai_client import MAX_TIMEOUTS, translate_error
from evaluations.providers.transport.posts import Posts
from evaluations.providers.transport.refused_setting import refused_setting
from evaluations.providers.wires import Wire, inexpressible
from registry.content import tokens

# Text as JSON writes it, with the members around it.
MAX_DOCUMENT_CHARACTERS = 4 * MAX_ANSWER_CHARACTERS


class PostedChat:
    """A chat in a wire's words. `path` is the address below the provider's, from the request and whether its answer is
    streamed; `streamed` is what a body has more where it is."""

    def __init__(
        self,
        posts: Posts,
        wire: Wire,
        path: Callable[[ChatRequest, bool], str],
        seconds: float,
        *,
        streamed: Mapping[str, Any],
    ) -> None:
        self._posts, self._wire, self._path, self._streamed = posts, wire, path, streamed
        # For a whole answer, from the first byte sent to the last one received.
        self._seconds = MAX_TIMEOUTS * seconds

    async def slots(self) -> int | None:
        """Return how many calls the server takes at once; None where it does not say, as most."""
        return None

    async def complete(
        self, request: ChatRequest, *, key: str = "", headers: Mapping[str, str] = NO_HEADERS
    ) -> Completion:
        """Return the model's answer, or raise a CallError. `key` names the call: a server that supports idempotency
        keys answers the same call again without doing, or charging, it again."""
        body = self._body(request)
        started = time.perf_counter()
        try:
            # A server that sends a byte now and then is late as well: the transport's timeout is from byte to byte.
            async with asyncio.timeout(self._seconds):
                named = {**headers, "Idempotency-Key": key} if key else headers
                raw = await self._posts.post(self._path(request, False), body, named)
                text = raw.text
            latency = (time.perf_counter() - started) * 1000
            request_id = raw.headers.get("x-request-id") or raw.headers.get("request-id") or ""
            if len(text) > MAX_DOCUMENT_CHARACTERS:
                raise garbled_error("The answer is too long.", request_id)
            answer = self._wire.read_answer(read_object(text, request_id), latency, request_id)
        except Exception as error:
            raise naming_setting(translate_error(error), request) from error
        if len(answer.text) > MAX_ANSWER_CHARACTERS:
            raise garbled_error("The answer is too long.", request_id)
        return with_usage(answer, request)

    async def stream(
        self, request: ChatRequest, *, headers: Mapping[str, str] = NO_HEADERS
    ) -> AsyncIterator[str | Completion]:
        """Yield the pieces of an answer as they come, then the answer."""
        body = self._body(request)
        started = time.perf_counter()
        reader = self._wire.stream_reader()
        try:
            async for event in self._events(request, body, headers):
                if piece := reader.add(event):
                    yield piece
            answer = reader.completion((time.perf_counter() - started) * 1000)
        except CallError:
            raise
        except Exception as error:
            raise naming_setting(translate_error(error), request) from error
        yield with_usage(answer, request)

    async def _events(
        self, request: ChatRequest, body: Mapping[str, Any], headers: Mapping[str, str]
    ) -> AsyncIterator[Mapping[str, Any]]:
        """Yield the events of a stream that tells the tokens at its end; from a server that refuses to be asked for
        them, without."""
        path = self._path(request, True)
        has_begun = False
        try:
            async for event in self._posts.events(path, {**body, **self._streamed}, headers):
                has_begun = True
                yield event
        except openai.APIStatusError as error:
            if has_begun or error.status_code not in (400, 422) or "stream_options" not in json.dumps(error.body):
                raise
        else:
            return
        plain = {name: value for name, value in self._streamed.items() if name != "stream_options"}
        async for event in self._posts.events(path, {**body, **plain}, headers):
            yield event

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        """Write the request. What the protocol cannot say is refused before anything is sent."""
        if refusals := inexpressible(self._wire, request):
            sentence = " ".join(refusal.sentence for refusal in refusals)
            raise CallError("call.inexpressible", sentence, Remedy.GIVE_UP)
        return self._wire.write_body(request)


def naming_setting(error: CallError, request: ChatRequest) -> CallError:
    """Return a refusal that names a setting of the request as one that no call with it will get past."""
    if error.code != "call.refused" or not (setting := refused_setting(error.detail, request.parameters)):
        return error
    request_id = error.request_id
    return CallError("call.setting_refused", error.detail, Remedy.CONFIGURE, request_id=request_id, setting=setting)


def with_usage(answer: Completion, request: ChatRequest) -> Completion:
    """Count the tokens of a call for which the provider tells none. As 0 they would cost nothing, and no budget would
    end a run."""
    if answer.tokens_in or answer.tokens_out:
        return answer
    calls = json.dumps(answer.tool_calls) if answer.tool_calls else ""
    return replace(
        answer,
        tokens_in=tokens.count_messages(request.messages, request.model).tokens,
        tokens_out=tokens.count(f"{answer.thinking}{answer.text}{calls}", request.model).tokens,
        is_usage_estimated=True,
    )
