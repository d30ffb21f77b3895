"""A model provider that answers at once, or, as the model `slow`, after 50 ms: `granian --interface asgi`."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

SLOW_SECONDS = 0.05
ANSWER: dict[str, Any] = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "fast",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "billing"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 100, "completion_tokens": 2, "total_tokens": 102},
}
PIECES = ("b", "ill", "ing")


def chunk(delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "fast", "choices": [choice]}


EVENTS = [
    *(chunk({"role": "assistant", "content": piece}) for piece in PIECES),
    chunk({}, "stop"),
    {**chunk({}), "choices": [], "usage": ANSWER["usage"]},
]
STREAM = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in EVENTS) + b"data: [DONE]\n\n"


async def application(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    if scope["type"] != "http":
        return
    body, is_whole = b"", False
    while not is_whole:
        message = await receive()
        body += message.get("body", b"")
        is_whole = not message.get("more_body")
    question = json.loads(body) if body else {}
    if question.get("model", "").endswith("slow"):
        await asyncio.sleep(SLOW_SECONDS)
    kind = b"text/event-stream" if question.get("stream") else b"application/json"
    answer = STREAM if question.get("stream") else json.dumps(ANSWER).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    await send({"type": "http.response.body", "body": answer})
