"""A case of an OpenAI training line: the last question, and the answer to it. Pure.

Where the conversation has more than one question (earlier turns, images, calls of tools and their results), it is the
variable `messages`, for a placeholder of that name. Instructions are the prompt's own, and no part of a case.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from core.messages import images_of, text_of

INSTRUCTING_ROLES = ("system", "developer")
# What becomes of messages that are not in the case.
REST = "messages (instructions, and what follows the last answer)"


def read_case(messages: Sequence[Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the case's variables and expected output, and the names of what is not in them."""
    dialogue = [message for message in messages if isinstance(message, dict)]
    answers = [index for index, message in enumerate(dialogue) if message.get("role") == "assistant"]
    before = [
        message
        for message in dialogue[: answers[-1] if answers else None]
        if message.get("role") not in INSTRUCTING_ROLES
    ]
    questions = [message for message in before if message.get("role") == "user"]
    variables: dict[str, Any] = {"input": text_of(questions[-1])} if questions else {}
    if len(before) > 1 or images_of(before[0] if before else {}):
        variables["messages"] = [_as_read(message) for message in before]
    case: dict[str, Any] = {"variables": variables}
    if answers:
        case["expected"] = _expected(dialogue[answers[-1]])
    taken = len(before) + (1 if answers else 0)
    return case, [REST] if len(messages) > taken else []


def _as_read(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message without what only training reads."""
    return {name: value for name, value in message.items() if name != "weight" and value is not None}


def _expected(message: Mapping[str, Any]) -> Any:
    """Return an answer: its text, as JSON where it is an object, or the tools that it calls."""
    calls = message.get("tool_calls")
    if not isinstance(calls, list) or not calls:
        return None if message.get("content") is None else _parsed(text_of(message))
    functions = [call.get("function") for call in calls if isinstance(call, Mapping)]
    return {
        "tool_calls": [
            {**function, "arguments": _parsed(function.get("arguments"))}
            for function in functions
            if isinstance(function, Mapping)
        ]
    }


def _parsed(value: Any) -> Any:
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value
