"""Units of experiments: what each subject's calls come to in each metric, added up with the calls themselves.

Subjects are what is assigned, so subjects are what is compared: calls of one user are alike, and would count as
evidence many times.
"""

import hmac
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from django.utils import timezone

from inference.models import Call, ExperimentRun, ExperimentUnit
from inference.usage.stats import CONVERSION, FEEDBACK

# The metric that each unit has: how many calls.
CALLS = "calls"
# What a call's row says, by metric; None where it says nothing.
VALUES: Mapping[str, str] = {"errors": "failed", "format": "format_ok", "score": "score", "cost": "cost_usd"}

ADD = """
INSERT INTO inference_experimentunit AS unit (run_id, step, digest, metric, arm, n, total, is_mixed)
SELECT run, step, digest, metric, arm, n, total, false
FROM unnest(%s::bigint[], %s::smallint[], %s::text[], %s::text[], %s::text[], %s::int[], %s::float8[])
     AS delta (run, step, digest, metric, arm, n, total)
ORDER BY run, step, digest, metric
ON CONFLICT (run_id, step, digest, metric) DO UPDATE
SET n = unit.n + excluded.n, total = unit.total + excluded.total,
    is_mixed = unit.is_mixed OR unit.arm <> excluded.arm
"""
# Feedback counts for subjects that are there: of one that was deleted nobody knows which unit was theirs.
ADD_TO_PRESENT = ADD.replace(
    "ORDER BY run, step, digest, metric",
    """WHERE EXISTS (
    SELECT FROM inference_experimentunit AS present
    WHERE (present.run_id, present.step, present.digest, present.metric)
        = (delta.run, delta.step, delta.digest, 'calls')
)
ORDER BY run, step, digest, metric""",
)

# Run, step, digest and metric; and the arm.
_Name = tuple[int, int, str, str]


def digest_of(project: int, subject: str) -> str:
    """Return the keyed digest by which a subject is recognised, and nobody else can find out who it was."""
    return hmac.new(settings.SECRET_KEY.encode(), f"{project}:{subject}".encode(), "sha256").hexdigest()


def unit_of(project: int, subject: str, reference: str) -> str:
    """Return the digest of a call's unit: its subject's, or without one its own."""
    return digest_of(project, subject or f"\0{reference}")


def add_calls(calls: Iterable[Mapping[str, Any]]) -> None:
    """Add stored calls that are a part of experiments, by the members of their rows, in the current transaction. The
    caller holds their projects' lock of calls."""
    _add_calls(calls, 1)


def take_away(calls: Iterable[Mapping[str, Any]]) -> None:
    """Take calls away that were added."""
    _add_calls(calls, -1)


def _add_calls(calls: Iterable[Mapping[str, Any]], sign: int) -> None:
    parts = [call for call in calls if call["experiment_run"]]
    if not parts:
        return
    metrics = _metrics({call["experiment_run"] for call in parts})
    deltas: dict[tuple[_Name, str], tuple[int, float]] = {}
    for call in parts:
        digest = unit_of(call["project"], call["subject"], call["reference"])
        values = {CALLS: 1.0}
        for metric in metrics.get(call["experiment_run"], ()):
            value = call[VALUES[metric]] if metric in VALUES else None
            if value is not None:
                values[metric] = float(value)
        for metric, value in values.items():
            name = ((call["experiment_run"], call["experiment_step"], digest, metric), call["arm"])
            n, total = deltas.get(name, (0, 0.0))
            deltas[name] = (n + sign, total + sign * value)
    _write(ADD, deltas)


def add_feedback(values: Sequence[tuple[str, float, Call]], *, sign: int = 1) -> None:
    """Add what was learned later of calls, by its name; a `sign` of -1 takes it away."""
    parts = [(name, value, call) for name, value, call in values if call.experiment_run]
    if not parts:
        return
    metrics = _metrics({call.experiment_run for _, _, call in parts})
    deltas: dict[tuple[_Name, str], tuple[int, float]] = {}
    for name, value, call in parts:
        digest = unit_of(call.project_id, call.subject, call.reference)
        for metric in {FEEDBACK + name, CONVERSION + name} & set(metrics.get(call.experiment_run, ())):
            place = ((call.experiment_run, call.experiment_step, digest, metric), call.arm)
            n, total = deltas.get(place, (0, 0.0))
            deltas[place] = (n + sign, total + sign * value)
    _write(ADD_TO_PRESENT, deltas)


def clear_old() -> int:
    """Delete the units of runs that ended as long ago as calls are kept; returns how many. Their figures stay."""
    until = timezone.now() - timedelta(days=settings.CALLS_RETENTION_DAYS)
    return ExperimentUnit.objects.filter(run__ended_at__lt=until).delete()[0]


def _metrics(runs: set[int]) -> dict[int, list[str]]:
    return dict(ExperimentRun.objects.filter(pk__in=runs).values_list("pk", "metrics"))


def _write(statement: str, deltas: Mapping[tuple[_Name, str], tuple[int, float]]) -> None:
    # A statement changes a row once: what came of one subject in two arms goes one after the other.
    rest = [(*name, arm, n, total) for (name, arm), (n, total) in deltas.items()]
    while rest:
        first: dict[_Name, tuple[Any, ...]] = {}
        for row in rest:
            first.setdefault(row[:4], row)
        now = set(first.values())
        rest = [row for row in rest if row not in now]
        with connection.cursor() as cursor:
            cursor.execute(statement, [list(column) for column in zip(*now, strict=True)])
