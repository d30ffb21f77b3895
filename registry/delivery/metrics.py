"""Prometheus metrics of the response cache."""

from collections.abc import Callable

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge

from registry.delivery.response_cache import ResponseCache
from registry.delivery.wsgi import Delivery


class DeliveryMetrics:
    """Metrics copied now and then from plain integers, which cost nothing on the hot path; so they are also in what
    several processes share (PROMETHEUS_MULTIPROC_DIR)."""

    def __init__(
        self,
        delivery: Delivery,
        cache: ResponseCache,
        *,
        is_listening: Callable[[], bool],
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        self._delivery, self._cache, self._is_listening = delivery, cache, is_listening
        self._reported = dict.fromkeys(("ready", "asked", "stale"), 0)
        self._answers = Counter(
            "cuebook_delivery_answers",
            "Reads by how they were answered: ready (from memory), asked (by Django), stale (no newer one available)",
            ["how"],
            registry=registry,
        )
        for how in self._reported:
            self._answers.labels(how)
        self._rows = Gauge(
            "cuebook_delivery_kept_answers",
            "Responses in the cache",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._bytes = Gauge(
            "cuebook_delivery_kept_bytes",
            "Memory used by the cached responses",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._listening = Gauge(
            "cuebook_delivery_listening",
            "1 while all processes are notified of changes as they happen",
            registry=registry,
            multiprocess_mode="livemin",
        )

    def update(self) -> None:
        """Add what was counted since the last update."""
        counts = {"ready": self._delivery.hits, "asked": self._delivery.misses, "stale": self._delivery.stale}
        for how, count in counts.items():
            self._answers.labels(how).inc(count - self._reported[how])
        self._reported = counts
        self._rows.set(len(self._cache))
        self._bytes.set(self._cache.bytes)
        self._listening.set(self._is_listening())
