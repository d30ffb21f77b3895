"""The record by which a service asks a model for a task: strategy, model, prompt, limits, format, retrieval. Pure."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import Fault, Problem
from core.references import parse_reference

STRATEGIES = ("prompt", "fine-tune", "hybrid")
FORMATS = ("text", "json")
MEMBERS = (
    *("strategy", "model", "prompt", "max_tokens", "temperature", "response_format", "retrieval"),
    *("input", "fallback"),
)
FALLBACK_MEMBERS = frozenset({"prompt", "model"})
MAX_TEXT_LENGTH = 200
MAX_TOKENS = 10_000_000
# A record is stored as a template without code: what would begin code is refused.
PINNED = re.compile(r"[^@]+@sha256:[0-9a-f]{64}")
TEMPLATE_MARKERS = ("{{", "{%", "{#")


@dataclass(frozen=True)
class Record:
    """Content of a config. `prompt` is a reference, pinned to a hash when the record is committed; empty for a tuned
    model that needs none. `collection` is what retrieval searches, where it is on. `input` is the variable that a
    call's last message is; `fallback` the prompt and the model that are asked where this fails."""

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
        return members

    def text(self) -> str:
        """Return the record as it is stored: one member a line, so that diffs can be read."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False, sort_keys=True)


def read_record(document: object) -> Record:
    """Read a record from a request; raises `config.invalid` with every fault."""
    faults: list[Fault] = []
    if not isinstance(document, Mapping):
        raise _refusal([Fault("", "type", "A config is an object.")])

    def add_fault(member: str, sentence: str, code: str = "range") -> None:
        faults.append(Fault(f"/{member}", code, sentence))

    for name in sorted(document.keys() - set(MEMBERS)):
        add_fault(str(name), f"Members are: {', '.join(MEMBERS)}.", "unknown")
    strategy = document.get("strategy")
    if strategy not in STRATEGIES:
        add_fault("strategy", f"Must be one of: {', '.join(STRATEGIES)}.", "choice")
    texts = {name: document.get(name) or "" for name in ("model", "prompt")}
    for name, text in texts.items():
        if (
            not isinstance(text, str)
            or len(text) > MAX_TEXT_LENGTH
            or any(marker in text for marker in TEMPLATE_MARKERS)
        ):
            add_fault(name, f"Must be text of at most {MAX_TEXT_LENGTH} characters.", "type")
    if not texts["model"]:
        add_fault("model", "Name the model.", "required")
    if not texts["prompt"] and strategy in ("prompt", "hybrid"):
        add_fault("prompt", "Only a tuned model can do without a prompt.", "required")
    elif texts["prompt"] and isinstance(texts["prompt"], str):
        try:
            parse_reference(texts["prompt"])
        except Problem as problem:
            add_fault("prompt", problem.detail, problem.code)
    max_tokens = document.get("max_tokens")
    if max_tokens is not None and (
        isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or not 1 <= max_tokens <= MAX_TOKENS
    ):
        add_fault("max_tokens", f"Must be a whole number from 1 to {MAX_TOKENS:,}.")
    temperature = document.get("temperature")
    if temperature is not None and (
        isinstance(temperature, bool) or not isinstance(temperature, int | float) or not 0 <= temperature <= 2
    ):
        add_fault("temperature", "Must be a number from 0 to 2.")
    response_format = document.get("response_format") or "text"
    if response_format not in FORMATS:
        add_fault("response_format", f"Must be one of: {', '.join(FORMATS)}.", "choice")
    collection = _collection(document.get("retrieval"), faults)
    question = document.get("input") or ""
    if (
        not isinstance(question, str)
        or not (question == "" or question.isidentifier())
        or len(question) > MAX_TEXT_LENGTH
    ):
        add_fault("input", "Must be the name of a variable.", "type")
    fallback = _fallback(document.get("fallback"), faults)
    if faults:
        raise _refusal(faults)
    return Record(
        strategy=str(strategy),
        model=texts["model"],
        prompt=texts["prompt"],
        max_tokens=max_tokens,
        temperature=temperature,
        response_format=response_format,
        retrieval=collection is not None,
        collection=collection or "",
        input=str(question),
        fallback=fallback,
    )


def _fallback(value: object, faults: list[Fault]) -> dict[str, str] | None:
    """Read the prompt and the model that are asked where the task's own way fails; None where there is none."""
    if value in (None, False):
        return None
    is_readable = isinstance(value, Mapping) and value.keys() <= FALLBACK_MEMBERS and bool(value.get("prompt"))
    texts = list(value.values()) if isinstance(value, Mapping) else []
    if not is_readable or not all(
        isinstance(text, str)
        and len(text) <= MAX_TEXT_LENGTH
        and not any(marker in text for marker in TEMPLATE_MARKERS)
        for text in texts
    ):
        sentence = 'Name a prompt, and its model where it has none: {"prompt": "support.route@production"}.'
        faults.append(Fault("/fallback", "type", sentence))
        return None
    members = {name: str(text) for name, text in value.items() if text}  # type: ignore[attr-defined]  # a mapping
    try:
        parse_reference(members["prompt"])
    except Problem as problem:
        faults.append(Fault("/fallback/prompt", problem.code, problem.detail))
    return members


def _collection(retrieval: object, faults: list[Fault]) -> str | None:
    """Read the collection that retrieval searches; None where it is off."""
    if retrieval in (None, False):
        return None
    name = retrieval.get("collection") if isinstance(retrieval, Mapping) else None
    others = set(retrieval) - {"collection"} if isinstance(retrieval, Mapping) else set()
    if (
        not isinstance(name, str)
        or not 1 <= len(name) <= MAX_TEXT_LENGTH
        or others
        or any(marker in name for marker in TEMPLATE_MARKERS)
    ):
        faults.append(Fault("/retrieval", "type", 'Name the collection to search: {"collection": "knowledge-base"}.'))
        return None
    return name


def parse_record(text: str) -> Record:
    """Read a record as it is stored; raises `config.invalid` where a user committed something else by hand: also where
    its prompt is not pinned to a whole hash, which could mean another text tomorrow than was reviewed."""
    try:
        record = read_record(json.loads(text))
    except ValueError:
        raise _refusal([Fault("", "json", "It is not JSON.")]) from None
    for pointer, reference in (("/prompt", record.prompt), ("/fallback/prompt", (record.fallback or {}).get("prompt"))):
        if reference and not PINNED.fullmatch(reference):
            sentence = "Its prompt has to be pinned: name@sha256:… with the whole hash."
            raise _refusal([Fault(pointer, "pinned", sentence)])
    return record


def _refusal(faults: list[Fault]) -> Problem:
    return Problem("config.invalid", faults[0].message, faults=faults)
