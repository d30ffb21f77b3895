"""Google's Gemini API. Pure."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from evaluations.providers.base import ChatProtocol
from evaluations.providers.chat import ChatRequest, Endpoint
from evaluations.providers.outbound import Destinations
from evaluations.providers.transport.objects import get_object, rows_of
from evaluations.providers.transport.openai_client import open_connections, split_address
from evaluations.providers.transport.posted_chat import PostedChat
from evaluations.providers.transport.posts import Posts
from evaluations.providers.wires import gemini as wire

PREFIX = "models/"


@asynccontextmanager
async def open_chat(endpoint: Endpoint, destinations: Destinations) -> AsyncIterator["GeminiChat"]:
    """Open a chat over connections that are closed at the end."""
    address, query = split_address(endpoint.base_url)
    async with open_connections(endpoint, destinations) as http:
        yield GeminiChat(Posts(http, address, query, {"x-goog-api-key": endpoint.api_key}), endpoint.timeout_seconds)


class GeminiChat(PostedChat):
    def __init__(self, posts: Posts, seconds: float) -> None:
        super().__init__(posts, wire, _path, seconds, streamed={})

    async def models(self) -> list[dict[str, Any]]:
        """List the provider's models that answer: `{"name": ..., "shutdown_date": None}`."""
        models = rows_of(await get_object(self._posts, "/models", {"pageSize": "1000"}), "models", "/models")
        return [
            {"name": str(model["name"]).removeprefix(PREFIX)[:200], "shutdown_date": None}
            for model in models
            if model.get("name") and _answers(model)
        ]


def _path(request: ChatRequest, is_streamed: bool) -> str:
    method = "streamGenerateContent?alt=sse" if is_streamed else "generateContent"
    return f"/{PREFIX}{request.model.removeprefix(PREFIX)}:{method}"


def _answers(model: dict[str, Any]) -> bool:
    methods = model.get("supportedGenerationMethods")
    return not isinstance(methods, list) or "generateContent" in methods


PROTOCOL = ChatProtocol("Gemini (Google)", open_chat)
