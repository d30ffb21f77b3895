"""ETags, 304, If-Match and caching of the read side (design: a strong ETag is the content's hash)."""

import re

from rest_framework.request import Request
from rest_framework.response import Response

from core.errors import Problem
from core.references import HashPrefix, Number, Selector

MUTABLE = "private, max-age=5, stale-while-revalidate=60, stale-if-error=86400"
IMMUTABLE = "private, max-age=31536000, immutable"
TAG = re.compile(r'(?:W/)?"([^"]*)"')


def cache_policy(selector: Selector) -> str:
    """Return the Cache-Control: what a number or whole hash selects never changes, what a name selects may at any
    release."""
    fixed = isinstance(selector, Number) or (isinstance(selector, HashPrefix) and selector.is_whole)
    return IMMUTABLE if fixed else MUTABLE


def is_fresh(request: Request, tag: str) -> bool:
    """Return whether the caller has this already (`If-None-Match`); a weak tag matches too, as RFC 9110 says for
    reads."""
    header = request.headers.get("If-None-Match", "")
    return header.strip() == "*" or tag in TAG.findall(header)


def set_cache_headers(response: Response, tag: str, policy: str) -> Response:
    response["ETag"] = f'"{tag}"'
    response["Cache-Control"] = policy
    response["Vary"] = "Authorization, Cookie, X-Cuebook-Project"
    return response


def expected_tag(request: Request) -> str | None:
    """Return the tag of `If-Match`, None where there is none (or `*`), `request.precondition` where it names
    several."""
    header = request.headers.get("If-Match", "").strip()
    if not header or header == "*":
        return None
    tags = re.fullmatch(r'"([^"]*)"', header)
    if tags is None:
        raise Problem("request.precondition", 'If-Match takes one strong tag, such as "sha256:...".')
    return tags[1]
