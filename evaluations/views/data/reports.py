"""Pages of the reports on a dataset: readiness and leakage."""

from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django_htmx.http import HttpResponseClientRefresh

from core.errors import Problem
from evaluations import tasks
from evaluations.api.reports import examples_of_findings
from evaluations.data_quality import reports
from evaluations.datasets import lifecycle as datasets
from evaluations.models import FindingKind, ReportKind, ReportState
from evaluations.views.data.datasets import heading, requested_version
from infra import charts
from infra.work import start
from registry.accounts.permissions import Actor
from registry.views.frame import done, in_project, only_post, page, page_url, refused

MAX_FINDINGS_SHOWN = 20


@in_project
def report_panel(request: HttpRequest, actor: Actor, name: str, kind: str) -> HttpResponse:
    """Show the progress of a report to a page that waits; the page is reloaded once it is done."""
    version = datasets.get_version(actor.project, name, "latest")
    report = reports.newest_report(version, ReportKind(kind)) if kind in ReportKind.values else None
    if report is None or report.state in (ReportState.DONE, ReportState.FAILED):
        return HttpResponseClientRefresh()
    before = reports.reports_before(report) if report.state == ReportState.PENDING else 0
    context = {"project": actor.project, "dataset": version.dataset, "report": report, "before": before}
    return render(request, "evaluations/datasets/_report_wait.html", context)


@in_project
def readiness(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    context = heading(actor, name, "readiness")
    version = requested_version(request, actor, context["dataset"])
    report = reports.newest_report(version, ReportKind.READINESS) if version else None
    context |= {"version": version, "report": report}
    if report and report.result:
        bars = [(_range(bar), bar["count"]) for bar in report.result["lengths"]]
        context["lengths"] = charts.bar_chart("lengths", "Length of the input, in characters", bars, unit="cases")
    return page(request, actor, "evaluations/datasets/readiness.html", context)


def _range(bar: dict[str, int]) -> str:
    return f"from {bar['from']:,}"


@in_project
def leakage(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    context = heading(actor, name, "leakage")
    version = requested_version(request, actor, context["dataset"])
    context["version"] = version
    if version:
        kind = request.GET.get("kind", "")
        kind = kind if kind in FindingKind.values else ""
        report = reports.newest_done_report(version, ReportKind.LEAKAGE)
        context |= {
            "newest": reports.newest_report(version, ReportKind.LEAKAGE),
            "report": report,
            "leakage_status": reports.leakage_status(version),
            "kind": kind,
            "kinds": _kinds(report.result["counts"]) if report else [],
        }
        if report:
            rows = report.findings.select_related("held_out", "other").order_by("-is_leak", "id")
            rows = rows.filter(kind=kind) if kind else rows
            findings = Paginator(rows, MAX_FINDINGS_SHOWN).get_page(request.GET.get("page"))
            examples = examples_of_findings(findings)
            pairs = [(row, examples.get((row.example_set_id or 0, row.position or 0))) for row in findings]
            context |= {"page": findings, "pairs": pairs}
    return page(request, actor, "evaluations/datasets/leakage.html", context)


def _kinds(counts: dict[str, int]) -> list[dict[str, Any]]:
    return [{"kind": kind.value, "label": kind.label, "count": counts.get(kind.value, 0)} for kind in FindingKind]


@in_project
@only_post
def leakage_ask(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """Check again."""
    version = datasets.get_version(actor.project, name, "latest")
    report = reports.request_report(actor, version, ReportKind.LEAKAGE)
    start(tasks.make_report, report.pk)
    return done(request, "Check started", page_url("evaluations:leakage", actor, name))


@in_project
@only_post
def leakage_override(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    version = datasets.get_version(actor.project, name, "latest")
    try:
        reports.override_leakage(actor, version, reason=request.POST.get("reason", ""))
    except Problem as problem:
        return refused(request, problem, page_url("evaluations:leakage", actor, name))
    return done(
        request,
        "Leaks allowed for this version; the reason is recorded",
        page_url("evaluations:leakage", actor, name),
    )
