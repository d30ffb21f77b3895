"""Content security policies: strict for the product, looser where a library's own pages need it."""

from typing import Any

from csp.middleware import CSPMiddleware
from django.http import HttpRequest, HttpResponseBase

STYLED_INLINE = {"style-src": ["'self'", "'unsafe-inline'"]}
# The administration site's own scripts (Alpine) are attributes that the browser evaluates.
ADMINISTRATION = {**STYLED_INLINE, "script-src": ["'self'", "'unsafe-inline'", "'unsafe-eval'"]}
LOOSER = {"/admin/": ADMINISTRATION, "/api/v1/docs": STYLED_INLINE}


class PolicyMiddleware(CSPMiddleware):
    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        for start, policy in LOOSER.items():
            if request.path.startswith(start):
                # django-csp's own decorator sets this; these views are not ours to decorate.
                exempt: Any = response
                exempt._csp_replace = policy
        result: HttpResponseBase = super().process_response(request, response)
        return result
