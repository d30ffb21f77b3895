"""What a web process's ready answers do, for Prometheus: counted where they are given, read when /metrics is asked."""

from collections.abc import Callable, Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from registry.delivery import Delivery, Table


class DeliveryMetrics(Collector):
    """Of one process, as all of /metrics is: with several, scrape each."""

    def __init__(self, delivery: Delivery, table: Table, *, is_told: Callable[[], bool]) -> None:
        self._delivery, self._table, self._is_told = delivery, table, is_told

    def collect(self) -> Iterator[Metric]:
        answers = CounterMetricFamily(
            "cuebook_delivery_answers",
            "Reads by how they were answered: ready (from memory), asked (by Django), stale (the database was away)",
            labels=["how"],
        )
        for how in ("ready", "asked", "stale"):
            answers.add_metric([how], getattr(self._delivery, how))
        yield answers
        yield GaugeMetricFamily("cuebook_delivery_kept_answers", "Answers that are kept ready", value=len(self._table))
        yield GaugeMetricFamily("cuebook_delivery_kept_bytes", "What they take in memory", value=self._table.bytes)
        yield GaugeMetricFamily(
            "cuebook_delivery_listening", "1 while changes are heard of as they happen", value=int(self._is_told())
        )
