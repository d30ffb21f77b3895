"""Conventions of the REST API: strict JSON in, cursor pages and problem documents out."""

import logging
from collections.abc import Mapping, Sequence
from typing import IO, Any, ClassVar

from django.conf import settings
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import OperationalError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.shortcuts import render
from psycopg_pool import PoolTimeout
from rest_framework import exceptions, pagination, parsers, renderers
from rest_framework.response import Response

from core.errors import CATALOGUE, Fault, Problem
from core.json_values import read_request_body

logger = logging.getLogger(__name__)

PROBLEM_TYPE = "application/problem+json"
# Exceptions that Django and DRF raise themselves, with our codes for them.
CODES: dict[type[Exception], str] = {
    exceptions.ParseError: "request.malformed",
    exceptions.NotAuthenticated: "auth.required",
    exceptions.AuthenticationFailed: "auth.invalid_key",
    exceptions.MethodNotAllowed: "request.method",
    exceptions.NotAcceptable: "request.not_acceptable",
    exceptions.UnsupportedMediaType: "request.media_type",
    exceptions.Throttled: "request.throttled",
    exceptions.NotFound: "not_found",
    exceptions.PermissionDenied: "access.denied",
    Http404: "not_found",
    # In this order: the first type that matches gives the code.
    RequestDataTooBig: "request.too_large",
    SuspiciousOperation: "request.malformed",
    UnreadablePostError: "request.malformed",
    DjangoPermissionDenied: "access.denied",
}


# Where programs ask, and not browsers.
OF_PROGRAMS = ("/api/", "/v1/", "/beta/")


class JSONRenderer(renderers.JSONRenderer):
    """Plain JSON; a problem document says so in its media type."""

    charset = None


class StrictJSONParser(parsers.JSONParser):
    """JSON that every later layer can hold: bounded, UTF-8, no NaN, no NUL, no lone surrogate, no repeated member."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0
        body = stream.read(limit + 1)
        if len(body) > limit:
            raise Problem("request.too_large", f"A request body has at most {limit:,} bytes.")
        return read_request_body(body)


class BytesParser(parsers.BaseParser):
    """A body as it is, up to a bound; `too_large` is the code and the sentence of a larger one."""

    media_type = "application/octet-stream"
    max_bytes: ClassVar[int]
    too_large: ClassVar[tuple[str, str]]

    def parse(  # type: ignore[override]  # the stubs know forms and JSON
        self, stream: IO[Any], media_type: str | None = None, parser_context: Any = None
    ) -> bytes:
        data: bytes = stream.read(self.max_bytes + 1)
        if len(data) > self.max_bytes:
            raise Problem(*self.too_large)
        return data


class CursorPagination(pagination.CursorPagination):
    """`{"results": [], "next": null}`; `next` is the whole address of the next page.

    A view names its order by a unique, indexed column: pages stay right while rows are added.
    """

    page_size = 50
    max_page_size = 200
    page_size_query_param = "limit"

    def paginate_queryset(
        self, queryset: QuerySet[Any] | Sequence[Any], request: Any, view: Any = None
    ) -> list[Any] | None:
        self.ordering = view.ordering
        try:
            return super().paginate_queryset(queryset, request, view)
        except (ValueError, TypeError):
            # A made-up cursor, with a position that the ordered column cannot have.
            raise Problem("request.invalid", "The cursor is not one of ours; start from the first page.") from None

    def decode_cursor(self, request: Any) -> Any:
        cursor = super().decode_cursor(request)
        if cursor is not None and "\0" in str(cursor.position):
            raise ValueError("a cursor has no NUL character")
        return cursor

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"results": data, "next": self.get_next_link()})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "object",
            "required": ["results", "next"],
            "properties": {
                "results": schema,
                "next": {
                    "type": ["string", "null"],
                    "format": "uri",
                    "description": "The next page, or null.",
                },
            },
        }


def problem_handler(error: Exception, _context: dict[str, Any]) -> Response | None:
    """Turn refusals into responses. None for bugs: Django logs them and answers 500."""
    problem = as_problem(error)
    if problem is None:
        return None
    response = Response(problem.as_document(), status=problem.kind.status, content_type=PROBLEM_TYPE)
    if problem.kind.status == 401:
        response["WWW-Authenticate"] = 'Bearer realm="cuebook"'
    if problem.kind.status == 503:
        response["Retry-After"] = "1"
    return response


def as_problem(error: Exception) -> Problem | None:
    if isinstance(error, Problem):
        return error
    if isinstance(error, OperationalError | PoolTimeout):
        logger.error("database.unavailable %s", error)
        return Problem("server.database_unavailable", "The database does not answer; try again in a moment.")
    if isinstance(error, exceptions.ValidationError):
        faults = list(_faults(error.detail, ""))
        first = faults[0]
        return Problem("request.invalid", f"{first.pointer or 'The request'}: {first.message}", faults=faults)
    if isinstance(error, exceptions.PermissionDenied) and str(error.detail).startswith("CSRF"):
        return Problem("auth.csrf", "The CSRF token is missing or wrong; send it as X-CSRFToken.")
    code = next((code for kind, code in CODES.items() if isinstance(error, kind)), None)
    if code is None:
        return None
    sentence = str(error.detail) if isinstance(error, exceptions.APIException) else f"{CATALOGUE[code].title}."
    return Problem(code, sentence)


def _faults(detail: Any, pointer: str) -> list[Fault]:
    """Flatten DRF's nested error detail into pointers and sentences."""
    if isinstance(detail, dict):
        own = "non_field_errors"
        return [
            fault
            for name, member in detail.items()
            for fault in _faults(member, pointer if name == own else f"{pointer}/{name}")
        ]
    if isinstance(detail, list):
        nested = any(isinstance(item, dict | list) for item in detail)
        return [
            fault
            for index, item in enumerate(detail)
            for fault in _faults(item, f"{pointer}/{index}" if nested else pointer)
        ]
    return [Fault(pointer, getattr(detail, "code", "invalid"), str(detail))]


def _problem_response(request: HttpRequest, problem: Problem) -> HttpResponse:
    """Answer with a problem outside DRF: a document where programs ask, a page elsewhere."""
    status = problem.kind.status
    if request.path.startswith(OF_PROGRAMS) or request.content_type == "application/json":
        return JsonResponse(problem.as_document(), status=status, content_type=PROBLEM_TYPE)
    return render(request, "problem.html", {"problem": problem}, status=status)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _problem_response(request, Problem("not_found", "There is nothing at this address."))


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if isinstance(exception, RequestDataTooBig):
        return _problem_response(request, Problem("request.too_large", str(exception)))
    return _problem_response(request, Problem("request.malformed", "The request cannot be read."))


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _problem_response(request, Problem("access.denied", "You may not do this."))


def server_error(request: HttpRequest) -> HttpResponse:
    return _problem_response(
        request, Problem("server.error", "Something went wrong in Cuebook; the log has the details.")
    )


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return _problem_response(
        request, Problem("auth.csrf", "This form is too old or came from elsewhere; load the page again.")
    )
