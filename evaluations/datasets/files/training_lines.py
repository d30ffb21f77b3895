"""A case of an OpenAI training line: the last question, and the answer to it. Pure.

Where the conversation has more than one question (earlier turns, images, calls of tools and their results), it is the
variable `messages`, for a placeholder of that name. Instructions are the prompt's own, and no part of a case.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from core.messages import is_message, text_of, without_empty

INSTRUCTING_ROLES = ("system", "developer")
# What becomes of messages that are not in the case.
REST = "messages (instructions, and what follows the last answer)"
UNREADABLE = "messages (what prompts have not: sound, files, older forms of calls)"
ANSWER = "messages (of the answer: {})"


def read_case(messages: Sequence[Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the case's variables and expected output, and the names of what is not in them."""
    dialogue = [message for message in messages if isinstance(message, dict)]
    answers = [index for index, message in enumerate(dialogue) if message.get("role") == "assistant"]
    before = [
        _as_read(message)
        for message in dialogue[: answers[-1] if answers else None]
        if message.get("role") not in INSTRUCTING_ROLES
    ]
    left_out = [REST] if len(messages) > len(before) + (1 if answers else 0) else []
    questions = [message for message in before if message.get("role") == "user"]
    variables: dict[str, Any] = {"input": _text(questions[-1])} if questions else {}
    if any(not _is_plain_question(message) for message in before) or len(before) > 1:
        if all(map(is_message, before)):
            variables["messages"] = before
        else:
            left_out.append(UNREADABLE)
    case: dict[str, Any] = {"variables": variables}
    if answers:
        case["expected"], dropped = _expected(_as_read(dialogue[answers[-1]]))
        left_out += [ANSWER.format(", ".join(dropped))] if dropped else []
    return case, left_out


def _as_read(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message without what only training reads."""
    return without_empty({name: value for name, value in message.items() if name != "weight"})


def _is_plain_question(message: Mapping[str, Any]) -> bool:
    return message.keys() == {"role", "content"} and message["role"] == "user" and isinstance(message["content"], str)


def _text(message: Mapping[str, Any]) -> Any:
    """Return a message's text; a content that is neither text nor parts is a value as it is."""
    content = message.get("content")
    return text_of(message) if content is None or isinstance(content, str | list) else content


def _expected(message: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """Return an answer, and the names of what is not in it: its text, as JSON where it is an object, or the tools that
    it calls, with the text beside them."""
    content, calls = message.get("content"), message.get("tool_calls")
    dropped = sorted(message.keys() - {"role", "content", "tool_calls", "name"})
    parts = content if isinstance(content, list) else []
    dropped += ["parts that are no text"] if any(not _is_text_part(part) for part in parts) else []
    text = _parsed(_text(message)) if content is not None else None
    if not isinstance(calls, list):
        return text, dropped
    functions = [call.get("function") for call in calls if isinstance(call, Mapping)]
    called = [
        {**function, "arguments": _parsed(function.get("arguments") or "{}")}
        for function in functions
        if isinstance(function, Mapping)
    ]
    return {**({"content": text} if text else {}), "tool_calls": called}, dropped


def _is_text_part(part: Any) -> bool:
    return isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str)


def _parsed(value: Any) -> Any:
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value
