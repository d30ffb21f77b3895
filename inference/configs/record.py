"""The record by which a service asks a model for a task: strategy, model, prompt, limits, format, retrieval. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

STRATEGIES = ("prompt", "fine-tune", "hybrid")
FORMATS = ("text", "json")
MEMBERS = (
    *("strategy", "model", "prompt", "max_tokens", "temperature", "response_format", "retrieval"),
    *("input", "fallback", "timeout_seconds", "repair", "cache_seconds"),
)


@dataclass(frozen=True)
class Record:
    """Content of a config. `prompt` is a reference, pinned to a hash when the record is committed; empty for a tuned
    model that needs none. `collection` is what retrieval searches, where it is on. `input` is the variable that a
    call's last message is; `fallback` the prompt and the model that are asked where this fails. `timeout_seconds` is
    how long each of the two is waited for, retries included; `repair` whether a model is told once what is wrong with
    the form of its answer; `cache_seconds` how long the answer to an equal request may be used, at temperature 0."""

    strategy: str
    model: str
    prompt: str = ""
    max_tokens: int | None = None
    temperature: float | None = None
    response_format: str = "text"
    retrieval: bool = False
    collection: str = ""
    input: str = ""
    fallback: Mapping[str, str] | None = None
    timeout_seconds: float | None = None
    repair: bool = False
    cache_seconds: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the record as JSON, without members at their default."""
        members: dict[str, Any] = {"strategy": self.strategy, "model": self.model}
        members |= {"prompt": self.prompt} if self.prompt else {}
        members |= {"max_tokens": self.max_tokens} if self.max_tokens is not None else {}
        members |= {"temperature": self.temperature} if self.temperature is not None else {}
        members |= {"response_format": self.response_format} if self.response_format != "text" else {}
        members |= {"retrieval": {"collection": self.collection}} if self.retrieval else {}
        members |= {"input": self.input} if self.input else {}
        members |= {"fallback": dict(self.fallback)} if self.fallback else {}
        members |= {"timeout_seconds": self.timeout_seconds} if self.timeout_seconds is not None else {}
        members |= {"repair": True} if self.repair else {}
        members |= {"cache_seconds": self.cache_seconds} if self.cache_seconds is not None else {}
        return members

    def text(self) -> str:
        """Return the record as it is stored: one member a line, so that diffs can be read."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False, sort_keys=True)
