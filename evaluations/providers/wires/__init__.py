"""The wires of chat, one file each: how a request is written in a protocol's words, what it cannot express, and how an
answer and a stream are read. Pure, and light: web processes ask them what a version could not say.

evaluations.providers.protocols has the clients that send what is written here.
"""

import functools
import importlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

from evaluations.providers.chat import ChatRequest, Completion
from registry.content.model_profiles.refusals import ModelRefusal


class StreamReader(Protocol):
    """Puts a streamed answer together from its events."""

    def add(self, event: Mapping[str, Any]) -> str:
        """Add an event, and return the piece of text in it; raise a CallError for an error."""
        ...

    def completion(self, latency_ms: float) -> Completion:
        """Return the whole answer, or raise a CallError where the stream ended before it did."""
        ...


class Wire(Protocol):
    """A protocol's words."""

    def write_body(self, request: ChatRequest) -> dict[str, Any]: ...

    def unfit_settings(self, request: ChatRequest) -> Sequence[ModelRefusal]:
        """Return what of a request's settings, tools and format the protocol has no words for. Its messages are not
        looked at: a version's are templates."""
        ...

    def unfit_messages(self, request: ChatRequest) -> Sequence[ModelRefusal]:
        """Return what of a request's rendered messages the protocol has no words for."""
        ...

    def read_answer(self, document: Mapping[str, Any], latency_ms: float, request_id: str) -> Completion: ...

    def stream_reader(self) -> StreamReader: ...


def inexpressible(wire: Wire, request: ChatRequest) -> list[ModelRefusal]:
    """Return what of a request a protocol has no words for; nothing of it may be sent."""
    return [*wire.unfit_settings(request), *wire.unfit_messages(request)]


@functools.cache
def get_wire(protocol: str) -> Wire:
    """Return the wire of a protocol, by its name."""
    return cast("Wire", importlib.import_module(f"{__name__}.{protocol}"))
