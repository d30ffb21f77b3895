"""Training files: JSON lines as OpenAI's protocol has them, written the same byte for byte each time. Pure.

Supervised: `{"messages": [...]}`, whose last message is the answer to learn. Preference (DPO): `{"input": {"messages":
[...]}, "preferred_output": [...], "non_preferred_output": [...]}`. Members stand in this order, without white space;
what some readers take for the end of a line (U+0085, U+2028, U+2029) is escaped, so that a line is a line to all.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

Message = Mapping[str, Any]
Line = Mapping[str, Any]
LINE_ENDS = {"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"}


class Method(StrEnum):
    """How a model learns from a file."""

    SUPERVISED = "supervised"
    PREFERENCE = "dpo"


def supervised(asked: Sequence[Message], answer: str, tools: Sequence[Mapping[str, Any]] = ()) -> Line:
    """One example: what was asked, and the answer to learn. Answers that stand in between (of a prompt that shows how
    to go on) are read and not learned: their weight is 0."""
    messages = [_unlearned(one) for one in asked]
    line: dict[str, Any] = {"messages": [*messages, {"role": "assistant", "content": answer}]}
    if tools:
        line["tools"] = list(tools)
    return line


def preference(
    asked: Sequence[Message], preferred: str, non_preferred: str, tools: Sequence[Mapping[str, Any]] = ()
) -> Line:
    """One pair: to the same question, the answer to give rather than the other."""
    given: dict[str, Any] = {"messages": [dict(one) for one in asked]}
    if tools:
        given["tools"] = list(tools)
    return {
        "input": given,
        "preferred_output": [{"role": "assistant", "content": preferred}],
        "non_preferred_output": [{"role": "assistant", "content": non_preferred}],
    }


def _unlearned(message: Message) -> dict[str, Any]:
    return {**message, "weight": 0} if message["role"] == "assistant" else dict(message)


def written(line: Line) -> bytes:
    """A line as it stands in a file, its end included. ValueError where a text is no Unicode (half a surrogate)."""
    text = json.dumps(line, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for end, escaped in LINE_ENDS.items():
        text = text.replace(end, escaped)
    return f"{text}\n".encode()


def read(data: bytes) -> Iterator[tuple[int, Any]]:
    """Each line's number (from 1) and what stands there, or the ValueError with it. Empty lines are none."""
    for number, raw in enumerate(data.split(b"\n"), start=1):
        if not raw.strip():
            continue
        try:
            yield number, json.loads(raw.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            yield number, ValueError(str(error) or "nested too deeply")


def answer_text(expected: Any, schema: Mapping[str, Any] | None = None) -> str:
    """An expected output as the model is to write it: text as it is, JSON without white space, its members in the order
    in which the schema names them, for a model writes the reasoning before the verdict where it was told so."""
    if isinstance(expected, str):
        return expected
    return json.dumps(_ordered(expected, schema or {}), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _ordered(value: Any, schema: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        items = schema.get("items")
        return [_ordered(one, items if isinstance(items, Mapping) else {}) for one in value]
    if not isinstance(value, Mapping):
        return value
    properties = schema.get("properties")
    named = properties if isinstance(properties, Mapping) else {}
    places = {name: place for place, name in enumerate(named)}
    names = sorted(value, key=lambda name: (places.get(name, len(places)), name))
    below = {name: inner for name, inner in named.items() if isinstance(inner, Mapping)}
    return {name: _ordered(value[name], below.get(name, {})) for name in names}


def question(line: Line) -> list[Message]:
    """The messages of a line that are asked: all but the answer to learn."""
    if "preferred_output" in line:
        return list(line["input"]["messages"])
    return list(line["messages"][:-1])


def answer(line: Line) -> str:
    """The answer of a line that is learned, or preferred."""
    found = line["preferred_output"] if "preferred_output" in line else line["messages"]
    return str(found[-1].get("content") or "")


def joined(lines: Iterable[Line]) -> bytes:
    """A whole file."""
    return b"".join(written(line) for line in lines)
