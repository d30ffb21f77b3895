"""A version's content: what there is in its normal form (registry.content.normalize). Pure: server and client share it."""

from collections.abc import Mapping
from typing import Any

ROLES = ("system", "developer", "user", "assistant")
EXAMPLES_PLACEHOLDER = "examples"
EXAMPLES_QUERY = "/examples/query"
KINDS = ("chat", "text")
# A member that no content can have; the editor keeps it in its drafts alone.
ASIDE = "(aside)"
VARIABLE_TYPES = ("string", "integer", "number", "boolean", "array", "object")
RESPONSE_FORMATS = ("text", "json_object", "json_schema")
SELECTIONS = ("fixed", "first", "similar", "balanced")
DEFAULTS: dict[str, dict[str, Any]] = {
    "response": {"format": "text", "name": "response", "strict": False},
    "variable": {"type": "string", "required": True},
    "examples": {"select": "fixed"},
    "function": {"strict": False},
}


def templates(content: Mapping[str, Any]) -> dict[str, str]:
    """Every template in a content document, by its JSON pointer."""
    found = {
        f"/messages/{index}/content": message["content"]
        for index, message in enumerate(content.get("messages", ()))
        if "content" in message
    }
    if "text" in content:
        found["/text"] = content["text"]
    query = content.get("examples", {}).get("query")
    if query is not None:
        found[EXAMPLES_QUERY] = query
    return found


def query_template(content: Mapping[str, Any]) -> str:
    """The pointer of the template that says what examples are to be like: the content's own query, else what the user
    says last."""
    asked = [EXAMPLES_QUERY] if "query" in content.get("examples", {}) else []
    said = [
        f"/messages/{index}/content"
        for index, message in enumerate(content.get("messages", ()))
        if message["role"] == "user"
    ]
    return [*asked, *reversed(said), *templates(content)][0]


def nothing(kind: str) -> dict[str, Any]:
    """A content without any text: what something that is all new is compared with."""
    return {"kind": kind, "messages": []} if kind == "chat" else {"kind": kind, "text": ""}


def without_aside(document: object) -> object:
    """A draft without what its editor keeps beside the content (fields that are hidden just now)."""
    if isinstance(document, dict):
        return {name: member for name, member in document.items() if name != ASIDE}
    return document


def whole_text(content: Mapping[str, Any]) -> str:
    """All text that a model reads of a content's templates, a line end between them: what is searched and counted."""
    return "\n".join(text for pointer, text in templates(content).items() if pointer != EXAMPLES_QUERY)


def partial_source(content: Mapping[str, Any]) -> str | None:
    """The text that `{% include %}` of this content stands for, or None where it has no single text."""
    if content["kind"] == "text":
        return str(content["text"])
    messages = content["messages"]
    return str(messages[0]["content"]) if len(messages) == 1 and "content" in messages[0] else None


def has_type(value: object, kind: str) -> bool:
    """Whether a JSON value has one of VARIABLE_TYPES."""
    if kind == "string":
        return isinstance(value, str)
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, list if kind == "array" else dict)
