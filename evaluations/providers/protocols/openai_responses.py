"""Responses of OpenAI, which its newer models are served over. Pure."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai

from evaluations.providers.base import ChatProtocol
from evaluations.providers.chat import Endpoint
from evaluations.providers.outbound import Destinations
from evaluations.providers.transport.openai_client import client_over, list_models, open_connections, posts_over
from evaluations.providers.transport.posted_chat import PostedChat
from evaluations.providers.transport.posts import Posts
from evaluations.providers.wires import openai_responses as wire


@asynccontextmanager
async def open_chat(endpoint: Endpoint, destinations: Destinations) -> AsyncIterator["ResponsesChat"]:
    """Open a chat over connections that are closed at the end."""
    http = open_connections(endpoint, destinations)
    async with client_over(http, endpoint) as client:
        yield ResponsesChat(client, posts_over(client, http), endpoint.timeout_seconds)


class ResponsesChat(PostedChat):
    def __init__(self, client: openai.AsyncOpenAI, posts: Posts, seconds: float) -> None:
        super().__init__(posts, wire, lambda *_: "/responses", seconds, streamed={"stream": True})
        self._client = client

    async def models(self) -> list[dict[str, Any]]:
        """List the server's models: `{"name": ..., "shutdown_date": ... or None}`."""
        return await list_models(self._client)


PROTOCOL = ChatProtocol("Responses (OpenAI)", open_chat)
