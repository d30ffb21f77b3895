"""What a protocol of chat has to offer. Pure."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from evaluations.providers.chat import ChatRequest, Completion, Endpoint
from evaluations.providers.outbound import Destinations

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class ChatClient(Protocol):
    """A provider that is being called."""

    async def complete(
        self, request: ChatRequest, *, key: str = "", headers: Mapping[str, str] = NO_HEADERS
    ) -> Completion:
        """Return the model's answer, or raise a CallError. `headers` go along: of a trace, for example."""
        ...

    def stream(
        self, request: ChatRequest, *, headers: Mapping[str, str] = NO_HEADERS
    ) -> AsyncIterator[str | Completion]:
        """Yield the pieces of an answer as they come, then the whole of it."""
        ...

    async def models(self) -> list[dict[str, Any]]:
        """Return the models that the provider lists, each with its `id`."""
        ...

    async def slots(self) -> int | None:
        """Return how many calls the server says that it takes at a time; None where it does not say."""
        ...


@dataclass(frozen=True)
class ChatProtocol:
    """A wire of chat: its title, and how a client of it is opened for the time of some calls."""

    title: str
    open_chat: Callable[[Endpoint, Destinations], AbstractAsyncContextManager[ChatClient]]
