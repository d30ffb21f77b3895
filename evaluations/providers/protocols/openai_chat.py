"""Chat Completions of OpenAI, which most servers speak. Pure."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import openai

from evaluations.providers.answer_shapes import read_count, read_object
from evaluations.providers.base import ChatProtocol
from evaluations.providers.chat import Endpoint
from evaluations.providers.outbound import Destinations
from evaluations.providers.transport.openai_client import (
    client_over,
    list_models,
    open_connections,
    posts_over,
    translate_error,
)
from evaluations.providers.transport.posted_chat import PostedChat
from evaluations.providers.transport.posts import Posts
from evaluations.providers.wires import openai_chat as wire

logger = logging.getLogger(__name__)


@asynccontextmanager
async def open_chat(endpoint: Endpoint, destinations: Destinations) -> AsyncIterator["OpenAIChat"]:
    """Open a chat over connections that are closed at the end."""
    http = open_connections(endpoint, destinations)
    async with client_over(http, endpoint) as client:
        yield OpenAIChat(client, posts_over(client, http), endpoint.timeout_seconds)


class OpenAIChat(PostedChat):
    def __init__(self, client: openai.AsyncOpenAI, posts: Posts, seconds: float) -> None:
        streamed = {"stream": True, "stream_options": {"include_usage": True}}
        super().__init__(posts, wire, lambda *_: "/chat/completions", seconds, streamed=streamed)
        self._client = client

    async def models(self) -> list[dict[str, Any]]:
        """List the server's models: `{"name": ..., "shutdown_date": ... or None}`."""
        return await list_models(self._client)

    async def slots(self) -> int | None:
        """Return the slots of a llama.cpp server, which tells them beside its OpenAI addresses; None for others, which
        answer anything there."""
        root = self._client.with_options(base_url=str(self._client.base_url).rstrip("/").removesuffix("/v1"))
        try:
            raw = await root.get("/props", cast_to=httpx2.Response)
            slots = read_object(raw.text).get("total_slots")
        except Exception as error:
            logger.info("slots.not_told %s", translate_error(error).code)
            return None
        return read_count(slots) or None


PROTOCOL = ChatProtocol("Chat Completions (OpenAI and compatible servers)", open_chat)
