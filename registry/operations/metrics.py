"""Metrics of requests for Prometheus: few labels, so that a crawl of every page adds no line.

`/metrics` wants METRICS_TOKEN as a bearer token; in production without one there is no such page.
"""

import secrets
import time
from collections.abc import Callable

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Histogram, generate_latest, multiprocess

# Addresses by their first step; what is not listed is a page.
AREAS = ("api", "admin", "static", "hooks")
BUCKETS = (0.005, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0)

seconds = Histogram(
    "cuebook_request_seconds",
    "Time of requests in Django, by area (api, admin, static, hooks, pages) and class of status",
    ["area", "status"],
    buckets=BUCKETS,
)


class RequestMetricsMiddleware:
    """Counts and times every request that reaches Django."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        started = time.perf_counter()
        response = self.get_response(request)
        area = request.path.split("/", 2)[1]
        status = f"{response.status_code // 100}xx"
        seconds.labels(area if area in AREAS else "pages", status).observe(time.perf_counter() - started)
        return response


def metrics(request: HttpRequest) -> HttpResponse:
    """Answer Prometheus with the metrics of all web processes that share PROMETHEUS_MULTIPROC_DIR, or of this one."""
    token = settings.METRICS_TOKEN
    if token:
        sent = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        if not secrets.compare_digest(sent.encode(), token.encode()):
            response = HttpResponse("Send METRICS_TOKEN as a bearer token.\n", status=401, content_type="text/plain")
            response["WWW-Authenticate"] = "Bearer"
            return response
    elif settings.PRODUCTION:
        raise Http404
    registry = REGISTRY
    if settings.PROMETHEUS_MULTIPROC_DIR:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # untyped library
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
