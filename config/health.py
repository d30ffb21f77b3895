"""Health checks: whether this process lives (/healthz) and whether it can serve requests (/readyz)."""

import logging
from collections.abc import Callable
from typing import Any

import kombu
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from psycopg_pool import PoolTimeout

from registry.operations import heartbeats

logger = logging.getLogger(__name__)


class HealthMiddleware:
    """Answers a load balancer before all other middleware: whatever the Host header, TLS, session or policy."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path == "/healthz":
            return HttpResponse("ok\n", content_type="text/plain")
        if request.path == "/readyz":
            return _readiness()
        return self.get_response(request)


def _readiness() -> JsonResponse:
    """Say whether this process can serve requests, and who works behind it. Workers that are silent are told and are no
    reason to take web processes away: prompts are fetched without them."""
    checks = {"database": _database_answers(), "broker": _broker_answers()}
    status = 200 if all(checks.values()) else 503
    behind: dict[str, Any] = {}
    if checks["database"]:
        try:
            liveness = heartbeats.get_liveness()
        except DatabaseError as error:
            # Before the first migration there is no such table.
            logger.warning("readyz.heartbeats %s", error)
            return JsonResponse(checks | {"database": False}, status=503)
        behind = {"queues": liveness.queues, "beat": liveness.beat, "unresponsive": liveness.unresponsive}
    return JsonResponse(checks | behind, status=status)


def _database_answers() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except (DatabaseError, PoolTimeout) as error:
        logger.warning("readyz.database %s", error)
        return False
    return True


def _broker_answers() -> bool:
    try:
        with kombu.Connection(settings.BROKER_URL, connect_timeout=2) as broker:
            broker.ensure_connection(max_retries=1, interval_start=0, timeout=2)
    except (OSError, kombu.exceptions.KombuError) as error:
        logger.warning("readyz.broker %s", error)
        return False
    return True
