"""The record by which a service asks a model for a task: strategy, model, prompt, limits, format, retrieval. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import Fault, Problem
from core.references import parse_reference

STRATEGIES = ("prompt", "fine-tune", "hybrid")
FORMATS = ("text", "json")
MEMBERS = ("strategy", "model", "prompt", "max_tokens", "temperature", "response_format", "retrieval")
LONGEST = 200
MOST_TOKENS = 10_000_000
# A record is kept as a template without any: what would begin one is refused.
MARKS = ("{{", "{%", "{#")


@dataclass(frozen=True)
class Record:
    """`prompt` is a reference, pinned to a hash when the record is kept; empty for a tuned model that needs none.
    `collection` is what retrieval looks in, where it is on."""

    strategy: str
    model: str
    prompt: str = ""
    max_tokens: int | None = None
    temperature: float | None = None
    response_format: str = "text"
    retrieval: bool = False
    collection: str = ""

    def as_dict(self) -> dict[str, Any]:
        """As JSON, without what is at its default."""
        members: dict[str, Any] = {"strategy": self.strategy, "model": self.model}
        members |= {"prompt": self.prompt} if self.prompt else {}
        members |= {"max_tokens": self.max_tokens} if self.max_tokens is not None else {}
        members |= {"temperature": self.temperature} if self.temperature is not None else {}
        members |= {"response_format": self.response_format} if self.response_format != "text" else {}
        members |= {"retrieval": {"collection": self.collection}} if self.retrieval else {}
        return members

    def text(self) -> str:
        """As it is kept: one member a line, so that differences can be read."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False, sort_keys=True)


def read(given: object) -> Record:
    """A record as somebody wrote it; `config.invalid` with every fault."""
    faults: list[Fault] = []
    if not isinstance(given, Mapping):
        raise _refusal([Fault("", "type", "A config is an object.")])

    def wrong(member: str, sentence: str, code: str = "range") -> None:
        faults.append(Fault(f"/{member}", code, sentence))

    for name in sorted(given.keys() - set(MEMBERS)):
        wrong(str(name), f"Members are: {', '.join(MEMBERS)}.", "unknown")
    strategy = given.get("strategy")
    if strategy not in STRATEGIES:
        wrong("strategy", f"Must be one of: {', '.join(STRATEGIES)}.", "choice")
    texts = {name: given.get(name) or "" for name in ("model", "prompt")}
    for name, text in texts.items():
        if not isinstance(text, str) or len(text) > LONGEST or any(mark in text for mark in MARKS):
            wrong(name, f"Must be text of at most {LONGEST} characters.", "type")
    if not texts["model"]:
        wrong("model", "Say which model is asked.", "required")
    if not texts["prompt"] and strategy in ("prompt", "hybrid"):
        wrong("prompt", "Only a tuned model can do without a prompt.", "required")
    elif texts["prompt"] and isinstance(texts["prompt"], str):
        try:
            parse_reference(texts["prompt"])
        except Problem as problem:
            wrong("prompt", problem.detail, problem.code)
    most = given.get("max_tokens")
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or not 1 <= most <= MOST_TOKENS):
        wrong("max_tokens", f"Must be a whole number from 1 to {MOST_TOKENS:,}.")
    warmth = given.get("temperature")
    if warmth is not None and (isinstance(warmth, bool) or not isinstance(warmth, int | float) or not 0 <= warmth <= 2):
        wrong("temperature", "Must be a number from 0 to 2.")
    form = given.get("response_format") or "text"
    if form not in FORMATS:
        wrong("response_format", f"Must be one of: {', '.join(FORMATS)}.", "choice")
    collection = _collection(given.get("retrieval"), faults)
    if faults:
        raise _refusal(faults)
    return Record(
        strategy=str(strategy),
        model=texts["model"],
        prompt=texts["prompt"],
        max_tokens=most,
        temperature=warmth,
        response_format=form,
        retrieval=collection is not None,
        collection=collection or "",
    )


def _collection(given: object, faults: list[Fault]) -> str | None:
    """What retrieval looks in; None where it is off."""
    if given in (None, False):
        return None
    name = given.get("collection") if isinstance(given, Mapping) else None
    others = set(given) - {"collection"} if isinstance(given, Mapping) else set()
    if not isinstance(name, str) or not 1 <= len(name) <= LONGEST or others or any(mark in name for mark in MARKS):
        faults.append(Fault("/retrieval", "type", 'Say what is looked in: {"collection": "knowledge-base"}.'))
        return None
    return name


def parsed(text: str) -> Record:
    """A record as it is kept; `config.invalid` where somebody wrote something else there by hand."""
    try:
        return read(json.loads(text))
    except ValueError:
        raise _refusal([Fault("", "json", "It is not JSON.")]) from None


def _refusal(faults: list[Fault]) -> Problem:
    return Problem("config.invalid", faults[0].message, faults=faults)
