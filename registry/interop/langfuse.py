"""Versions in the form of Langfuse's public API, so that its clients can read from here unchanged. Pure.

Their clients fill `{{ name }}` and nothing else (registry.interop.plain_templates).
"""

from collections.abc import Mapping
from typing import Any

from core.messages import message_templates, write_message
from core.rendering import response_format
from registry.interop.plain_templates import Client, Content, plain_text

LANGFUSE = Client("Langfuse's client", "langfuse.needs_rendering")


def langfuse_prompt(content: Content, partials: Mapping[str, Content]) -> dict[str, Any]:
    """Return `type`, `prompt` and `config` of a version; `partials` has all that it includes, by hash.

    Raises `langfuse.needs_rendering` where a template has more than plain variables and partials.
    """
    if "retrieval" in content:
        raise LANGFUSE.refusal("retrieval", "The version searches a collection, which Langfuse's client cannot do")
    if content["kind"] == "text":
        return {
            "type": "text",
            "prompt": plain_text(LANGFUSE, content["text"], content, partials),
            "config": _config(content),
        }
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
    return write_message(
        message, "", lambda pointer: plain_text(LANGFUSE, sources[pointer], content, partials), is_checked=False
    )


def _config(content: Content) -> dict[str, Any]:
    """Return settings as a model's client takes them."""
    settings = {("model" if name == "name" else name): value for name, value in content.get("model", {}).items()}
    if "response" in content:
        settings["response_format"] = response_format(content["response"])
    if "tools" in content:
        settings["tools"] = content["tools"]
    return settings
