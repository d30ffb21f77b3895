"""Versions in the form of Langfuse's public API, so that its clients can read from here unchanged. Pure.

Their clients fill `{{ name }}` and nothing else: partials are written into the text, and a template that needs more is
refused in words, because a condition or filter sent as it stands would reach the model as text.
"""

import re
from collections.abc import Mapping
from typing import Any

from core.content import partial_source
from core.errors import Problem
from core.messages import message_templates, write_message
from core.rendering import MAX_OUTPUT_CHARACTERS, response_format

Content = Mapping[str, Any]
INCLUDE = re.compile(r"""\{%([-+]?)\s*include\s+(?:'([^'%]+)'|"([^"%]+)")\s*([-+]?)%\}""")
# A tag that is not closed matches to the end, so that no text takes quadratic time.
PART = re.compile(r"\{\{.*?(?:\}\}|\Z)|\{%.*?(?:%\}|\Z)|\{#.*?(?:#\}|\Z)", re.DOTALL)
PLAIN_VARIABLE = re.compile(r"\{\{\s*[^\W\d_]\w*\s*\}\}")


def langfuse_prompt(content: Content, partials: Mapping[str, Content]) -> dict[str, Any]:
    """Return `type`, `prompt` and `config` of a version; `partials` has all that it includes, by hash.

    Raises `langfuse.needs_rendering` where a template has more than plain variables and partials.
    """
    if content["kind"] == "text":
        return {"type": "text", "prompt": _text(content["text"], content, partials), "config": _config(content)}
    messages = [
        {"type": "placeholder", "name": message["name"]}
        if message["role"] == "placeholder"
        else {"type": "chatmessage", "content": None, **_message(message, content, partials)}
        for message in content["messages"]
    ]
    return {"type": "chat", "prompt": messages, "config": _config(content)}


def _message(message: Mapping[str, Any], content: Content, partials: Mapping[str, Content]) -> dict[str, Any]:
    sources = dict(message_templates(message, ""))
    # Their client fills in texts only; a call has no text, and they write null for it.
    return write_message(message, "", lambda pointer: _text(sources[pointer], content, partials), is_checked=False)


def _config(content: Content) -> dict[str, Any]:
    """Return settings as a model's client takes them."""
    settings = {("model" if name == "name" else name): value for name, value in content.get("model", {}).items()}
    if "response" in content:
        settings["response_format"] = response_format(content["response"])
    if "tools" in content:
        settings["tools"] = content["tools"]
    return settings


def _text(source: str, content: Content, partials: Mapping[str, Content]) -> str:
    text = _inline_partials(source, content, partials, {})
    for part in PART.findall(text):
        if not PLAIN_VARIABLE.fullmatch(part):
            sentence = f"{part[:60]} is more than Langfuse's client can fill in; ask /api/v1/.../render instead."
            raise Problem("langfuse.needs_rendering", sentence, part=part[:200])
    return text


def _inline_partials(source: str, content: Content, partials: Mapping[str, Content], inlined: dict[str, str]) -> str:
    """Return the text with its partials inlined, recursively; `inlined` caches the partials' texts.

    A few partials that each include the next one many times would expand to more than any memory.
    """
    pins = content.get("includes", {})
    written: list[str] = []
    size = 0
    end, strips_next = 0, False
    for match in INCLUDE.finditer(source):
        before = source[end : match.start()]
        # `-%}` takes the white space after a tag away, `{%-` that before it.
        before = before.lstrip() if strips_next else before
        written.append(before.rstrip() if match[1] == "-" else before)
        pinned = pins.get(match[2] or match[3])
        if pinned is None:
            # It looks like a tag but is none, such as in a comment.
            raise Problem("langfuse.needs_rendering", f"{match[0][:60]} includes nothing.", part=match[0][:200])
        if pinned not in inlined:
            partial = partials[pinned]
            inlined[pinned] = _inline_partials(partial_source(partial) or "", partial, partials, inlined)
        written.append(inlined[pinned])
        size += len(before) + len(inlined[pinned])
        if size > MAX_OUTPUT_CHARACTERS:
            sentence = f"With its partials the text has more than {MAX_OUTPUT_CHARACTERS:,} characters."
            raise Problem("template.too_expensive", sentence)
        strips_next, end = match[4] == "-", match.end()
    rest = source[end:]
    return "".join([*written, rest.lstrip() if strips_next else rest])
