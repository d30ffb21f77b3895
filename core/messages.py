"""The messages of a chat: text or parts (texts and images), calls of tools and their results, written as the OpenAI
protocol writes them. Pure: server and client share it.

In a version's content every text, address and argument is a template; in a rendered request it is what it says.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from .errors import Problem
from .image_data import UPLOADED
from .json_values import read_strict_json

ROLES = ("system", "developer", "user", "assistant", "tool")
PLACEHOLDER = "placeholder"
TEXT, IMAGE = "text", "image_url"
IMAGE_DETAILS = ("auto", "low", "high")
IMAGE_ADDRESS = re.compile(r"https?://\S+|data:image/[a-z0-9.+-]{1,40};base64,[A-Za-z0-9+/]+={0,2}")
# What reads as the heading of a section; a line of a text that looks so has a backslash in front.
LOOKS_LIKE_MARKER = re.compile(r"\\*=== .* ===")
FIRST_VARIABLE = re.compile(r"\s*\{\{-?\s*([^\W\d]\w*)")
CALL_ID = re.compile(r"[A-Za-z0-9_.:/-]{1,128}")
FUNCTION_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
# Members that a message of a caller may have, such as those of a conversation that a service has stored.
MESSAGE_MEMBERS = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "refusal"})
# From this length on, the data of an image is shown by its size and digest.
MAX_SHOWN_DATA = 80

Message = Mapping[str, Any]


def message_templates(message: Message, pointer: str) -> Iterator[tuple[str, str]]:
    """Yield every template of a message with its JSON pointer, in the order in which a model reads them."""
    content = message.get("content")
    if isinstance(content, str):
        yield f"{pointer}/content", content
    for index, part in enumerate(content if isinstance(content, list) else ()):
        where = f"{pointer}/content/{index}"
        yield (f"{where}/text", part["text"]) if part["type"] == TEXT else (f"{where}/image_url/url", address_of(part))
    for index, call in enumerate(message.get("tool_calls", ())):
        yield f"{pointer}/tool_calls/{index}/function/arguments", call["function"]["arguments"]


def text_templates(message: Message, pointer: str) -> Iterator[tuple[str, str]]:
    """Yield the texts of a message with their pointers: no addresses of images, no arguments of tools."""
    for where, template in message_templates(message, pointer):
        if where.endswith(("/content", "/text")):
            yield where, template


def text_of(message: Message) -> str:
    """Return a message's text: of several parts, the texts among them, one after the other."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))
    return str(content or "")


def address_of(part: Mapping[str, Any]) -> str:
    """Return the address of a part that is an image."""
    return str(part["image_url"]["url"])


def is_image_address(address: str) -> bool:
    """Return whether a rendered address is one of an image: of another host, data, or of one that was uploaded."""
    return bool(IMAGE_ADDRESS.fullmatch(address) or UPLOADED.fullmatch(address))


def images_of(message: Message) -> list[Mapping[str, Any]]:
    """Return the parts of a message that are images."""
    content = message.get("content")
    parts = content if isinstance(content, list) else ()
    return [part for part in parts if isinstance(part, Mapping) and part.get("type") == IMAGE]


def image_variables(messages: Sequence[Message]) -> set[str]:
    """Return the names of variables that are the address of an image, or its beginning."""
    addresses = (address_of(part) for message in messages for part in images_of(message))
    return {match[1] for address in addresses if (match := FIRST_VARIABLE.match(address))}


def write_message(
    message: Message, pointer: str, write: Callable[[str], str], *, is_checked: bool = True
) -> dict[str, Any]:
    """Return a message of a content as a model gets it; `write` renders the template at a pointer.

    A text among several parts that is empty once it is rendered is left out, and so is an image without an address: a
    variable decides whether there is one. Raises `render.invalid_message` where a provider would refuse what came out,
    unless what comes out is a template itself (not `is_checked`).
    """
    written: dict[str, Any] = {"role": message["role"]}
    content = message.get("content")
    if isinstance(content, list):
        parts = [
            _write_part(part, f"{pointer}/content/{index}", write, is_checked) for index, part in enumerate(content)
        ]
        written["content"] = [part for part in parts if part is not None] or ""
    elif content is not None:
        written["content"] = write(f"{pointer}/content")
    if "tool_calls" in message:
        written["tool_calls"] = [
            _write_call(call, f"{pointer}/tool_calls/{index}/function/arguments", write, is_checked)
            for index, call in enumerate(message["tool_calls"])
        ]
    if "tool_call_id" in message:
        written["tool_call_id"] = message["tool_call_id"]
    return written


def _write_part(
    part: Mapping[str, Any], pointer: str, write: Callable[[str], str], is_checked: bool
) -> dict[str, Any] | None:
    if part["type"] == TEXT:
        text = write(f"{pointer}/text")
        return {"type": TEXT, "text": text} if text else None
    where = f"{pointer}/image_url/url"
    address = write(where).strip()
    if not address:
        return None
    if is_checked and not is_image_address(address):
        sentence = (
            f"An image is https://…, http://…, data:image/…;base64,… or an uploaded one; this is {address[:60]!r}."
        )
        raise Problem("render.invalid_message", sentence, pointer=where)
    return {"type": IMAGE, "image_url": {**part["image_url"], "url": address}}


def _write_call(call: Mapping[str, Any], pointer: str, write: Callable[[str], str], is_checked: bool) -> dict[str, Any]:
    arguments = write(pointer)
    if is_checked and not is_json_object(arguments):
        name = call["function"]["name"]
        sentence = (
            f"The arguments of {name} are no JSON object: {arguments[:60]!r}. Write values as {{{{ x | tojson }}}}."
        )
        raise Problem("render.invalid_message", sentence, pointer=pointer)
    return {**call, "function": {**call["function"], "arguments": arguments}}


