"""The checks of a content's messages, and their normal form: texts or parts, tool calls and their results. Pure.

A list of one text part is that text, the detail `auto` of an image is left out, and so is an empty text beside calls.
"""

import re
from typing import Any

from core.image_data import UPLOADED
from core.messages import (
    CALL_ID,
    FUNCTION_NAME,
    IMAGE,
    IMAGE_ADDRESS,
    IMAGE_DETAILS,
    PLACEHOLDER,
    ROLES,
    TEXT,
    is_json_object,
    unmatched_calls,
)
from registry.content.checker import Checker, is_variable_name

MAX_MESSAGES = 200
MAX_PARTS = 50
MAX_CALLS = 128
# An image in the prompt itself: 384 KiB of data, written in base64.
MAX_IMAGE_CHARACTERS = 512 * 1024
TEMPLATE_CODE = re.compile(r"\{[{%#]")


class MessageChecker(Checker):
    """Checks a list of messages."""

    def messages(self, value: Any, pointer: str) -> Any:
        if not isinstance(value, list):
            self.fault(pointer, "type", "Must be a list of messages.")
            return None
        if not 1 <= len(value) <= MAX_MESSAGES:
            self.fault(pointer, "count", f"Must have 1 to {MAX_MESSAGES} messages.")
        before = len(self.faults)
        messages = [self._message(message, f"{pointer}/{index}") for index, message in enumerate(value)]
        if len(self.faults) == before:
            self._check_order(messages, pointer)
        return messages

    def _check_order(self, messages: list[dict[str, Any]], pointer: str) -> None:
        """Check what providers refuse: results without a call, and calls without a result."""
        for position, kind, call_id in unmatched_calls(messages):
            if kind == "orphan":
                sentence = f"No message before this one calls {call_id}: a result follows its call."
                self.fault(f"{pointer}/{position}/tool_call_id", "orphan", sentence)
            else:
                sentence = f"The call {call_id} has no result: a message of the role tool follows, with its id."
                self.fault(f"{pointer}/{position}/tool_calls", "unanswered", sentence)
        if messages and messages[-1].get("tool_calls"):
            sentence = "The last message calls a tool: its results have to follow, or nothing can be asked."
            self.fault(f"{pointer}/{len(messages) - 1}/tool_calls", "unanswered", sentence)

    def _message(self, value: Any, pointer: str) -> dict[str, Any]:
        role = value.get("role") if isinstance(value, dict) else None
        if role == PLACEHOLDER:
            message = self.members(value, pointer, frozenset({"role", "name"}))
            if not is_variable_name(message.get("name")):
                self.fault(f"{pointer}/name", "name", "A placeholder needs a name like a variable's.")
            return message
        own = {"assistant": {"tool_calls"}, "tool": {"tool_call_id"}}.get(str(role), set())
        message = self.members(value, pointer, frozenset({"role", "content", *own}))
        self.choice(message.get("role"), f"{pointer}/role", (*ROLES, PLACEHOLDER))
        if message.get("tool_calls") == []:
            del message["tool_calls"]
        if "tool_calls" in message:
            message["tool_calls"] = self._calls(message["tool_calls"], f"{pointer}/tool_calls")
        if role == "tool":
            self._call_id(message.get("tool_call_id"), f"{pointer}/tool_call_id")
        if "tool_calls" in message and message.get("content") == []:
            del message["content"]
        if "content" in message or "tool_calls" not in message:
            message["content"] = self._content(message.get("content"), f"{pointer}/content", role)
        if "tool_calls" in message and message.get("content") == "":
            del message["content"]
        return message

    def _content(self, value: Any, pointer: str, role: object) -> Any:
        if not isinstance(value, list):
            return self.template(value, pointer)
        if not 1 <= len(value) <= MAX_PARTS:
            self.fault(pointer, "count", f"Must have 1 to {MAX_PARTS} parts.")
        parts = [self._part(part, f"{pointer}/{index}", role) for index, part in enumerate(value)]
        return parts[0]["text"] if len(parts) == 1 and parts[0].get("type") == TEXT and "text" in parts[0] else parts

    def _part(self, value: Any, pointer: str, role: object) -> dict[str, Any]:
        kind = value.get("type") if isinstance(value, dict) else None
        if kind == TEXT:
            part = self.members(value, pointer, frozenset({"type", "text"}))
            self.template(part.get("text"), f"{pointer}/text")
            return part
        if kind != IMAGE:
            self.fault(f"{pointer}/type", "choice", f"A part is {TEXT} or {IMAGE}; this is {str(kind)[:60]!r}.")
            return {}
        if role != "user":
            self.fault(pointer, "role", "Only messages of the user have images.")
        part = self.members(value, pointer, frozenset({"type", IMAGE}))
        image = self.members(part.get(IMAGE), f"{pointer}/{IMAGE}", frozenset({"url", "detail"}))
        image["url"] = self._address(image.get("url"), f"{pointer}/{IMAGE}/url")
        self.choice(image.get("detail", "auto"), f"{pointer}/{IMAGE}/detail", IMAGE_DETAILS)
        if image.get("detail") == "auto":
            del image["detail"]
        return {**part, IMAGE: image}

    def _address(self, value: Any, pointer: str) -> Any:
        """Check the address of an image, and return it without white space around it."""
        address = self.template(value, pointer, MAX_IMAGE_CHARACTERS)
        if address is None:
            return None
        address = address.strip()
        if UPLOADED.fullmatch(address):
            sentence = "An uploaded image is a variable's value; a prompt's own is in it as data, and so in its hash."
            self.fault(pointer, "address", sentence)
        elif "\n" in address or not (TEMPLATE_CODE.search(address) or IMAGE_ADDRESS.fullmatch(address)):
            sentence = "Must be https://…, http://…, data:image/png;base64,… or a variable such as {{ screenshot }}."
            self.fault(pointer, "address", sentence)
        return address

    def _calls(self, value: Any, pointer: str) -> Any:
        if not isinstance(value, list) or len(value) > MAX_CALLS:
            self.fault(pointer, "type", f"Must be a list of at most {MAX_CALLS} calls.")
            return None
        calls = [self._call(call, f"{pointer}/{index}") for index, call in enumerate(value)]
        ids = [call.get("id") for call in calls]
        for index, call_id in enumerate(ids):
            if isinstance(call_id, str) and call_id in ids[:index]:
                self.fault(f"{pointer}/{index}/id", "repeated", f"Two calls have the id {call_id}.")
        return calls

    def _call(self, value: Any, pointer: str) -> dict[str, Any]:
        call = self.members(value, pointer, frozenset({"id", "type", "function"}))
        self._call_id(call.get("id"), f"{pointer}/id")
        self.choice(call.get("type", "function"), f"{pointer}/type", ("function",))
        function = self.members(call.get("function"), f"{pointer}/function", frozenset({"name", "arguments"}))
        name = function.get("name")
        if not isinstance(name, str) or not FUNCTION_NAME.fullmatch(name):
            self.fault(f"{pointer}/function/name", "name", "Must be 1 to 64 letters, digits, _ or -.")
        arguments = self.template(function.get("arguments"), f"{pointer}/function/arguments")
        if arguments is not None and not TEMPLATE_CODE.search(arguments) and not is_json_object(arguments):
            sentence = 'Must be a JSON object, written as text: {"city": "Paris"}.'
            self.fault(f"{pointer}/function/arguments", "json", sentence)
        return {**call, "type": "function", "function": function}

    def _call_id(self, value: Any, pointer: str) -> None:
        if not isinstance(value, str) or not CALL_ID.fullmatch(value):
            self.fault(pointer, "id", "Must be the id of a call: 1 to 128 letters, digits or any of _ . : / -.")
