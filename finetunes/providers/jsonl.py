"""Training files: JSON lines as OpenAI's protocol has them, written the same byte for byte each time. Pure.

Supervised: `{"messages": [...]}`, whose last message is the answer to learn. Preference (DPO): `{"input": {"messages":
[...]}, "preferred_output": [...], "non_preferred_output": [...]}`. Members stand in this order, without white space;
what some readers take for the end of a line (U+0085, U+2028, U+2029) is escaped, so that a line is a line to all.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any

from core.messages import text_of

Message = Mapping[str, Any]
Line = Mapping[str, Any]
LINE_ENDS = {"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"}


class Method(StrEnum):
    """Method by which a model learns from a file."""

    SUPERVISED = "supervised"
    PREFERENCE = "dpo"


def supervised_line(question: Sequence[Message], answer: str, tools: Sequence[Mapping[str, Any]] = ()) -> Line:
    """Make an example: the question and the answer to learn. Earlier answers within the question (of a few-shot prompt)
    are read and not learned: their weight is 0."""
    messages = [_without_weight(message) for message in question]
    line: dict[str, Any] = {"messages": [*messages, {"role": "assistant", "content": answer}]}
    if tools:
        line["tools"] = list(tools)
    return line


def preference_line(
    question: Sequence[Message], preferred: str, non_preferred: str, tools: Sequence[Mapping[str, Any]] = ()
) -> Line:
    """Make a pair: for one question, the preferred answer and the other one."""
    question_input: dict[str, Any] = {"messages": [dict(message) for message in question]}
    if tools:
        question_input["tools"] = list(tools)
    return {
        "input": question_input,
        "preferred_output": [{"role": "assistant", "content": preferred}],
        "non_preferred_output": [{"role": "assistant", "content": non_preferred}],
    }


def _without_weight(message: Message) -> dict[str, Any]:
    return {**message, "weight": 0} if message["role"] == "assistant" else dict(message)


def encode_line(line: Line) -> bytes:
    """Encode a line with its end. Raises ValueError where a text is no Unicode (half a surrogate)."""
    text = json.dumps(line, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for end, escaped in LINE_ENDS.items():
        text = text.replace(end, escaped)
    return f"{text}\n".encode()


def read_lines(data: bytes) -> Iterator[tuple[int, Any]]:
    """Yield each line's number (from 1) and its value, or the ValueError in its place. Empty lines are skipped."""
    for number, raw in enumerate(data.split(b"\n"), start=1):
        if not raw.strip():
            continue
        try:
            yield number, json.loads(raw.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            yield number, ValueError(str(error) or "nested too deeply")


def answer_text(expected: Any, schema: Mapping[str, Any] | None = None) -> str:
    """Write an expected output as the model is to answer: text as it is, JSON without white space, its members in the
    order of the schema, because a model is to write the reasoning before the verdict where the schema says so."""
    if isinstance(expected, str):
        return expected
    return json.dumps(
        _in_schema_order(expected, schema or {}), ensure_ascii=False, separators=(",", ":"), allow_nan=False
    )


def _in_schema_order(value: Any, schema: Mapping[str, Any]) -> Any:
    if isinstance(value, list):
        items = schema.get("items")
        return [_in_schema_order(element, items if isinstance(items, Mapping) else {}) for element in value]
    if not isinstance(value, Mapping):
        return value
    properties = schema.get("properties")
    named = properties if isinstance(properties, Mapping) else {}
    places = {name: place for place, name in enumerate(named)}
    names = sorted(value, key=lambda name: (places.get(name, len(places)), name))
    below = {name: inner for name, inner in named.items() if isinstance(inner, Mapping)}
    return {name: _in_schema_order(value[name], below.get(name, {})) for name in names}


def question_messages(line: Line) -> list[Message]:
    """Return the messages of a line's question: all but the answer to learn."""
    if "preferred_output" in line:
        return list(line["input"]["messages"])
    return list(line["messages"][:-1])


def answer_to_learn(line: Line) -> str:
    """Return the answer of a line that is learned, or preferred."""
    messages = line["preferred_output"] if "preferred_output" in line else line["messages"]
    return text_of(messages[-1])


def encode_file(lines: Iterable[Line]) -> bytes:
    """Encode a whole file."""
    return b"".join(encode_line(line) for line in lines)
