"""The figures of a run: what its arms' calls come to at its step, read from what was added up with the calls."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.utils import timezone

from inference.experiments import paired, runs, serving, verdicts
from inference.experiments.record import ExperimentRecord
from inference.experiments.sequences import Sums
from inference.experiments.verdicts import ArmFigures, ArmVerdict
from inference.models import ExperimentRun, UsageRollup
from inference.usage import rollups
from inference.usage.stats import CONVERSION, UsageStats, sum_usage

logger = logging.getLogger(__name__)
ERRORS = "errors"
# JSON has no endless numbers.
MAX_E_VALUE = 1e300

# Each subject is one value: the mean of its calls; subjects that were seen in two arms are left out.
SUMS = """
SELECT unit.arm, unit.metric, count(*), sum(unit.total / unit.n), sum((unit.total / unit.n) ^ 2),
       count(*) FILTER (WHERE unit.total > 0)
FROM inference_experimentunit AS unit
JOIN inference_experimentunit AS present
  ON (present.run_id, present.step, present.digest, present.metric) = (unit.run_id, unit.step, unit.digest, 'calls')
WHERE unit.run_id = %(run)s AND unit.step = %(step)s AND unit.n > 0 AND present.n > 0
  AND NOT unit.is_mixed AND NOT present.is_mixed
GROUP BY unit.arm, unit.metric
"""
MIXED = """
SELECT count(*) FROM inference_experimentunit
WHERE run_id = %(run)s AND step = %(step)s AND metric = 'calls' AND is_mixed AND n > 0
"""


@dataclass(frozen=True)
class RunFigures:
    """What a run showed at its step: its arms, the verdicts on each challenger (the primary metric first), how many
    subjects were in two arms, and the evidence that subjects did not come by the weights."""

    at: datetime
    step: int
    baseline: ArmFigures
    arms: Sequence[ArmFigures]
    verdicts: Sequence[ArmVerdict]
    mixed: int
    e_value: float
    days_left: int | None
    is_simulation: bool
    shadows: Sequence[Mapping[str, Any]] = ()

    @property
    def is_mismatched(self) -> bool:
        return self.e_value > 1 / verdicts.MISMATCH_ALPHA

    def of(self, arm: str) -> list[ArmVerdict]:
        return [each for each in self.verdicts if each.arm == arm]

    def as_dict(self) -> dict[str, Any]:
        """Return them as rows and answers have them."""
        return {
            "at": self.at.isoformat(),
            "step": self.step,
            "arms": [
                {"arm": arm.name, "subjects": arm.subjects, "calls": arm.calls, "failed": arm.failed}
                for arm in (self.baseline, *self.arms)
            ],
            "verdicts": [each.as_dict() for each in self.verdicts],
            "mixed_subjects": self.mixed,
            "e_value": min(self.e_value, MAX_E_VALUE),
            "is_mismatched": self.is_mismatched,
            "days_left": self.days_left,
            "is_simulation": self.is_simulation,
            "shadows": list(self.shadows),
        }


def read(run: ExperimentRun) -> RunFigures:
    """Read the figures of a run at its step, as of now."""
    record, now = runs.record_of(run), timezone.now()
    split = serving.split_of(run)
    sums, mixed = _sums(run)
    usage = _usage(run)
    names = [split.baseline, *(arm.name for arm in split.challengers)]
    by_name = {name: _arm(name, sums.get(name, {}), usage.get(name, UsageStats())) for name in names}
    baseline, arms = by_name[split.baseline], [by_name[arm.name] for arm in split.challengers]
    judged = [each for arm in arms for each in _verdicts(record, baseline, arm, len(arms))]
    weights = {arm.name: arm.weight for arm in split.challengers if arm.name not in split.stopped}
    weights[split.baseline] = 10_000 - sum(arm.weight for arm in split.challengers)
    subjects = {name: figures.subjects for name, figures in by_name.items()}
    waiting = [each.more_subjects for each in judged if each.metric == record.primary and each.more_subjects]
    days = (now - run.stepped_at) / timedelta(days=1)
    return RunFigures(
        at=now,
        step=run.step,
        baseline=baseline,
        arms=arms,
        verdicts=judged,
        mixed=mixed,
        # What was surely wrong once at this step stays in its sums.
        e_value=max(verdicts.mismatch(subjects, weights), _e_value_before(run)),
        days_left=verdicts.days_left(max(waiting, default=None), sum(subjects.values()), days),
        shadows=paired.read(run),
        is_simulation=UsageRollup.objects.filter(experiment_run=run.pk, is_simulation=True).exists(),
    )


def _e_value_before(run: ExperimentRun) -> float:
    """Return the evidence against the weights as it was read last at this step."""
    return float(run.figures.get("e_value") or 0.0) if run.figures.get("step") == run.step else 0.0


def _verdicts(record: ExperimentRecord, baseline: ArmFigures, arm: ArmFigures, arms: int) -> list[ArmVerdict]:
    """Judge an arm: the metric that decides at its level over all arms, the guardrails at theirs over all steps."""
    guarded = verdicts.GUARDRAIL_ALPHA / (len(record.guardrails) * arms * len(record.ramp))
    judged = []
    for metric in record.metrics:
        alpha = verdicts.ALPHA / arms if metric == record.primary else guarded
        try:
            judged.append(verdicts.compare(baseline, arm, metric, alpha=alpha, expected=record.expected_subjects))
        except (ArithmeticError, ValueError):
            # One that cannot be computed keeps no other from acting.
            logger.exception("experiment.metric_not_judged arm=%s metric=%s", arm.name, metric.name)
    return judged


def _sums(run: ExperimentRun) -> tuple[dict[str, dict[str, Sums]], int]:
    """Return the sums over subjects by arm and metric, and how many subjects are in none."""
    sums: dict[str, dict[str, Sums]] = {}
    converted: dict[tuple[str, str], int] = {}
    with connection.cursor() as cursor:
        place = {"run": run.pk, "step": run.step}
        cursor.execute(SUMS, place)
        for arm, metric, n, total, squares, above_zero in cursor.fetchall():
            is_bounded = metric not in ("cost", "calls")
            sums.setdefault(arm, {})[metric] = Sums(n, float(total), float(squares), is_bounded)
            converted[arm, metric] = above_zero
        cursor.execute(MIXED, place)
        (mixed,) = cursor.fetchone()
    for arm, of_arm in sums.items():
        for metric in run.metrics:
            if metric.startswith(CONVERSION) or metric == ERRORS:
                # Of whom nothing came, no conversion came; whose calls did not fail, had no error.
                hits = converted.get((arm, metric), 0)
                of_arm[metric] = Sums(of_arm["calls"].n, hits, hits, is_bounded=True)
    return sums, int(mixed)


def _usage(run: ExperimentRun) -> dict[str, UsageStats]:
    rows = UsageRollup.objects.filter(experiment_run=run.pk, experiment_step=run.step).order_by()
    by_arm: dict[str, list[UsageStats]] = {}
    for row in rows:
        by_arm.setdefault(row.arm, []).append(rollups.usage_in(row))
    return {arm: sum_usage(every) for arm, every in by_arm.items()}


def _arm(name: str, sums: Mapping[str, Sums], usage: UsageStats) -> ArmFigures:
    subjects = sums["calls"].n if "calls" in sums else 0
    failed_subjects = round(sums[ERRORS].total) if ERRORS in sums else 0
    return ArmFigures(name, subjects, usage.calls, usage.failed, failed_subjects, sums, usage.latencies)
