"""What a provider says outside of chat: one JSON object, often with a list in it. What fails is a CallError."""

from collections.abc import Mapping
from typing import Any

from evaluations.providers.answer_shapes import garbled_error, read_object
from evaluations.providers.transport.openai_client import translate_error
from evaluations.providers.transport.posts import Posts


async def get_object(posts: Posts, path: str, query: Mapping[str, str] | None = None) -> Mapping[str, Any]:
    """Return the object at a path."""
    try:
        return read_object((await posts.get(path, query or {})).text)
    except Exception as error:
        raise translate_error(error) from error


async def post_object(posts: Posts, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Send an object, and return the one that answers it."""
    try:
        return read_object((await posts.post(path, body, {})).text)
    except Exception as error:
        raise translate_error(error) from error


def rows_of(document: Mapping[str, Any], member: str, path: str) -> list[dict[str, Any]]:
    """Return the objects of a member that has to be a list."""
    listed = document.get(member)
    if not isinstance(listed, list):
        raise garbled_error(f"The answer to GET {path} has no list of {member}.")
    return [row for row in listed if isinstance(row, dict)]
