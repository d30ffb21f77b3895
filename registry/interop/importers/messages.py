"""One message of another product's prompt: texts, images, calls of tools and their results, in the shapes of OpenAI's
Chat Completions and Responses, and of LangChain. Pure.

What a message has and cannot be read refuses the prompt: without it, it would be another prompt.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from core.errors import Problem
from core.messages import IMAGE, TEXT
from registry.interop.importers.text import UNREADABLE

TEXT_PARTS = ("text", "input_text", "output_text")
IMAGE_PARTS = ("image_url", "input_image", "image")
MESSAGE_TYPES = ("message", "chatmessage")
# Members of the older form of calls, and of answers that are no messages.
UNKNOWN_MEMBERS = ("function_call", "audio", "refusal")

Write = Callable[[str], str]


def read_message(item: Mapping[str, Any], write: Write) -> dict[str, Any]:
    """Read one message; `write` turns a text of theirs into a template. Raises `exchange.unreadable`."""
    kind = item.get("type") or "message"
    if kind == "function_call":
        calls = [_call(item, write)]
        return {"role": "assistant", "tool_calls": calls}
    if kind == "function_call_output":
        output = _content(item.get("output"), write)
        return {"role": "tool", "tool_call_id": _text(item.get("call_id")), "content": output}
    if kind not in MESSAGE_TYPES:
        raise Problem(UNREADABLE, f"A message of the kind {str(kind)[:60]!r} is not supported in prompts.")
    if unknown := next((name for name in UNKNOWN_MEMBERS if item.get(name)), None):
        raise Problem(UNREADABLE, f"A message has {unknown}; prompts here have text, images and calls of tools.")
    message: dict[str, Any] = {"role": _text(item.get("role")) or "user"}
    calls = item.get("tool_calls") or []
    if not isinstance(calls, list):
        raise Problem(UNREADABLE, "The tool_calls of a message are no list.")
    if item.get("content") not in (None, "", []) or not calls:
        message["content"] = _content(item.get("content"), write)
    if calls:
        message["tool_calls"] = [_call(call, write) for call in calls]
    if item.get("tool_call_id"):
        message["tool_call_id"] = _text(item["tool_call_id"])
    return message


def join_calls(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Join the calls that follow each other, which Responses write as an item each: they are one message."""
    joined: list[dict[str, Any]] = []
    for message in messages:
        before = joined[-1] if joined else {}
        if message.keys() == before.keys() == {"role", "tool_calls"}:
            joined[-1] = {**before, "tool_calls": [*before["tool_calls"], *message["tool_calls"]]}
        else:
            joined.append(message)
    return joined


def _content(content: object, write: Write) -> Any:
    if isinstance(content, str):
        return write(content)
    parts = [_part(part, write) for part in (content if isinstance(content, list) else [content])]
    # A brace at the end of one would open a variable with that of the next.
    if all(part["type"] == TEXT and not part["text"].endswith("{") for part in parts):
        return "".join(part["text"] for part in parts)
    return parts


def _part(part: object, write: Write) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, Mapping) else part
    if isinstance(part, Mapping) and kind in TEXT_PARTS:
        return {"type": TEXT, "text": write(_text(part.get("text")))}
    if isinstance(part, Mapping) and kind in IMAGE_PARTS:
        image = part.get(IMAGE, part.get("url"))
        address = image.get("url") if isinstance(image, Mapping) else image
        detail = image.get("detail") if isinstance(image, Mapping) else part.get("detail")
        if isinstance(address, str) and address:
            return {"type": IMAGE, IMAGE: {"url": write(address), **({"detail": detail} if detail else {})}}
    raise Problem(UNREADABLE, f"A message has a part of the kind {str(kind)[:60]!r}; prompts here are text and images.")


def _call(call: object, write: Write) -> dict[str, Any]:
    """Read a call of a tool: Chat Completions' (`function`), Responses' (`call_id`) or LangChain's (`args`)."""
    if not isinstance(call, Mapping):
        raise Problem(UNREADABLE, "A call of a tool is no object.")
    function = call["function"] if isinstance(call.get("function"), Mapping) else call
    arguments = function.get("arguments", function.get("args"))
    if not isinstance(arguments, str) or not arguments.strip():
        arguments = json.dumps(arguments or {}, ensure_ascii=False) if not isinstance(arguments, str) else "{}"
    name = _text(function.get("name"))
    if not name:
        raise Problem(UNREADABLE, "A call of a tool has no name.")
    call_id = _text(call.get("call_id")) or _text(call.get("id"))
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": write(arguments)}}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
