"""Messages of Anthropic. Pure."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from evaluations.providers.base import ChatProtocol
from evaluations.providers.chat import Endpoint
from evaluations.providers.outbound import Destinations
from evaluations.providers.transport.objects import get_object, rows_of
from evaluations.providers.transport.openai_client import open_connections, split_address
from evaluations.providers.transport.posted_chat import PostedChat
from evaluations.providers.transport.posts import Posts
from evaluations.providers.wires import anthropic_messages as wire

API_VERSION = "2023-06-01"


@asynccontextmanager
async def open_chat(endpoint: Endpoint, destinations: Destinations) -> AsyncIterator["AnthropicChat"]:
    """Open a chat over connections that are closed at the end."""
    address, query = split_address(endpoint.base_url)
    async with open_connections(endpoint, destinations) as http:
        headers = {"x-api-key": endpoint.api_key, "anthropic-version": API_VERSION}
        yield AnthropicChat(Posts(http, address, query, headers), endpoint.timeout_seconds)


class AnthropicChat(PostedChat):
    def __init__(self, posts: Posts, seconds: float) -> None:
        super().__init__(posts, wire, lambda *_: "/messages", seconds, streamed={"stream": True})

    async def models(self) -> list[dict[str, Any]]:
        """List the provider's models: `{"name": ..., "shutdown_date": ... or None}`."""
        models = rows_of(await get_object(self._posts, "/models", {"limit": "1000"}), "data", "/models")
        return [
            {"name": str(model["id"])[:200], "shutdown_date": model.get("retires_at")}
            for model in models
            if model.get("id")
        ]


PROTOCOL = ChatProtocol("Messages (Anthropic)", open_chat)
