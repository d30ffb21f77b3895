"""What is asked of a model and what comes back, in our own words. Pure: the SDK stays in evaluations.providers.openai_chat."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from registry.content.content_hash import canonical_bytes

MILLION = Decimal(1_000_000)
# Members of a version's model settings that go to the provider as they are; the model's name goes by itself.
NOT_SENT = frozenset({"name"})


@dataclass(frozen=True)
class ChatRequest:
    """One request. `parameters` are temperature, max_tokens and the like, as the provider takes them."""

    model: str
    messages: Sequence[Mapping[str, Any]]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    response_format: Mapping[str, Any] | None = None
    tools: Sequence[Mapping[str, Any]] = ()

    def body(self) -> dict[str, Any]:
        """The body as OpenAI's protocol has it; what says nothing is left out, for servers that know less."""
        found: dict[str, Any] = {"model": self.model, "messages": list(self.messages), **self.parameters}
        if self.response_format and self.response_format.get("type") != "text":
            found["response_format"] = dict(self.response_format)
        if self.tools:
            found["tools"] = list(self.tools)
        return found

    def key(self, repeat: int = 1, *, of: str = "") -> bytes:
        """What tells this request from every other one. Repeats are asked anew each: that they differ is measured. `of`
        says whose answer it is: a server's, or above temperature 0 one run's, which may not pass as another draw."""
        return hashlib.sha256(canonical_bytes({"body": self.body(), "repeat": repeat, "of": of})).digest()

    @property
    def is_deterministic(self) -> bool:
        """Whether the answer is meant to be the same each time, so that one need not ask twice."""
        return self.parameters.get("temperature") == 0


def request_of(rendered: Mapping[str, Any], model: str, parameters: Mapping[str, Any]) -> ChatRequest:
    """A rendered version (core.rendering.render) as a request; `parameters` win over the version's own."""
    own = {name: value for name, value in rendered.get("model", {}).items() if name not in NOT_SENT}
    return ChatRequest(
        model=model,
        messages=rendered["messages"],
        parameters={**own, **parameters},
        response_format=rendered.get("response_format"),
        tools=rendered.get("tools", ()),
    )


@dataclass(frozen=True)
class Completion:
    """An answer. Tokens are the provider's count; `tokens_in` includes those that it had cached."""

    text: str
    refusal: str = ""
    finish_reason: str = ""
    tool_calls: Sequence[Mapping[str, Any]] | None = None
    tokens_in: int = 0
    tokens_cached: int = 0
    tokens_out: int = 0
    latency_ms: float = 0.0
    request_id: str = ""
    # What the provider says answered: a dated name, where one asked for an alias.
    model: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def storable(text: str) -> str:
    """A text as PostgreSQL and UTF-8 can hold it: a model may answer with NUL, or with half of a surrogate pair."""
    if text.isprintable():
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


@dataclass(frozen=True)
class Price:
    """US dollars for a million tokens."""

    input: Decimal
    cached_input: Decimal
    output: Decimal

    def of(self, tokens_in: int, tokens_cached: int, tokens_out: int) -> Decimal:
        """What a call costs: `tokens_in` includes `tokens_cached`, which cost less."""
        fresh = max(0, tokens_in - tokens_cached)
        return (fresh * self.input + tokens_cached * self.cached_input + tokens_out * self.output) / MILLION

    def as_dict(self) -> dict[str, str]:
        return {"input": str(self.input), "cached_input": str(self.cached_input), "output": str(self.output)}

    @classmethod
    def read(cls, stored: Mapping[str, str] | None) -> "Price | None":
        return cls(**{name: Decimal(value) for name, value in stored.items()}) if stored else None


@dataclass(frozen=True)
class Endpoint:
    """Where to ask, with which key, and for how long to wait."""

    base_url: str
    api_key: str
    timeout_seconds: float = 60.0
    connections: int = 64


class Remedy(StrEnum):
    """The one thing that a caller has to know of an error."""

    RETRY = "retry"
    # Asking again gets the same answer.
    GIVE_UP = "give up"
    # No request will succeed until somebody changes the provider's settings.
    CONFIGURE = "configure"


@dataclass(eq=False)
class CallError(Exception):
    """A call that brought no answer. `retry_after`: seconds, where the provider said how long to wait."""

    code: str
    detail: str
    remedy: Remedy
    retry_after: float | None = None
    request_id: str = ""

    def __str__(self) -> str:
        return self.detail
