"""Open chats with model providers, one for each endpoint, kept as long as the process lives. Pure."""

import asyncio
from contextlib import AsyncExitStack

from evaluations.providers.base import ChatClient
from evaluations.providers.chat import Endpoint
from evaluations.providers.outbound import Destinations
from evaluations.providers.protocols import open_chat

CONNECTIONS = 512


class Upstreams:
    """Chats by endpoint: an address, a key and a protocol. Another key is another endpoint; chats that are asked no
    longer cost a few idle connections, which end by themselves."""

    def __init__(self, destinations: Destinations) -> None:
        self._destinations = destinations
        self._stack = AsyncExitStack()
        self._lock = asyncio.Lock()
        self._chats: dict[Endpoint, ChatClient] = {}

    async def chat(self, endpoint: Endpoint) -> ChatClient:
        """Return the chat with an endpoint. Raises a Problem where its address is not allowed."""
        chat = self._chats.get(endpoint)
        if chat is None:
            async with self._lock:
                chat = self._chats.get(endpoint)
                if chat is None:
                    chat = await self._stack.enter_async_context(open_chat(endpoint, self._destinations))
                    self._chats[endpoint] = chat
        return chat

    async def close(self) -> None:
        await self._stack.aclose()
