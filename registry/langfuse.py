"""A version as Langfuse's public API delivers prompts, so that its clients can read from here unchanged. Pure.

Their clients fill `{{ name }}` and nothing else: partials are written into the text, and a template that needs more is
refused in words, because a condition or filter sent as it stands would reach the model as text.
"""

import re
from collections.abc import Mapping
from typing import Any

from registry.content import partial_source
from registry.problems import Problem
from registry.rendering import response_format

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
    text = _inlined(source, content, partials)
    for part in PART.findall(text):
        if not PLAIN_VARIABLE.fullmatch(part):
            sentence = f"{part[:60]} is more than Langfuse's client can fill in; ask /api/v1/.../render instead."
            raise Problem("langfuse.needs_rendering", sentence, part=part[:200])
    return text


def _inlined(source: str, content: Content, partials: Mapping[str, Content]) -> str:
    """The text with its partials' texts in place, and theirs in them."""
    pins = content.get("includes", {})

    written: list[str] = []
    end, strips_next = 0, False
    for match in INCLUDE.finditer(source):
        before = source[end : match.start()]
        # `-%}` takes the white space after a tag away, `{%-` that before it.
        before = before.lstrip() if strips_next else before
        written.append(before.rstrip() if match[1] == "-" else before)
        partial = partials[pins[match[2] or match[3]]]
        written.append(_inlined(partial_source(partial) or "", partial, partials))
        strips_next, end = match[4] == "-", match.end()
    rest = source[end:]
    return "".join([*written, rest.lstrip() if strips_next else rest])
