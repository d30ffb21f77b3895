"""An image as the answer to a browser or a service: what users uploaded, so that nothing in it runs."""

from typing import Any

from django.http import HttpResponse

from registry.models import UploadedImage

# Its address has the hash of its bytes: it never changes. Only who was let through keeps it.
CACHE_CONTROL = "private, max-age=31536000, immutable"
NOTHING_RUNS = "default-src 'none'; sandbox"


def image_response(request: Any, image: UploadedImage) -> HttpResponse:
    """Answer with the bytes of an image, or that the sender has them."""
    tag = f'"{image.sha256}"'
    is_fresh = tag in request.headers.get("If-None-Match", "")
    response = HttpResponse(
        b"" if is_fresh else bytes(image.data), status=304 if is_fresh else 200, content_type=image.media_type
    )
    response["ETag"] = tag
    response["Cache-Control"] = CACHE_CONTROL
    response["Content-Security-Policy"] = NOTHING_RUNS
    response["X-Content-Type-Options"] = "nosniff"
    return response
