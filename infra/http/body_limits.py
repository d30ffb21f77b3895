"""Bounds on request bodies, kept before anything is parsed: a form with files is written to disk as it is parsed."""

from collections.abc import Callable
from typing import Any, TypeVar

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest

View = TypeVar("View", bound=Callable[..., Any])
# The other fields of a form with a file, and the lines between its parts.
FORM_BYTES = 1024 * 1024


def accepts_files(max_bytes: int) -> Callable[[View], View]:
    """Let signed-in users send a file of so many bytes to a page. It stands above all other decorators."""

    def set_limit(view: View) -> View:
        view.max_body_bytes = max_bytes + FORM_BYTES  # type: ignore[attr-defined]
        return view

    return set_limit


def check_body(request: HttpRequest, view: Callable[..., Any]) -> None:
    """Raise RequestDataTooBig where the body is larger than the view takes from this user. Nothing was read yet."""
    try:
        size = int(request.headers.get("Content-Length") or 0)
    except ValueError:
        return
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE or 0
    if size > limit:
        larger = getattr(view, "max_body_bytes", 0)
        if larger > limit and request.user.is_authenticated:
            limit = larger
        # A view of the API that reads the body itself: no sooner than it knows who sends it, and no further than that.
        limit = max(limit, getattr(getattr(view, "cls", None), "max_streamed_bytes", 0))
    if size > limit:
        raise RequestDataTooBig(f"The body has {size:,} bytes; this address takes {limit:,}.")
