"""What the inference service did for a task lately: calls by route, with latency, errors and costs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone

from inference.models import UsageRollup
from inference.usage import rollups
from inference.usage.stats import UsageStats, sum_usage
from registry.models import Project

HOURS = 24


@dataclass(frozen=True)
class RouteUsage:
    """Calls of one route; and whether a simulation answered some of them."""

    route: str
    usage: UsageStats
    is_simulation: bool = False

    @property
    def reasons(self) -> dict[str, int]:
        """Why the fallback was taken, and which errors there were: code to calls, the most frequent first."""
        counts = Counter(self.usage.fallbacks) + Counter(self.usage.errors)
        return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))

    @property
    def p50_ms(self) -> float | None:
        return self._latency(0.5)

    @property
    def p99_ms(self) -> float | None:
        return self._latency(0.99)

    def _latency(self, share: float) -> float | None:
        estimate = self.usage.latency(share)
        return estimate.value if estimate else None


def usage_of_task(project: Project, config_hashes: Sequence[str]) -> list[RouteUsage]:
    """Return the routes that calls by these versions of a config took in the last day, the busiest first."""
    now = timezone.now()
    of_config = {"version__prompt__project": project, "config_hash__in": config_hashes}
    by_route: dict[str, list[UsageRollup]] = {}
    for row in rollups.between(now - timedelta(hours=HOURS), now, **of_config):
        by_route.setdefault(row.route, []).append(row)
    routes = [
        RouteUsage(route, sum_usage(map(rollups.usage_in, rows)), any(row.is_simulation for row in rows))
        for route, rows in by_route.items()
    ]
    return sorted(routes, key=lambda each: (-each.usage.calls, each.route))
