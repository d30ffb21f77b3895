"""What the inference service did for a task lately: calls by route, with latency, errors and costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from django.db.models import Aggregate, Count, F, FloatField, Q, Sum
from django.utils import timezone

from inference.models import Call
from registry.models import Project

HOURS = 24


@dataclass(frozen=True)
class RouteUsage:
    """Calls of one route. Latencies in milliseconds, of answers alone; `cost_usd` None where no call has a price."""

    route: str
    calls: int
    failed: int
    p50_ms: float | None
    p99_ms: float | None
    cost_usd: Decimal | None
    # Why the fallback was taken, and which errors there were: code to calls.
    reasons: dict[str, int]
    # Whether a simulation answered some of them.
    is_simulation: bool = False


class Percentile(Aggregate):
    """PostgreSQL's `percentile_cont`: the value below which this share of the rows lies."""

    function = "percentile_cont"
    template = "%(function)s(%(share)s) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = FloatField()


def usage_of_task(project: Project, config_hashes: Sequence[str]) -> list[RouteUsage]:
    """Return the routes that calls by these versions of a config took in the last day, the busiest first."""
    since = timezone.now() - timedelta(hours=HOURS)
    calls = Call.objects.filter(project=project, config_hash__in=config_hashes, at__gte=since).order_by()
    answered = Q(failed=False)
    rows = calls.values("route").annotate(
        calls=Count("pk"),
        failed_calls=Count("pk", filter=~answered),
        p50=Percentile("latency_ms", share=0.5, filter=answered),
        p99=Percentile("latency_ms", share=0.99, filter=answered),
        cost=Sum("cost_usd"),
        simulations=Count("pk", filter=Q(is_simulation=True)),
    )
    reasons: dict[str, dict[str, int]] = {}
    explained = calls.exclude(fallback="", error="").values("route", "fallback", "error").annotate(count=Count("pk"))
    for row in explained:
        code = row["error"] or row["fallback"]
        of_route = reasons.setdefault(row["route"], {})
        of_route[code] = of_route.get(code, 0) + row["count"]
    return [
        RouteUsage(
            row["route"],
            row["calls"],
            row["failed_calls"],
            row["p50"],
            row["p99"],
            row["cost"],
            reasons.get(row["route"], {}),
            bool(row["simulations"]),
        )
        for row in rows.order_by(F("calls").desc(), "route")
    ]
