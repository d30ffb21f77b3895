"""Requests to a model and its answers, in our own types. Pure: the SDK stays in openai_client and the protocols."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

from core.model_settings import laid_over
from evaluations.providers.prices import TokenUsage
from registry.content.content_hash import canonical_bytes
from registry.content.model_profiles.facts import UNKNOWN, ModelProfile

# Members of a version's model settings that are not parameters: the model's name is sent separately.
NOT_SENT = frozenset({"name"})


@dataclass(frozen=True)
class ChatRequest:
    """One request. `parameters` are the settings of a version's model (core.model_settings), which the
    protocol writes in its words; `profile` is what is known of the model."""

    model: str
    messages: Sequence[Mapping[str, Any]]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    response_format: Mapping[str, Any] | None = None
    tools: Sequence[Mapping[str, Any]] = ()
    profile: ModelProfile = field(default=UNKNOWN, compare=False)

    def body(self) -> dict[str, Any]:
        """Return all that is asked, by which equal requests are known; no protocol's own words."""
        body: dict[str, Any] = {"model": self.model, "messages": list(self.messages), **self.parameters}
        if self.response_format and self.response_format.get("type") != "text":
            body["response_format"] = dict(self.response_format)
        if self.tools:
            body["tools"] = list(self.tools)
        return body

    def key(self, repeat: int = 1, *, of: str = "") -> bytes:
        """Return the key of this request in the cache. Each repetition has its own: their differences are measured.
        `of` names the source of the answer: a server, or above temperature 0 one run, whose answer is one draw."""
        return hashlib.sha256(canonical_bytes({"body": self.body(), "repeat": repeat, "of": of})).digest()

    @property
    def is_deterministic(self) -> bool:
        """Return whether the answer should be the same each time, so that it can be cached."""
        return self.parameters.get("temperature") == 0


def build_request(
    rendered: Mapping[str, Any], model: str, parameters: Mapping[str, Any], profile: ModelProfile = UNKNOWN
) -> ChatRequest:
    """Build a request from a rendered version (core.rendering.render); `parameters` win over the version's own."""
    own = {name: value for name, value in rendered.get("model", {}).items() if name not in NOT_SENT}
    return ChatRequest(
        model=model,
        messages=rendered["messages"],
        parameters=laid_over(own, parameters),
        profile=profile,
        response_format=rendered.get("response_format"),
        tools=rendered.get("tools", ()),
    )


@dataclass(frozen=True)
class Completion:
    """An answer. Tokens are the provider's count, as in TokenUsage."""

    text: str
    refusal: str = ""
    finish_reason: str = ""
    tool_calls: Sequence[Mapping[str, Any]] | None = None
    tokens_in: int = 0
    tokens_cached: int = 0
    tokens_cache_write: int = 0
    tokens_out: int = 0
    tokens_reasoning: int = 0
    latency_ms: float = 0.0
    # The most calls that the provider had from here meanwhile, this one among them: with many, a latency is queueing.
    calls_in_flight: int | None = None
    # The provider's own time, where it tells it.
    server_ms: float | None = None
    request_id: str = ""
    # The model that answered, by the provider: a dated name, where the request has an alias.
    model: str = ""
    # What the model thought aloud, where the provider tells it: no part of the answer.
    thinking: str = ""
    # The provider told no tokens: these are our own count, so that budgets hold.
    is_usage_estimated: bool = False

    @property
    def usage(self) -> TokenUsage:
        return TokenUsage(**{member.name: getattr(self, member.name) for member in fields(TokenUsage)})

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def storable(text: str) -> str:
    """Clean a text for PostgreSQL and UTF-8: a model may answer with NUL, or with half of a surrogate pair."""
    if text.isprintable():
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


@dataclass(frozen=True)
class Endpoint:
    """A provider's address and key, its timeout, its number of connections, and the protocol that it speaks."""

    base_url: str
    api_key: str
    timeout_seconds: float = 60.0
    connections: int = 64
    protocol: str = "openai_chat"


class Remedy(StrEnum):
    """The reaction that an error calls for."""

    RETRY = "retry"
    # A retry would get the same answer.
    GIVE_UP = "give up"
    # No request will succeed until the provider's settings are changed.
    CONFIGURE = "configure"


@dataclass(eq=False)
class CallError(Exception):
    """A call without an answer. `retry_after`: seconds, where the provider said how long to wait."""

    code: str
    detail: str
    remedy: Remedy
    retry_after: float | None = None
    request_id: str = ""
    # The setting that the provider refuses by name, whatever else is asked.
    setting: str = ""

    def __str__(self) -> str:
        return self.detail
