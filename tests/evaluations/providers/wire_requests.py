"""Requests that every protocol is asked, and how: over HTTP, for the whole answer and for a stream."""

import asyncio
from typing import Any

from evaluations.providers.chat import ChatRequest, Endpoint, build_request
from evaluations.providers.outbound import Destinations
from evaluations.providers.protocols import open_chat
from registry.content.model_profiles.facts import get_profile
from tests.evaluations.providers.strict_wires import CALL
from tests.http_server import Handler, serve

HERE = Destinations(["127.0.0.1"])
MODELS = {
    "openai_chat": "gpt-6-luna",
    "openai_responses": "gpt-6-luna",
    "anthropic_messages": "claude-sonnet-5-5",
    "gemini": "gemini-3.8-flash",
}
PROTOCOLS = sorted(MODELS)
SCHEMA = {"type": "object", "properties": {"category": {"type": "string"}}, "required": ["category"]}
PIXEL = "data:image/png;base64,iVBORw0KGgo="
TOOL = {"type": "function", "function": {"name": "look_up", "description": "An order", "parameters": SCHEMA}}
CONVERSATION = [
    {"role": "system", "content": "You sort tickets."},
    {"role": "user", "content": [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": PIXEL}}]},
    {
        "role": "assistant",
        "content": "One moment.",
        "tool_calls": [{"id": "call_1", "type": "function", "function": CALL}],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "It was sent."},
    {"role": "user", "content": "And now?"},
]


def request(protocol: str, messages: Any = None, **members: Any) -> ChatRequest:
    settings = members.pop("settings", {})
    model = MODELS[protocol]
    rendered = {"messages": messages or [{"role": "user", "content": "Sort it."}], "model": settings, **members}
    return build_request(rendered, model, {}, get_profile(model))


def ask(protocol: str, chat_request: ChatRequest, handler: type[Handler], *, key: str = "right") -> list[Any]:
    """Ask for the whole answer and for a stream; returns the answer, then what was streamed."""
    path = "v1beta" if protocol == "gemini" else "v1"

    async def work(address: str) -> list[Any]:
        async with open_chat(Endpoint(address, key, 5, protocol=protocol), HERE) as chat:
            return [await chat.complete(chat_request), *[piece async for piece in chat.stream(chat_request)]]

    with serve(handler) as port:
        return asyncio.run(work(f"http://127.0.0.1:{port}/{path}"))
