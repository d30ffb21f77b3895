"""Reports over REST: readiness, leakage, its findings, and an admin's override."""

from collections.abc import Iterable
from typing import Any

from django.db.models import Q
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from core.errors import Problem
from evaluations import tasks
from evaluations.api.serializers import reports as serializers
from evaluations.data_quality import reports
from evaluations.datasets import lifecycle as datasets
from evaluations.models import DatasetVersion, Finding, FindingKind, ReportKind
from infra.serializer_fields import EmptyInput
from infra.work import start
from registry.accounts.permissions import Right
from registry.api.base import ProjectListView, ProjectView
from registry.models import ExamplePlace


def leakage_document(version: DatasetVersion) -> dict[str, Any]:
    status = reports.leakage_status(version)
    newest = reports.newest_report(version, ReportKind.LEAKAGE)
    override = status.override
    return {
        "report": serializers.ReportSerializer(newest).data if newest else None,
        "leaked": status.leaked,
        "blocks_fine_tuning": status.blocks_fine_tuning,
        "reason": status.reason,
        "override": {"reason": override.reason, "by": override.by_name} if override else None,
    }


def examples_of_findings(findings: Iterable[Finding]) -> dict[tuple[int, int], dict[str, Any]]:
    """Return the examples that findings are about, by set version and position."""
    matching = Q(pk__in=[])
    for finding in findings:
        if finding.example_set_id and finding.position:
            matching |= Q(version=finding.example_set_id, position=finding.position)
    places = ExamplePlace.objects.filter(matching).select_related("example", "version__example_set")
    return {
        (place.version_id, place.position): {
            "set": place.version.example_set.name,
            "number": place.version.number,
            "position": place.position,
            "input": place.example.input,
        }
        for place in places
    }


class LeakageReport(ProjectView):
    @extend_schema(operation_id="leakage_read", responses=serializers.LeakageSerializer)
    def get(self, request: Request, name: str, selector: str) -> Response:
        """Read whether training data or examples show a version's test cases, and what that blocks."""
        return Response(leakage_document(datasets.get_version(self.actor.project, name, selector)))

    @extend_schema(operation_id="leakage_request", request=EmptyInput, responses={202: serializers.LeakageSerializer})
    def post(self, request: Request, name: str, selector: str) -> Response:
        """Look for leaks again, for example because an example set has changed."""
        version = datasets.get_version(self.actor.project, name, selector)
        report = reports.request_report(self.actor, version, ReportKind.LEAKAGE)
        start(tasks.make_report, report.pk)
        return Response(leakage_document(version), status=202)


class LeakageFindings(ProjectListView[Finding]):
    query_members = ("kind",)
    queryset = Finding.objects.none()
    serializer_class = serializers.FindingSerializer
    ordering = ("id",)

    @extend_schema(
        operation_id="leakage_findings",
        responses=serializers.FindingSerializer(many=True),
        parameters=[OpenApiParameter("kind", str, enum=FindingKind.values)],
    )
    def get(self, request: Request, name: str, selector: str) -> Response:
        """List the findings of the newest finished report, each with both rows."""
        report = reports.newest_done_report(
            datasets.get_version(self.actor.project, name, selector), ReportKind.LEAKAGE
        )
        if report is None:
            raise Problem("report.not_found", "This version has no leakage report yet.")
        rows = report.findings.select_related("held_out", "other")
        kind = request.query_params.get("kind", "")
        page = self.paginate_queryset(rows.filter(kind=kind) if kind in FindingKind.values else rows) or []
        context = {**self.get_serializer_context(), "examples": examples_of_findings(page)}
        return self.get_paginated_response(serializers.FindingSerializer(page, many=True, context=context).data)


class LeakageOverrideView(ProjectView):
    write_right = Right.ADMINISTER

    @extend_schema(
        operation_id="leakage_override",
        request=serializers.LeakageOverrideInput,
        responses=serializers.LeakageSerializer,
    )
    def post(self, request: Request, name: str, selector: str) -> Response:
        """Allow a version to be used in spite of its leaks; for admins, with a reason, audited."""
        body = serializers.LeakageOverrideInput.read(request)
        version = datasets.get_version(self.actor.project, name, selector)
        reports.override_leakage(self.actor, version, reason=body["reason"])
        return Response(leakage_document(version))


class ReadinessReport(ProjectView):
    @extend_schema(operation_id="readiness_read", responses=serializers.ReportSerializer)
    def get(self, request: Request, name: str, selector: str) -> Response:
        """Read whether the data is good enough to tune and measure with, and what to fix first."""
        report = reports.newest_report(datasets.get_version(self.actor.project, name, selector), ReportKind.READINESS)
        if report is None:
            raise Problem("report.not_found", "This version has no report.")
        return Response(serializers.ReportSerializer(report).data)
