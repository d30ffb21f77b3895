"""Bodies of requests."""

from typing import Any

from aiohttp import web

from evaluations.openai_server.errors import APIError

Document = dict[str, Any]


async def read_object(request: web.Request) -> Document:
    """Return the body of a request. APIError where it is no JSON object."""
    try:
        body = await request.json()
    except (ValueError, RecursionError, LookupError):
        # No JSON, nested too deeply, or in an encoding that there is not.
        body = None
    if not isinstance(body, dict):
        raise APIError(400, "The body is no JSON object.", "invalid_request")
    return body


def object_in(document: Document, name: str) -> Document:
    """Return a member that is an object, or an empty one where it is missing. APIError where it is something else."""
    value = document.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise APIError(400, f"{name} must be an object.", "invalid_request", name)
    return value
