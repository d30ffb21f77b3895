"""What ready answers do, for Prometheus."""

from collections.abc import Callable

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge

from registry.delivery.response_cache import Table
from registry.delivery.wsgi import Delivery


class DeliveryMetrics:
    """Counted in plain integers where answers are given, which costs nothing there, and brought here now and then: so
    they are also in what several processes share (PROMETHEUS_MULTIPROC_DIR)."""

    def __init__(
        self, delivery: Delivery, table: Table, *, is_told: Callable[[], bool], registry: CollectorRegistry = REGISTRY
    ) -> None:
        self._delivery, self._table, self._is_told = delivery, table, is_told
        self._brought = dict.fromkeys(("ready", "asked", "stale"), 0)
        self._answers = Counter(
            "cuebook_delivery_answers",
            "Reads by how they were answered: ready (from memory), asked (by Django), stale (nothing newer to be had)",
            ["how"],
            registry=registry,
        )
        for how in self._brought:
            self._answers.labels(how)
        self._rows = Gauge(
            "cuebook_delivery_kept_answers",
            "Answers that are kept ready",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._bytes = Gauge(
            "cuebook_delivery_kept_bytes",
            "What they take in memory",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._listening = Gauge(
            "cuebook_delivery_listening",
            "1 while changes are heard of as they happen (by all processes)",
            registry=registry,
            multiprocess_mode="livemin",
        )

    def update(self) -> None:
        """Bring what has come since the last time."""
        for how, before in self._brought.items():
            self._brought[how] = getattr(self._delivery, how)
            self._answers.labels(how).inc(self._brought[how] - before)
        self._rows.set(len(self._table))
        self._bytes.set(self._table.bytes)
        self._listening.set(self._is_told())
