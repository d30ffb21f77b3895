"""Reports over REST: readiness, leakage, its findings, and an admin's override."""

from collections.abc import Iterable
from typing import Any

from django.db.models import Q
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.errors import Problem
from evaluations import tasks
from evaluations.api import serializers as shapes
from evaluations.data_quality import reports
from evaluations.datasets import lifecycle as datasets
from evaluations.models import DatasetVersion, Finding, FindingKind, ReportKind
from registry.accounts.permissions import Right
from registry.api.authentication import actor_of
from registry.api.serializers import NothingInput
from registry.models import ExamplePlace
from registry.tasks import start


def leakage_document(version: DatasetVersion) -> dict[str, Any]:
    found = reports.standing(version)
    newest = reports.newest(version, ReportKind.LEAKAGE)
    override = found.override
    return {
        "report": shapes.ReportSerializer(newest).data if newest else None,
        "leaked": found.leaked,
        "blocks_fine_tuning": found.blocks_fine_tuning,
        "reason": found.reason,
        "override": {"reason": override.reason, "by": override.by_name} if override else None,
    }


def shown_examples(findings: Iterable[Finding]) -> dict[tuple[int, int], dict[str, Any]]:
    """The examples that findings speak of, by set version and position."""
    wanted = Q(pk__in=[])
    for finding in findings:
        if finding.example_set_id and finding.position:
            wanted |= Q(version=finding.example_set_id, position=finding.position)
    places = ExamplePlace.objects.filter(wanted).select_related("example", "version__example_set")
    return {
        (place.version_id, place.position): {
            "set": place.version.example_set.name,
            "number": place.version.number,
            "position": place.position,
            "input": place.example.input,
        }
        for place in places
    }


class LeakageReport(APIView):
    @extend_schema(operation_id="leakage_read", responses=shapes.LeakageSerializer)
    def get(self, request: Request, name: str, selector: str) -> Response:
        """Whether a version's test cases are shown by training data or examples, and what follows from it."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        return Response(leakage_document(datasets.selected(actor.project, name, selector)))

    @extend_schema(operation_id="leakage_ask", request=NothingInput, responses={202: shapes.LeakageSerializer})
    def post(self, request: Request, name: str, selector: str) -> Response:
        """Look for leaks again, for example because an example set has changed."""
        actor = actor_of(request)
        version = datasets.selected(actor.project, name, selector)
        report = reports.ask(actor, version, ReportKind.LEAKAGE)
        start(tasks.make_report, report.pk)
        return Response(leakage_document(version), status=202)


class LeakageFindings(generics.GenericAPIView[Finding]):
    queryset = Finding.objects.none()
    serializer_class = shapes.FindingSerializer
    filter_backends = ()
    ordering = ("id",)

    @extend_schema(
        operation_id="leakage_findings",
        responses=shapes.FindingSerializer(many=True),
        parameters=[OpenApiParameter("kind", str, enum=FindingKind.values)],
    )
    def get(self, request: Request, name: str, selector: str) -> Response:
        """The pairs of the newest finished report, each with both rows."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        report = reports.done(datasets.selected(actor.project, name, selector), ReportKind.LEAKAGE)
        if report is None:
            raise Problem("report.not_found", "Nobody has looked for leaks yet.")
        rows = report.findings.select_related("held", "other")
        kind = request.query_params.get("kind", "")
        page = self.paginate_queryset(rows.filter(kind=kind) if kind in FindingKind.values else rows) or []
        context = {**self.get_serializer_context(), "examples": shown_examples(page)}
        return self.get_paginated_response(shapes.FindingSerializer(page, many=True, context=context).data)


class LeakageOverrideView(APIView):
    @extend_schema(operation_id="leakage_override", request=shapes.ReasonInput, responses=shapes.LeakageSerializer)
    def post(self, request: Request, name: str, selector: str) -> Response:
        """Allow a version to be used in spite of its leaks; for admins, with a reason, audited."""
        asked = shapes.ReasonInput.read(request)
        actor = actor_of(request)
        version = datasets.selected(actor.project, name, selector)
        reports.override(actor, version, reason=asked["reason"])
        return Response(leakage_document(version))


class ReadinessReport(APIView):
    @extend_schema(operation_id="readiness_read", responses=shapes.ReportSerializer)
    def get(self, request: Request, name: str, selector: str) -> Response:
        """Whether the data is good enough to tune and measure with, and what to fix first."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        report = reports.newest(datasets.selected(actor.project, name, selector), ReportKind.READINESS)
        if report is None:
            raise Problem("report.not_found", "This version has no report.")
        return Response(shapes.ReportSerializer(report).data)
