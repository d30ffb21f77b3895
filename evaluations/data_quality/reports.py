"""Reports on a dataset's version: written by workers, with an admin's override of leakage."""

import logging
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.db.models import Count, QuerySet

from core.errors import Problem
from evaluations.data_quality import readiness
from evaluations.data_quality.leakage import LeakageSearch
from evaluations.models import Case, DatasetVersion, LeakageOverride, Report, ReportKind, ReportState
from evaluations.models.reports import REPORT_OPEN
from infra import work
from infra.work import Lease
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right

logger = logging.getLogger(__name__)

BATCH = 5_000
COUNT_REPEATED = """
SELECT coalesce(sum(often - 1), 0), coalesce(sum(often) FILTER (WHERE answers > 1), 0) FROM (
    SELECT count(*) AS often, count(DISTINCT existing.expected) AS answers FROM ({existing}) existing
    GROUP BY existing.input_hash HAVING count(*) > 1
) repeated
"""


@dataclass(frozen=True)
class LeakageStatus:
    """Leakage of a version's test cases. `report` is the newest that is done, if there is one."""

    report: Report | None
    override: LeakageOverride | None
    is_searching: bool = False

    @property
    def leaked(self) -> int:
        return int(self.report.result.get("leaked", 0)) if self.report else 0

    @property
    def blocks_fine_tuning(self) -> bool:
        """Return whether fine-tuning is refused; it is before the first report, too."""
        return self.override is None and (self.report is None or self.leaked > 0)

    @property
    def reason(self) -> str:
        if self.report is None:
            return "The search for leaks is running." if self.is_searching else "Leaks have not been searched for yet."
        if not self.leaked:
            return "No test case has leaked."
        cases = f"{self.leaked:,} test cases are" if self.leaked > 1 else "1 test case is"
        permission = f" {self.override.by_name} allowed it: {self.override.reason}" if self.override else ""
        return f"{cases} also in training data or examples.{permission}"


def newest_report(version: DatasetVersion, kind: ReportKind) -> Report | None:
    """Return the newest report of a kind, done or not."""
    return Report.objects.filter(version=version, kind=kind).order_by("-id").first()


def newest_done_report(version: DatasetVersion, kind: ReportKind) -> Report | None:
    """Return the newest report of a kind that is done."""
    return Report.objects.filter(version=version, kind=kind, state=ReportState.DONE).order_by("-id").first()


def leakage_status(version: DatasetVersion) -> LeakageStatus:
    report = newest_done_report(version, ReportKind.LEAKAGE)
    if report is None:
        open_reports = Report.objects.filter(version=version, kind=ReportKind.LEAKAGE, state__in=REPORT_OPEN)
        return LeakageStatus(None, None, is_searching=open_reports.exists())
    return LeakageStatus(report, report.overrides.order_by("-id").first())


def require_no_leaks(version: DatasetVersion) -> None:
    """Raise `leakage.unknown` or `leakage.found` where fine-tuning on a version is refused."""
    status = leakage_status(version)
    if status.blocks_fine_tuning:
        code = "leakage.found" if status.report else "leakage.unknown"
        raise Problem(code, status.reason, leaked=status.leaked)


def leaked_cases(version: DatasetVersion) -> set[int]:
    """Return the keys of leaked test cases (as many as are stored), to flag or exclude them in runs."""
    report = newest_done_report(version, ReportKind.LEAKAGE)
    return set(report.result.get("leaked_cases", ())) if report else set()


@transaction.atomic
def request_report(actor: Actor, version: DatasetVersion, kind: ReportKind) -> Report:
    """Request a new report, for example after a change of an example set; an open one is returned instead."""
    actor.require(Right.EDIT)
    open_one = Report.objects.select_for_update().filter(version=version, kind=kind, state__in=REPORT_OPEN).first()
    return open_one or Report.objects.create(version=version, kind=kind)


@transaction.atomic
def override_leakage(actor: Actor, version: DatasetVersion, *, reason: str) -> LeakageOverride:
    """Allow a version to be used in spite of its leaks; for admins, with a reason, which the audit log keeps.

    It holds for what the newest report found: another report needs another decision.
    """
    actor.require(Right.ADMINISTER)
    if not reason.strip():
        raise Problem("promotion.reason_required", "Give a reason why it may be used in spite of the leaks.")
    status = leakage_status(version)
    if status.report is None:
        raise Problem("leakage.unknown", status.reason)
    if not status.leaked:
        raise Problem("leakage.nothing_to_override", status.reason)
    leakage_override = LeakageOverride.objects.create(
        version=version, report=status.report, reason=reason.strip()[:5_000], by=actor.user, by_name=actor.name
    )
    after = {"reason": leakage_override.reason, "leaked": status.leaked}
    audit.record(actor, "leakage.overridden", version, after=after)
    return leakage_override


def claimable_reports() -> QuerySet[Report]:
    """Return what waits for a worker, or was left by one that went silent."""
    return Report.objects.filter(Report.claimable()).order_by("id")


def make_report(report: Report) -> None:
    """Make a report; does nothing where another worker holds it."""
    lease = work.claim(report)
    if lease:
        work.run(lease, lambda: _make_report(lease))


def _make_report(lease: Lease[Report]) -> None:
    report = lease.item
    if report.kind != ReportKind.LEAKAGE:
        lease.finish(ReportState.DONE, result=_readiness(report), progress="")
        return

    def say(sentence: str) -> None:
        _stop_if_superseded(report)
        lease.save(progress=sentence)

    search = LeakageSearch(report, say)
    result = search.run()
    # The findings and the end of the report together: a worker that dies or loses its lease leaves none behind.
    with transaction.atomic():
        search.save_findings()
        lease.finish(ReportState.DONE, result=result, progress="")


def _stop_if_superseded(report: Report) -> None:
    """Raise `report.superseded` where a newer version came after the report was asked for: its own report is what
    counts, and waits for this worker. What is asked for afterwards of an old version is made; so is the report after
    one that came to nothing, because versions may come faster than reports."""
    before = Report.objects.filter(version__dataset=report.version.dataset_id, kind=report.kind, id__lt=report.pk)
    previous = before.order_by("-id").first()
    if previous and previous.state == ReportState.FAILED:
        return
    newer = DatasetVersion.objects.filter(
        dataset=report.version.dataset_id, number__gt=report.version.number, created_at__gt=report.created_at
    ).order_by("-number")
    if version := newer.first():
        raise Problem("report.superseded", f"Version {version.number} was created while this report was made.")


def reports_before(report: Report) -> int:
    """Return how many reports are made before one that waits."""
    return Report.objects.filter(state__in=REPORT_OPEN, id__lt=report.pk).count()


def _readiness(report: Report) -> dict[str, Any]:
    survey = readiness.Survey()
    cases = Case.objects.of(report.version).order_by("id").values_list("pk", "variables", "expected", "label", "split")
    for key, variables, expected, label, split in cases.iterator(chunk_size=BATCH):
        survey.add(key, variables, expected, label, split)
    query, values = Case.objects.of(report.version).values("input_hash", "expected").query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(COUNT_REPEATED.format(existing=query), values)
        repeated, contradictory = (int(value) for value in cursor.fetchone())
    splits = Case.objects.of(report.version).filter(tags__contains=["edge-case"]).values("split")
    edges = dict(splits.annotate(count=Count("pk")).order_by("split").values_list("split", "count"))
    return {**readiness.report(survey, repeated=repeated, contradictory=contradictory), "edge_cases": edges}
