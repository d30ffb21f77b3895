"""Protocols of chat, one file each: a new one is a copy of another, and its name is the file's. A provider's row says
which one it speaks, and nothing else names them. Pure.
"""

import functools
import importlib
import pkgutil
from contextlib import AbstractAsyncContextManager

from evaluations.providers.base import ChatClient, ChatProtocol
from evaluations.providers.chat import Endpoint
from evaluations.providers.outbound import Destinations

DEFAULT = "openai_chat"


def protocol_names() -> list[str]:
    """Return the names of all protocols, without loading their libraries."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


@functools.cache
def get_protocol(name: str) -> ChatProtocol:
    """Return the protocol of this name; its library is loaded with it."""
    protocol: ChatProtocol = importlib.import_module(f"{__name__}.{name}").PROTOCOL
    return protocol


def open_chat(endpoint: Endpoint, destinations: Destinations) -> AbstractAsyncContextManager[ChatClient]:
    """Open a chat with a provider in the protocol that it speaks; its connections are closed at the end."""
    return get_protocol(endpoint.protocol).open_chat(endpoint, destinations)
