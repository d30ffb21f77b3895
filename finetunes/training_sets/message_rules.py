"""Rules on the parts and tool calls of messages in training files, as OpenAI's guides to fine-tuning have them (vision:
pictures are the user's, at most ten a line; tools: declared in the line, called by id, each call answered). Pure.

Each function yields (rule, sentence).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MAX_IMAGES = 10
IMAGE_STARTS = ("https://", "http://", "data:image/")
IMAGE_KINDS = ("png", "jpeg", "jpg", "webp")

Faults = Iterator[tuple[str, str]]


def part_faults(role: Any, parts: Sequence[Any]) -> Faults:
    """Check the parts of one message."""
    for number, part in enumerate(parts, start=1):
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind in ("text", "refusal"):
            if not isinstance(part.get(kind), str) or not part[kind]:
                yield "bad_part", f"part {number} has no text."
        elif kind == "image_url":
            yield from _image_faults(number, role, part.get("image_url"))
        else:
            yield "bad_part", f"part {number} is {kind!r}; a part is text or image_url."


def _image_faults(number: int, role: Any, image: Any) -> Faults:
    if role != "user":
        yield "bad_part", f"part {number} is a picture; only the user sends pictures."
    address = image.get("url") if isinstance(image, Mapping) else None
    if not isinstance(address, str) or not address.startswith(IMAGE_STARTS):
        yield "bad_part", f"part {number} has no address of a picture (https://… or data:image/…)."
    elif address.startswith("data:") and not address.removeprefix("data:image/").startswith(IMAGE_KINDS):
        yield "bad_part", f"part {number} is a picture of another kind than PNG, JPEG and WEBP."


def tool_faults(messages: Sequence[Mapping[str, Any]], tools: Any) -> Faults:
    """Check a conversation's pictures and its calls of tools: each declared, readable, and answered before anybody goes
    on. A call in the last message is the answer to learn."""
    images = sum(
        isinstance(part, Mapping) and part.get("type") == "image_url"
        for message in messages
        for part in (message["content"] if isinstance(message.get("content"), list) else ())
    )
    if images > MAX_IMAGES:
        yield "bad_part", f"Has {images} pictures; at most {MAX_IMAGES} are allowed in a line."
    declared = _declared_tools(tools)
    if declared is None:
        yield "bad_tools", "Tools are a list of functions, each with a name."
        declared = frozenset()
    open_calls: dict[str, int] = {}
    for position, message in enumerate(messages, start=1):
        if message.get("role") == "tool":
            call = message.get("tool_call_id")
            if not isinstance(call, str) or open_calls.pop(call, None) is None:
                yield "orphan_tool_message", f"Message {position}: nobody called {call!r}."
            continue
        yield from _unanswered(open_calls)
        open_calls = {}
        if "tool_calls" in message:
            yield from _call_faults(position, message, declared, open_calls)
    if messages[-1].get("role") == "tool":
        yield from _unanswered(open_calls)


def _declared_tools(tools: Any) -> frozenset[str] | None:
    """Return the names of declared functions; None where the declaration cannot be read."""
    if tools is None:
        return frozenset()
    if not isinstance(tools, list):
        return None
    names: list[str] = []
    for tool in tools:
        function = tool.get("function") if isinstance(tool, Mapping) and tool.get("type") == "function" else None
        name = function.get("name") if isinstance(function, Mapping) else None
        if not isinstance(name, str) or not name:
            return None
        names.append(name)
    return frozenset(names)


def _unanswered(open_calls: Mapping[str, int]) -> Faults:
    for call, position in open_calls.items():
        yield "unanswered_call", f"Message {position}: the call {call!r} has no result."


def _call_faults(
    position: int, message: Mapping[str, Any], declared: frozenset[str], open_calls: dict[str, int]
) -> Faults:
    """Check the calls of a message, and note them in `open_calls`."""
    where = f"Message {position}:"
    calls = message["tool_calls"]
    if message.get("role") != "assistant" or not isinstance(calls, list) or not calls:
        yield "bad_tool_call", f"{where} tool_calls are a list, and the assistant's."
        return
    for call in calls:
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping) or call.get("type") != "function" or not isinstance(call.get("id"), str):
            yield "bad_tool_call", f"{where} a call has an id, the type function, and a function."
            continue
        if call["id"] in open_calls:
            yield "bad_tool_call", f"{where} two calls have the id {call['id']!r}."
        open_calls[call["id"]] = position
        if function.get("name") not in declared:
            yield "undeclared_tool", f"{where} calls {function.get('name')!r}, which the line's tools do not have."
        if not _is_object(function.get("arguments")):
            yield "bad_tool_call", f"{where} the arguments of {function.get('name')!r} are no JSON object as text."


def _is_object(arguments: Any) -> bool:
    if not isinstance(arguments, str):
        return False
    try:
        return isinstance(json.loads(arguments), dict)
    except (ValueError, RecursionError):
        return False
