"""The normal form of a version's content (registry.content.normalize). Pure: server and client share it."""

from collections.abc import Mapping
from typing import Any

from .messages import message_templates, text_templates

EXAMPLES_PLACEHOLDER = "examples"
IMAGE_DATA = "data:image/"
EXAMPLES_QUERY, RETRIEVAL_QUERY = "/examples/query", "/retrieval/query"
KINDS = ("chat", "text")
# A member that no content can have; the editor uses it in drafts only.
ASIDE = "(aside)"
VARIABLE_TYPES = ("string", "integer", "number", "boolean", "array", "object")
RESPONSE_FORMATS = ("text", "json_object", "json_schema")
SELECTIONS = ("fixed", "first", "similar", "balanced")
DEFAULTS: dict[str, dict[str, Any]] = {
    "response": {"format": "text", "name": "response", "strict": False},
    "variable": {"type": "string", "required": True},
    "examples": {"select": "fixed"},
    "retrieval": {"k": 5, "min_score": 0, "neighbours": 0},
    "function": {"strict": False},
}


def templates(content: Mapping[str, Any]) -> dict[str, str]:
    """Return every template in a content document, by its JSON pointer."""
    sources = {
        pointer: template
        for index, message in enumerate(content.get("messages", ()))
        for pointer, template in message_templates(message, f"/messages/{index}")
    }
    if "text" in content:
        sources["/text"] = content["text"]
    for pointer in (EXAMPLES_QUERY, RETRIEVAL_QUERY):
        query = content.get(pointer.split("/")[1], {}).get("query")
        if query is not None:
            sources[pointer] = query
    return sources


def query_template(content: Mapping[str, Any], own: str = EXAMPLES_QUERY) -> str:
    """Return the pointer of the template that examples are compared with, or a collection is searched for: the
    content's own query, at the pointer `own`, else the last text of the user."""
    own_query = [own] if "query" in content.get(own.split("/")[1], {}) else []
    user_texts = [
        pointer
        for index, message in enumerate(content.get("messages", ()))
        if message["role"] == "user"
        for pointer, _ in text_templates(message, f"/messages/{index}")
    ]
    return [*own_query, *reversed(user_texts), *templates(content)][0]


def empty_content(kind: str) -> dict[str, Any]:
    """Return a content without any text, to compare a new one with."""
    return {"kind": kind, "messages": []} if kind == "chat" else {"kind": kind, "text": ""}


def without_aside(document: object) -> object:
    """Return a draft without what its editor stores beside the content (fields that are hidden just now)."""
    if isinstance(document, dict):
        return {name: member for name, member in document.items() if name != ASIDE}
    return document


def full_text(content: Mapping[str, Any]) -> str:
    """Return the text of all templates that a model reads, joined by line ends: it is searched and counted. The data of
    images is no text."""
    return "\n".join(
        text
        for pointer, text in templates(content).items()
        if pointer not in (EXAMPLES_QUERY, RETRIEVAL_QUERY) and not text.startswith(IMAGE_DATA)
    )


def partial_source(content: Mapping[str, Any]) -> str | None:
    """Return the text that `{% include %}` of this content stands for, or None where it has no single text."""
    if content["kind"] == "text":
        return str(content["text"])
    messages = content["messages"]
    text = messages[0].get("content") if len(messages) == 1 else None
    return text if isinstance(text, str) else None


def has_type(value: object, kind: str) -> bool:
    """Return whether a JSON value has one of VARIABLE_TYPES."""
    if kind == "string":
        return isinstance(value, str)
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, list if kind == "array" else dict)
