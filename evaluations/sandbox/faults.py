"""Faults of a provider, on demand."""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from evaluations.openai_server.errors import error

KINDS = (
    *("slow", "hang", "drop", "rate_limited", "overloaded", "unauthorized", "no_credit", "refused"),
    *("html", "broken_json", "empty", "wrong_types", "model_refuses", "cut_off"),
    # The call is done and its answer is lost, so that a retry would be charged twice.
    *("done_then_error", "done_then_drop", "done_then_hang"),
)
# The calls that a fault can be for.
PLACES = ("chat", "upload", "create", "poll", "cancel", "list")
# Faults that are only in the answer: the call is done, and charged.
IN_THE_ANSWER = frozenset({"slow", "html", "broken_json", "empty", "wrong_types", "model_refuses", "cut_off"})
HANGS_SECONDS = 3_600


@dataclass
class Fault:
    """A fault of the next `count` calls (None: of all until it is cleared), each with the probability `share`."""

    kind: str
    on: str = "chat"
    count: int | None = None
    share: float = 1.0
    seconds: float = 1.0
    retry_after: float | None = None


class Faults:
    """The active faults, the newest first."""

    def __init__(self) -> None:
        self._on: list[Fault] = []

    def put(self, document: Mapping[str, Any]) -> None:
        fault = Fault(**document)
        if fault.kind not in KINDS:
            raise ValueError(f"There is no fault {fault.kind!r}; there are {', '.join(KINDS)}.")
        if fault.on not in PLACES:
            raise ValueError(f"There are no calls {fault.on!r}; there are {', '.join(PLACES)}.")
        self._on.insert(0, fault)

    def clear(self) -> None:
        self._on.clear()

    def wrap(self, place: str, handler: Handler) -> Handler:
        """Wrap the handler of a kind of call with the faults of such calls."""

        async def faulty(request: web.Request) -> web.StreamResponse:
            fault = self.draw(place)
            if fault and (instead := await before_answer(fault, request)):
                return instead
            answer = await handler(request)
            if fault and (instead := await after_doing(fault, request)):
                return instead
            return answer

        return faulty

    def draw(self, place: str = "chat") -> Fault | None:
        """Return the fault of the next call, if any."""
        for fault in self._on:
            if fault.on != place or fault.count == 0 or random.random() >= fault.share:  # noqa: S311 - no secret
                continue
            if fault.count is not None:
                fault.count -= 1
            return fault
        return None


async def before_answer(fault: Fault, request: web.Request) -> web.StreamResponse | None:
    """Return a faulty provider's response instead of an answer; None where it does answer."""
    match fault.kind:
        case "hang":
            await asyncio.sleep(HANGS_SECONDS)
        case "drop":
            if request.transport:
                request.transport.close()
            return web.Response(status=500)
        case "rate_limited":
            headers = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
            return error(429, "Rate limit reached.", "rate_limit_exceeded", headers)
        case "no_credit":
            return error(429, "You exceeded your current quota.", "insufficient_quota")
        case "overloaded":
            return error(503, "The server is overloaded.", "server_error")
        case "unauthorized":
            return error(401, "Incorrect API key provided.", "invalid_api_key")
        case "refused":
            return error(400, "This model's maximum context length is 8192 tokens.", "context_length_exceeded")
    return None


async def after_doing(fault: Fault, request: web.Request | None) -> web.Response | None:
    """Return the response in place of an answer that is lost after the call was done; None where it arrives."""
    match fault.kind:
        case "slow":
            await asyncio.sleep(fault.seconds)
        case "html":
            return web.Response(text="<html><body>502 Bad Gateway</body></html>", content_type="text/html")
        case "broken_json":
            return web.Response(text='{"id": "x", "choices": [{"mess', content_type="application/json")
        case "done_then_error":
            return error(500, "The server had an error while processing your request.", "server_error")
        case "done_then_drop":
            if request is not None and request.transport:
                request.transport.close()
            return web.Response(status=500)
        case "done_then_hang":
            await asyncio.sleep(HANGS_SECONDS)
    return None


async def in_answer(fault: Fault, document: dict[str, Any]) -> web.StreamResponse | None:
    """Spoil an answer, in place or by returning another response; None where the document is sent."""
    if instead := await after_doing(fault, None):
        return instead
    message, choice = document["choices"][0]["message"], document["choices"][0]
    match fault.kind:
        case "empty":
            document["choices"] = []
        case "wrong_types":
            document["choices"] = "none"
        case "model_refuses":
            message.update(content=None, refusal="I can't help with that.")
        case "cut_off":
            message["content"], choice["finish_reason"] = message["content"][: len(message["content"]) // 2], "length"
    return None
