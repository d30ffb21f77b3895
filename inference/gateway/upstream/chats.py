"""Open chats with model providers, one for each endpoint, kept as long as the process lives. Pure."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from evaluations.providers.base import ChatClient
from evaluations.providers.chat import CallError, Endpoint, Remedy
from evaluations.providers.outbound import Destinations
from evaluations.providers.protocols import open_chat

NO_TURN = "gateway.no_turn"


class OpenChats:
    """Chats by endpoint: an address, a key and a protocol. Another key is another endpoint; chats that are asked no
    longer cost a few idle connections, which end by themselves."""

    def __init__(self, destinations: Destinations) -> None:
        self._destinations = destinations
        self._stack = AsyncExitStack()
        self._lock = asyncio.Lock()
        self._chats: dict[Endpoint, ChatClient] = {}
        self._turns: dict[Endpoint, asyncio.Semaphore] = {}

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

    @asynccontextmanager
    async def turn(self, endpoint: Endpoint, max_seconds: float) -> AsyncIterator[None]:
        """Wait for one of the provider's places, at most so long and as long as its timeout. Raises a CallError then:
        that many calls wait, which says nothing of the model."""
        turns = self._turns.setdefault(endpoint, asyncio.Semaphore(endpoint.connections))
        try:
            await asyncio.wait_for(turns.acquire(), min(endpoint.timeout_seconds, max_seconds))
        except TimeoutError:
            sentence = f"More calls wait than the provider's max_concurrency ({endpoint.connections}) lets through."
            raise CallError(NO_TURN, sentence, Remedy.GIVE_UP, retry_after=endpoint.timeout_seconds) from None
        try:
            yield
        finally:
            turns.release()

    async def close(self) -> None:
        await self._stack.aclose()
