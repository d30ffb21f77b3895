"""Middleware of every request: its id, refusals of what later layers would misread, and reading to the end."""

import re
import uuid
from collections.abc import Callable
from contextlib import suppress

from django.http import HttpRequest, HttpResponse, JsonResponse, UnreadablePostError

from core.errors import Problem
from infra.http.body_limits import check_body
from infra.http.request_id import request_id

# Addresses that read the body themselves, and never as a form.
READ_RAW = ("/api/", "/hooks/", "/v1/")
ACCEPTABLE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestIdMiddleware:
    """Names the request: a caller's X-Request-ID where it is a plain word, else a new one; answered back."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        caller_id = request.headers.get("X-Request-ID", "")
        token = request_id.set(caller_id if ACCEPTABLE_ID.fullmatch(caller_id) else uuid.uuid4().hex)
        try:
            response = self.get_response(request)
            response["X-Request-ID"] = request_id.get()
            return response
        finally:
            request_id.reset(token)


class ReadToTheEndMiddleware:
    """Reads what a refused request still sends: a client that is writing would see a reset, not the refusal."""

    MAX_BYTES = 32 * 1024 * 1024
    CHUNK = 64 * 1024

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if response.status_code >= 400 and request.headers.get("Content-Length", "0") != "0":
            left = self.MAX_BYTES
            # A client that has gone away needs no answer.
            with suppress(UnreadablePostError):
                while left > 0 and (chunk := request.read(self.CHUNK)):
                    left -= len(chunk)
        return response


class RefuseUnreadableMiddleware:
    """Refuses what later layers would misread: NUL characters, and a body whose length is not said (taken as none)."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        query = request.META.get("QUERY_STRING", "")
        if "\0" in request.path or "%00" in query or "\0" in query:
            return self._refusal(Problem("request.nul", "The address or query has a NUL character."))
        if "Transfer-Encoding" in request.headers and not request.headers.get("Content-Length"):
            return self._refusal(Problem("request.length", "Send the body with a Content-Length."))
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Callable[..., object], *_view: object) -> HttpResponse | None:
        """Check the body's size, and then a form's fields; PostgreSQL's text has no NUL."""
        check_body(request, view)
        if request.path.startswith(READ_RAW):
            return None
        if any("\0" in text for name, values in request.POST.lists() for text in (name, *values)):
            return self._refusal(Problem("request.nul", "A field has a NUL character."))
        return None

    def _refusal(self, problem: Problem) -> HttpResponse:
        return JsonResponse(problem.as_document(), status=problem.kind.status, content_type="application/problem+json")