def is_json_object(text: object) -> bool:
    """Return whether a text is one JSON object, as the arguments of a call are, that can be written again: without
    halves of characters, numbers that no float holds, and what read_strict_json refuses."""
    try:
        value = read_strict_json(text if isinstance(text, str) else "")
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict)


def without_empty(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message without its members that are null or empty lists, which SDKs write for what there is not."""
    return {name: value for name, value in message.items() if value is not None and value != []}


def is_message(value: object) -> bool:
    """Return whether a value is a message as callers pass them for a placeholder; null members and empty lists count as
    absent."""
    if not isinstance(value, dict):
        return False
    value = without_empty(value)
    if not value.keys() <= MESSAGE_MEMBERS or value.get("role") not in ROLES:
        return False
    if not all(isinstance(value.get(name), str | None) for name in ("name", "tool_call_id", "refusal")):
        return False
    if (value.get("tool_call_id") is not None) != (value["role"] == "tool"):
        return False
    content, calls = value.get("content"), value.get("tool_calls")
    if calls is not None and (value["role"] != "assistant" or not _is_list_of(_is_call, calls)):
        return False
    if content is None:
        return bool(calls) or bool(value.get("refusal"))
    return isinstance(content, str) or _is_list_of(_is_part, content)


def _is_list_of(is_item: Callable[[object], bool], value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(map(is_item, value))


def _is_part(part: object) -> bool:
    if not isinstance(part, dict):
        return False
    if part.get("type") == IMAGE:
        image = part.get(IMAGE)
        if not isinstance(image, dict) or not isinstance(image.get("detail"), str | None):
            return False
        return image.get("detail") in (None, *IMAGE_DETAILS) and is_image_address(str(image.get("url")))
    return part.get("type") == TEXT and isinstance(part.get("text"), str)


def _is_call(call: object) -> bool:
    if not isinstance(call, dict) or call.get("type") != "function" or not isinstance(call.get("id"), str):
        return False
    function = call.get("function")
    return isinstance(function, dict) and all(isinstance(function.get(name), str) for name in ("name", "arguments"))


def unmatched_calls(messages: Sequence[Message]) -> Iterator[tuple[int, str, str]]:
    """Yield (position, `orphan` or `unanswered`, id) of results that nobody called and calls without a result, which
    providers refuse: each call is answered before anybody goes on. The last message may be a call.

    A placeholder stands for messages that are not known here: it may hold what is missing on either side.
    """
    open_calls: dict[str, int] = {}
    is_known = True
    for position, message in enumerate(messages):
        role = message.get("role")
        if role == PLACEHOLDER:
            open_calls, is_known = {}, False
            continue
        if role == "tool":
            call_id = str(message.get("tool_call_id"))
            if open_calls.pop(call_id, None) is None and is_known:
                yield position, "orphan", call_id
            continue
        yield from ((where, "unanswered", call_id) for call_id, where in open_calls.items())
        calls = message.get("tool_calls")
        open_calls, is_known = {}, True
        for call in calls if isinstance(calls, list) else ():
            if isinstance(call, Mapping):
                open_calls[str(call.get("id"))] = position
    if messages and messages[-1].get("role") == "tool":
        yield from ((where, "unanswered", call_id) for call_id, where in open_calls.items())


def sections(message: Message) -> Iterator[tuple[str, str]]:
    """Yield (heading, text) of what a message consists of: `text`, `image` (with its detail), `call NAME ID`.

    The form in which files and differences write messages that are more than a text; a plain text has one section.
    """
    content = message.get("content")
    if isinstance(content, str):
        yield TEXT, content
    for part in content if isinstance(content, list) else ():
        if part.get("type") == TEXT:
            yield TEXT, str(part.get("text", ""))
        else:
            detail = part["image_url"].get("detail")
            yield f"image {detail}" if detail else "image", address_of(part)
    for call in message.get("tool_calls") or ():
        yield f"call {call['function']['name']} {call['id']}", call["function"]["arguments"]


def as_text(message: Message) -> str:
    """Return a message as one text for readers: a plain text as it is, anything else by its sections, the data of
    images by its size and digest."""
    if message.get("role") == PLACEHOLDER:
        return str(message.get("name", ""))
    content = message.get("content")
    lines = [f"=== tool {message['tool_call_id']} ==="] if message.get("tool_call_id") else []
    if isinstance(content, str) and not message.get("tool_calls"):
        return "\n".join([*lines, escape_markers(content)])
    for heading, text in sections(message):
        is_plain = heading == TEXT and isinstance(content, str)
        readable = readable_address(text) if heading.startswith("image") else escape_markers(text)
        lines += [readable] if is_plain else [f"=== {heading} ===", readable]
    return "\n".join(lines)


def escape_markers(text: str) -> str:
    """Put a backslash before each line that looks like the heading of a section."""
    if "===" not in text:
        return text
    return "\n".join(f"\\{line}" if LOOKS_LIKE_MARKER.fullmatch(line) else line for line in text.split("\n"))


def readable_address(address: str) -> str:
    """Return an image's address for readers: long data by its kind, size and digest."""
    head, comma, data = address.partition(",")
    if not address.startswith("data:") or not comma or len(address) <= MAX_SHOWN_DATA or "{" in address:
        return address
    digest = hashlib.sha256(data.encode()).hexdigest()[:12]
    return f"{head},… ({len(data) * 3 // 4:,} bytes, sha256 {digest}…)"
