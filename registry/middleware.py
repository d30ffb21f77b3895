"""What every request passes: its id, and a refusal of NUL characters, which PostgreSQL cannot take."""

import re
import uuid
from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, JsonResponse

from registry.problems import Problem
from registry.request_id import request_id

ACCEPTABLE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestIdMiddleware:
    """Names the request: a caller's X-Request-ID where it is a plain word, else a new one; answered back."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-ID", "")
        token = request_id.set(given if ACCEPTABLE_ID.fullmatch(given) else uuid.uuid4().hex)
        try:
            response = self.get_response(request)
            response["X-Request-ID"] = request_id.get()
            return response
        finally:
            request_id.reset(token)


class RefuseNulMiddleware:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if (
            "\0" in request.path
            or "%00" in request.META.get("QUERY_STRING", "")
            or "\0" in request.META.get("QUERY_STRING", "")
        ):
            problem = Problem("request.nul", "The address or query has a NUL character.")
            return JsonResponse(problem.as_document(), status=400, content_type="application/problem+json")
        return self.get_response(request)
