"""A shadow against what was served: the same questions, so each is compared with itself."""

from datetime import UTC, datetime, time
from typing import Any

from django.db import connection
from django.db.models import Count, Q, Sum
from django.utils import timezone

from inference.experiments import sequences, verdicts
from inference.experiments.record import HIGHER, LOWER, Metric
from inference.experiments.sequences import MIN_EVENTS, Sums
from inference.experiments.verdicts import ArmVerdict
from inference.models import ExperimentArm, ExperimentRun, ShadowPair

BETTER = {"errors": LOWER, "format": HIGHER, "cost": LOWER, "latency_mean": LOWER}
SUMS = """
SELECT figure.metric, count(*), avg(figure.live), avg(figure.own),
       sum(figure.own - figure.live), sum((figure.own - figure.live) ^ 2),
       count(*) FILTER (WHERE figure.own <> figure.live)
FROM inference_shadowpair AS pair
CROSS JOIN LATERAL (VALUES
    ('errors', pair.live_failed::int::float8, pair.failed::int::float8),
    ('format', pair.live_format_ok::int::float8, pair.format_ok::int::float8),
    ('cost', pair.live_cost_usd::float8, pair.cost_usd::float8),
    ('latency_mean', pair.live_latency_ms, pair.latency_ms)
) AS figure (metric, live, own)
WHERE pair.arm_id = %s AND figure.live IS NOT NULL AND figure.own IS NOT NULL
  -- What failed cost little and was quick, which is no merit.
  AND (figure.metric = 'errors' OR NOT (pair.live_failed OR pair.failed))
GROUP BY figure.metric
"""


def read(run: ExperimentRun) -> list[dict[str, Any]]:
    """Return what each shadow of a run showed: how many pairs, how many alike, its verdicts, and what it has cost
    today of what it may."""
    return [_read(arm, run) for arm in run.arms.all() if arm.is_shadow]


def _read(arm: ExperimentArm, run: ExperimentRun) -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute(SUMS, [arm.pk])
        rows = {metric: figures for metric, *figures in cursor.fetchall()}
    judged = []
    for name, better in BETTER.items():
        n, live, own, total, squares, unequal = rows.get(name, (0, None, None, 0.0, 0.0, 0))
        change = None
        if unequal >= MIN_EVENTS:
            change = sequences.mean_of_differences(Sums(n, total, squares), alpha=verdicts.ALPHA / len(BETTER))
        metric = Metric(name, better)
        judged.append(ArmVerdict(arm.name, metric, live, own, change, verdicts.judge(change, metric)))
    pairs = ShadowPair.objects.filter(arm=arm)
    alike = pairs.aggregate(
        pairs=Count("pk"),
        compared=Count("pk", filter=Q(is_same__isnull=False)),
        same=Count("pk", filter=Q(is_same=True)),
    )
    today = datetime.combine(timezone.now().astimezone(UTC).date(), time(), tzinfo=UTC)
    spent = pairs.filter(at__gte=today).aggregate(dollars=Sum("cost_usd"))["dollars"]
    return {
        "arm": arm.name,
        "beside": f"v{run.baseline.number}",
        **alike,
        "spent_today_usd": float(spent or 0),
        "daily_usd": float(arm.shadow_dollars or 0),
        "verdicts": [each.as_dict() for each in judged],
    }
