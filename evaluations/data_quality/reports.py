"""Reports on a dataset's version: what workers write, where it stands, and an admin's override."""

import logging
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Count, F, Q, QuerySet
from django.utils import timezone

from core.errors import Problem
from evaluations.data_quality import readiness
from evaluations.data_quality.leakage import Search
from evaluations.models import Case, DatasetVersion, LeakageOverride, Report, ReportKind, ReportState
from evaluations.models.reports import REPORT_OPEN
from infra import work
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right

logger = logging.getLogger(__name__)

SILENCE = timedelta(minutes=10)
BATCH = 5_000
REPEATED = """
SELECT coalesce(sum(often - 1), 0), coalesce(sum(often) FILTER (WHERE answers > 1), 0) FROM (
    SELECT count(*) AS often, count(DISTINCT there.expected) AS answers FROM ({there}) there
    GROUP BY there.input_hash HAVING count(*) > 1
) found
"""


@dataclass(frozen=True)
class Standing:
    """Whether a version's test cases may be relied on. `report` is the newest that is done, if there is one."""

    report: Report | None
    override: LeakageOverride | None
    is_looking: bool = False

    @property
    def leaked(self) -> int:
        return int(self.report.result.get("leaked", 0)) if self.report else 0

    @property
    def blocks_fine_tuning(self) -> bool:
        """What nobody has looked at blocks as well."""
        return self.override is None and (self.report is None or self.leaked > 0)

    @property
    def reason(self) -> str:
        if self.report is None:
            return "Leaks are being looked for." if self.is_looking else "Nobody has looked for leaks yet."
        if not self.leaked:
            return "No test case has leaked."
        shown = f"{self.leaked:,} test cases are" if self.leaked > 1 else "1 test case is"
        said = f" {self.override.by_name} allowed it: {self.override.reason}" if self.override else ""
        return f"{shown} shown by training data or examples as well.{said}"


def newest(version: DatasetVersion, kind: ReportKind) -> Report | None:
    """The newest report of a kind, done or not."""
    return Report.objects.filter(version=version, kind=kind).order_by("-id").first()


def done(version: DatasetVersion, kind: ReportKind) -> Report | None:
    """The newest report of a kind that is done."""
    return Report.objects.filter(version=version, kind=kind, state=ReportState.DONE).order_by("-id").first()


def standing(version: DatasetVersion) -> Standing:
    report = done(version, ReportKind.LEAKAGE)
    if report is None:
        there = Report.objects.filter(version=version, kind=ReportKind.LEAKAGE, state__in=REPORT_OPEN)
        return Standing(None, None, is_looking=there.exists())
    return Standing(report, report.overrides.order_by("-id").first())


def require_clean(version: DatasetVersion) -> None:
    """`leakage.unknown` or `leakage.found` where a version's test cases may not be relied on."""
    found = standing(version)
    if found.blocks_fine_tuning:
        code = "leakage.found" if found.report else "leakage.unknown"
        raise Problem(code, found.reason, leaked=found.leaked)


def leaked_cases(version: DatasetVersion) -> set[int]:
    """Keys of the test cases that have leaked (as many as are kept), to be marked where they are measured on."""
    report = done(version, ReportKind.LEAKAGE)
    return set(report.result.get("leaked_cases", ())) if report else set()


@transaction.atomic
def ask(actor: Actor, version: DatasetVersion, kind: ReportKind) -> Report:
    """Have a report made anew, for example because an example set has changed; one that is under way is the answer."""
    actor.require(Right.EDIT)
    open_one = Report.objects.select_for_update().filter(version=version, kind=kind, state__in=REPORT_OPEN).first()
    return open_one or Report.objects.create(version=version, kind=kind)


@transaction.atomic
def override(actor: Actor, version: DatasetVersion, *, reason: str) -> LeakageOverride:
    """Allow a version to be used in spite of its leaks; for admins, with a written reason, for good in the audit log.

    It holds for what the newest report found: another report needs another decision.
    """
    actor.require(Right.ADMINISTER)
    if not reason.strip():
        raise Problem("promotion.reason_required", "Say why it may be used in spite of the leaks.")
    found = standing(version)
    if found.report is None:
        raise Problem("leakage.unknown", found.reason)
    if not found.leaked:
        raise Problem("leakage.nothing_to_override", found.reason)
    made = LeakageOverride.objects.create(
        version=version, report=found.report, reason=reason.strip()[:5_000], by=actor.user, by_name=actor.name
    )
    after = {"reason": made.reason, "leaked": found.leaked}
    audit.record(actor, "leakage.overridden", version, after=after)
    return made


def open_work() -> QuerySet[Report]:
    """What waits for a worker, or was left by one that died."""
    dead = timezone.now() - SILENCE
    return Report.objects.filter(
        Q(state=ReportState.PENDING) | Q(state=ReportState.RUNNING, beat_at__lt=dead)
    ).order_by("id")


def perform(report: Report) -> None:
    """Make a report; does nothing where another worker does it already."""
    mine = open_work().filter(pk=report.pk)
    if mine.update(state=ReportState.RUNNING, beat_at=timezone.now(), attempts=F("attempts") + 1) != 1:
        return
    report.refresh_from_db(fields=["attempts"])
    work.carry_out(
        report,
        lambda: _make(report),
        lambda sentence: _finish(report, ReportState.FAILED, error=sentence),
    )


def _make(report: Report) -> None:
    search = Search(report, lambda words: _tell(report, words)) if report.kind == ReportKind.LEAKAGE else None
    result = search.run() if search else _readiness(report)
    # The findings and that they are all there: a worker that dies leaves no half of them behind.
    with transaction.atomic():
        if search:
            search.keep()
        _finish(report, ReportState.DONE, result=result)


def _tell(report: Report, words: str) -> None:
    Report.objects.filter(pk=report.pk).update(progress=words, beat_at=timezone.now())


def _finish(report: Report, state: ReportState, **members: Any) -> None:
    Report.objects.filter(pk=report.pk).update(state=state, progress="", finished_at=timezone.now(), **members)
    logger.info("report.%s report=%s kind=%s", state, report.pk, report.kind)


def _readiness(report: Report) -> dict[str, Any]:
    survey = readiness.Survey()
    cases = Case.objects.of(report.version).order_by("id").values_list("pk", "variables", "expected", "label", "split")
    for key, variables, expected, label, split in cases.iterator(chunk_size=BATCH):
        survey.add(key, variables, expected, label, split)
    there, values = Case.objects.of(report.version).values("input_hash", "expected").query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(REPEATED.format(there=there), values)
        repeated, contradictory = (int(value) for value in cursor.fetchone())
    splits = Case.objects.of(report.version).filter(tags__contains=["edge-case"]).values("split")
    edges = dict(splits.annotate(count=Count("pk")).order_by("split").values_list("split", "count"))
    return {**readiness.report(survey, repeated=repeated, contradictory=contradictory), "edge_cases": edges}
