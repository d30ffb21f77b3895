"""Reading the record of a config: from a request, and as it is stored. Pure."""

import json
import re
from collections.abc import Mapping
from typing import Any

from core.errors import Fault, Problem
from core.references import parse_reference
from inference.configs.record import FORMATS, MEMBERS, STRATEGIES, Record

FALLBACK_MEMBERS = frozenset({"prompt", "model"})
MAX_TEXT_LENGTH = 200
MAX_TOKENS = 10_000_000
MIN_TIMEOUT_SECONDS, MAX_TIMEOUT_SECONDS = 0.1, 3_600.0
MAX_CACHE_SECONDS = 30 * 86_400
PINNED = re.compile(r"[^@]+@sha256:[0-9a-f]{64}")
# A record is stored as a template without code: what would begin code is refused.
TEMPLATE_MARKERS = ("{{", "{%", "{#")


def read_record(document: object) -> Record:
    """Read a record from a request; raises `config.invalid` with every fault."""
    if not isinstance(document, Mapping):
        raise _refusal([Fault("", "type", "A config is an object.")])
    reading = _Reading(document)
    record = reading.record()
    if reading.faults:
        raise _refusal(reading.faults)
    return record


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


class _Reading:
    """A document that is being read; what is wrong with it is in `faults`."""

    def __init__(self, document: Mapping[Any, Any]) -> None:
        self._document = document
        self.faults: list[Fault] = []

    def record(self) -> Record:
        for name in sorted(map(str, self._document.keys() - set(MEMBERS))):
            self._add(name, f"Members are: {', '.join(MEMBERS)}.", "unknown")
        strategy = self._choice("strategy", STRATEGIES)
        model, prompt = self._text("model"), self._text("prompt")
        if not self._document.get("model"):
            self._add("model", "Name the model.", "required")
        if not self._document.get("prompt") and strategy in ("prompt", "hybrid"):
            self._add("prompt", "Only a tuned model can do without a prompt.", "required")
        self._check_reference("prompt", prompt)
        temperature = self._number("temperature", 0, 2)
        cache_seconds = self._number("cache_seconds", 1, MAX_CACHE_SECONDS, is_whole=True)
        if cache_seconds is not None and temperature != 0:
            self._add("cache_seconds", "Answers are kept at temperature 0 only: say so in the config.", "temperature")
        max_tokens = self._number("max_tokens", 1, MAX_TOKENS, is_whole=True)
        repair = self._document.get("repair")
        if repair not in (None, True, False) or (isinstance(repair, int) and not isinstance(repair, bool)):
            self._add("repair", "Must be true or false.", "type")
        collection = self._collection()
        return Record(
            strategy=strategy,
            model=model,
            prompt=prompt,
            max_tokens=None if max_tokens is None else int(max_tokens),
            temperature=temperature,
            response_format=self._choice("response_format", FORMATS, "text"),
            retrieval=collection is not None,
            collection=collection or "",
            input=self._variable("input"),
            fallback=self._fallback(),
            timeout_seconds=self._number("timeout_seconds", MIN_TIMEOUT_SECONDS, MAX_TIMEOUT_SECONDS),
            repair=bool(repair),
            cache_seconds=None if cache_seconds is None else int(cache_seconds),
        )

    def _add(self, member: str, sentence: str, code: str = "range") -> None:
        self.faults.append(Fault(f"/{member}", code, sentence))

    def _choice(self, name: str, choices: tuple[str, ...], default: str = "") -> str:
        value = self._document.get(name) or default
        if value not in choices:
            self._add(name, f"Must be one of: {', '.join(choices)}.", "choice")
        return str(value)

    def _text(self, name: str) -> str:
        text = self._document.get(name) or ""
        if not _is_plain_text(text):
            self._add(name, f"Must be text of at most {MAX_TEXT_LENGTH} characters.", "type")
            return ""
        return str(text)

    def _check_reference(self, name: str, reference: str) -> None:
        try:
            if reference:
                parse_reference(reference)
        except Problem as problem:
            self._add(name, problem.detail, problem.code)

    def _number(self, name: str, least: float, most: float, *, is_whole: bool = False) -> float | None:
        value = self._document.get(name)
        if value is None:
            return None
        kinds = int if is_whole else int | float
        if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
            kind = "a whole number" if is_whole else "a number"
            self._add(name, f"Must be {kind} from {least:,} to {most:,}.")
            return None
        return value

    def _variable(self, name: str) -> str:
        value = self._document.get(name) or ""
        is_name = isinstance(value, str) and (value == "" or value.isidentifier()) and len(value) <= MAX_TEXT_LENGTH
        if not is_name:
            self._add(name, "Must be the name of a variable.", "type")
        return str(value)

    def _fallback(self) -> dict[str, str] | None:
        """Read the prompt and the model that are asked where the task's own way fails; None where there is none."""
        value = self._document.get("fallback")
        if value in (None, False):
            return None
        is_readable = isinstance(value, Mapping) and value.keys() <= FALLBACK_MEMBERS and bool(value.get("prompt"))
        texts = list(value.values()) if isinstance(value, Mapping) else []
        if not is_readable or not all(map(_is_plain_text, texts)):
            sentence = 'Name a prompt, and its model where it has none: {"prompt": "support.route@production"}.'
            self._add("fallback", sentence, "type")
            return None
        members = {name: str(text) for name, text in value.items() if text}
        self._check_reference("fallback/prompt", members["prompt"])
        return members

    def _collection(self) -> str | None:
        """Read the collection that retrieval searches; None where it is off."""
        value = self._document.get("retrieval")
        if value in (None, False):
            return None
        name = value.get("collection") if isinstance(value, Mapping) and value.keys() == {"collection"} else None
        if not name or not _is_plain_text(name):
            self._add("retrieval", 'Name the collection to search: {"collection": "knowledge-base"}.', "type")
            return None
        return str(name)


def _is_plain_text(value: object) -> bool:
    return (
        isinstance(value, str)
        and len(value) <= MAX_TEXT_LENGTH
        and not any(marker in value for marker in TEMPLATE_MARKERS)
    )


def _refusal(faults: list[Fault]) -> Problem:
    return Problem("config.invalid", faults[0].message, faults=faults)
