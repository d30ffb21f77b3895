"""Errors in the form of OpenAI's protocol."""

import json
from collections.abc import Mapping

from aiohttp import web


class APIError(Exception):
    """A refusal that is sent as it is."""

    def __init__(self, status: int, message: str, code: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param

    def response(self) -> web.Response:
        return error(self.status, self.message, self.code, param=self.param)


def error(
    status: int, message: str, code: str, headers: Mapping[str, str] | None = None, *, param: str | None = None
) -> web.Response:
    """Return a response with an error."""
    kind = "insufficient_quota" if code == "insufficient_quota" else "invalid_request_error"
    body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return web.json_response(body, status=status, headers=headers)


def not_found(message: str) -> APIError:
    return APIError(404, message, "not_found")


def dumps(document: object) -> bytes:
    """Write an event of a stream."""
    return f"data: {json.dumps(document)}\n\n".encode()
