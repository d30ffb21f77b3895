"""A version as Langfuse's public API delivers prompts, so that its clients can read from here unchanged. Pure.

Their clients fill `{{ name }}` and nothing else: partials are written into the text, and a template that needs more is
refused in words, because a condition or filter sent as it stands would reach the model as text.
"""

import re
from collections.abc import Mapping
from typing import Any

from core.content import partial_source
from core.errors import Problem
from core.rendering import MAX_OUTPUT_CHARACTERS, response_format

Content = Mapping[str, Any]
INCLUDE = re.compile(r"""\{%([-+]?)\s*include\s+(?:'([^'%]+)'|"([^"%]+)")\s*([-+]?)%\}""")
# What is opened and not closed goes to the end, so that no text takes quadratic time.
PART = re.compile(r"\{\{.*?(?:\}\}|\Z)|\{%.*?(?:%\}|\Z)|\{#.*?(?:#\}|\Z)", re.DOTALL)
PLAIN_VARIABLE = re.compile(r"\{\{\s*[A-Za-z][A-Za-z0-9_]*\s*\}\}")


def prompt(content: Content, partials: Mapping[str, Content]) -> dict[str, Any]:
    """`type`, `prompt` and `config` of a version; `partials` has all that it includes, by hash.

    Raises `langfuse.needs_rendering` where a template has more than plain variables and partials.
    """
    if content["kind"] == "text":
        return {"type": "text", "prompt": _text(content["text"], content, partials), "config": _config(content)}
    messages = [
        {"type": "placeholder", "name": message["name"]}
        if message["role"] == "placeholder"
        else {"type": "chatmessage", "role": message["role"], "content": _text(message["content"], content, partials)}
        for message in content["messages"]
    ]
    return {"type": "chat", "prompt": messages, "config": _config(content)}


def _config(content: Content) -> dict[str, Any]:
    """Settings as one passes them to a model's client."""
    settings = {("model" if name == "name" else name): value for name, value in content.get("model", {}).items()}
    if "response" in content:
        settings["response_format"] = response_format(content["response"])
    if "tools" in content:
        settings["tools"] = content["tools"]
    return settings


def _text(source: str, content: Content, partials: Mapping[str, Content]) -> str:
    text = _inlined(source, content, partials, {})
    for part in PART.findall(text):
        if not PLAIN_VARIABLE.fullmatch(part):
            sentence = f"{part[:60]} is more than Langfuse's client can fill in; ask /api/v1/.../render instead."
            raise Problem("langfuse.needs_rendering", sentence, part=part[:200])
    return text


def _inlined(source: str, content: Content, partials: Mapping[str, Content], known: dict[str, str]) -> str:
    """The text with its partials' texts in place, and theirs in them; `known` has those that are written already.

    A few partials that each include the next one often would unfold to more than any memory.
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
            # It looks like a tag and is none, such as in a comment.
            raise Problem("langfuse.needs_rendering", f"{match[0][:60]} includes nothing.", part=match[0][:200])
        if pinned not in known:
            partial = partials[pinned]
            known[pinned] = _inlined(partial_source(partial) or "", partial, partials, known)
        written.append(known[pinned])
        size += len(before) + len(known[pinned])
        if size > MAX_OUTPUT_CHARACTERS:
            sentence = f"With its partials the text has more than {MAX_OUTPUT_CHARACTERS:,} characters."
            raise Problem("template.too_expensive", sentence)
        strips_next, end = match[4] == "-", match.end()
    rest = source[end:]
    return "".join([*written, rest.lstrip() if strips_next else rest])
