"""Monitors of live calls and their alerts over REST."""

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from core.errors import Problem
from core.references import DEFAULT_ENVIRONMENT
from evaluations.runs import lifecycle as runs
from inference.api import serializers
from inference.models import Alert, Monitor
from inference.monitoring import alerts, monitors, watches
from infra.serializer_fields import EmptyInput
from registry.api.base import ProjectListView, ProjectView
from registry.prompts import lifecycle as prompts

STATES = ("open", "resolved")
MAX_WATCHES = 20


class MonitorList(ProjectListView[Monitor]):
    query_members = ("prompt", "state")
    queryset = Monitor.objects.none()
    serializer_class = serializers.MonitorSerializer
    ordering = ("id",)

    @extend_schema(
        operation_id="monitors_list",
        parameters=[OpenApiParameter("prompt", str), OpenApiParameter("state", str)],
        responses=serializers.MonitorSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """List monitors and their states."""
        filters = {
            "prompt__name": request.query_params.get("prompt"),
            "state": request.query_params.get("state"),
        }
        rows = monitors.active_monitors().filter(project=self.actor.project)
        rows = rows.filter(**{name: value for name, value in filters.items() if value}).order_by("id")
        return self.page(rows)

    @extend_schema(
        operation_id="monitors_create", request=serializers.MonitorInput, responses={201: serializers.MonitorSerializer}
    )
    def post(self, request: Request) -> Response:
        """Create a monitor of a figure of a prompt's live calls."""
        body = serializers.MonitorInput.read(request)
        prompt = prompts.get_prompt(self.actor.project, body["prompt"])
        members = monitors.read_request(body)
        if "run" in members:
            members["run"] = runs.get_run(self.actor.project, members["run"])
        monitor = monitors.create(self.actor, prompt, **members)
        monitor = monitors.get_monitor(self.actor.project, monitor.pk)
        return Response(dict(serializers.MonitorSerializer(monitor).data), status=201)


class MonitorRemove(ProjectView):
    @extend_schema(operation_id="monitors_remove", request=EmptyInput, responses={204: None})
    def post(self, request: Request, key: int) -> Response:
        """Remove a monitor."""
        monitors.remove(self.actor, monitors.get_monitor(self.actor.project, key))
        return Response(status=204)


class MonitorMute(ProjectView):
    @extend_schema(
        operation_id="monitors_mute", request=serializers.MonitorMuteInput, responses=serializers.MonitorSerializer
    )
    def post(self, request: Request, key: int) -> Response:
        """Open no alerts of a monitor for so many hours."""
        body = serializers.MonitorMuteInput.read(request)
        monitor = alerts.mute(self.actor, monitors.get_monitor(self.actor.project, key), body["hours"])
        return Response(serializers.MonitorSerializer(monitor).data)


class AlertList(ProjectListView[Alert]):
    query_members = ("state",)
    queryset = Alert.objects.none()
    serializer_class = serializers.AlertSerializer
    ordering = ("-id",)

    @extend_schema(
        operation_id="alerts_list",
        parameters=[OpenApiParameter("state", str, description="open or resolved.")],
        responses=serializers.AlertSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """List alerts, the newest first."""
        state = request.query_params.get("state", "")
        if state not in ("", *STATES):
            raise Problem("request.invalid", f"state is one of {', '.join(STATES)}.")
        rows: QuerySet[Alert] = alerts.alerts_of(self.actor.project)
        if state:
            rows = rows.filter(resolved_at__isnull=state == "open")
        return self.page(rows.order_by("-id"))


class AlertAcknowledge(ProjectView):
    @extend_schema(
        operation_id="alerts_acknowledge",
        request=serializers.AlertAcknowledgeInput,
        responses=serializers.AlertSerializer,
    )
    def post(self, request: Request, key: int) -> Response:
        """Say that somebody looks after an alert."""
        body = serializers.AlertAcknowledgeInput.read(request)
        alert = alerts.acknowledge(self.actor, alerts.get_alert(self.actor.project, key), body["note"])
        return Response(serializers.AlertSerializer(alert).data)


class AlertResolve(ProjectView):
    @extend_schema(operation_id="alerts_resolve", request=EmptyInput, responses=serializers.AlertSerializer)
    def post(self, request: Request, key: int) -> Response:
        """Close an alert; the next one comes when the figure has recovered and is beyond its bound again."""
        alert = alerts.resolve(self.actor, alerts.get_alert(self.actor.project, key))
        return Response(serializers.AlertSerializer(alert).data)


class ReleaseWatchList(ProjectView):
    query_members = ("environment",)

    @extend_schema(
        operation_id="prompts_watches",
        parameters=[OpenApiParameter("environment", str)],
        responses=serializers.ReleaseWatchSerializer(many=True),
    )
    def get(self, request: Request, name: str) -> Response:
        """List the newest watches of a prompt's releases: two weeks each, with what changed."""
        environment = request.query_params.get("environment") or DEFAULT_ENVIRONMENT
        rows = watches.watches_of(prompts.get_prompt(self.actor.project, name), environment)[:MAX_WATCHES]
        return Response([serializers.ReleaseWatchSerializer(watches.as_dict(watch)).data for watch in rows])
