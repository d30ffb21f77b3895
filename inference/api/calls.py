"""Live calls, their usage, and monitors over REST."""

import re
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from core.errors import Problem
from core.references import DEFAULT_ENVIRONMENT
from inference.api import serializers
from inference.calls import log as call_log
from inference.calls.usage_stats import IntervalEstimate, UsageStats
from inference.models import Call, Monitor
from inference.monitoring import monitors, usage
from infra.serializer_fields import EmptyInput
from registry.accounts.permissions import Right
from registry.api.base import ProjectListView, ProjectView
from registry.prompts import lifecycle as prompts


def usage_as_dict(stats: UsageStats) -> dict[str, Any]:
    """Return what calls add up to, as JSON."""
    quantiles = {f"p{share * 100:.0f}": _estimate_as_dict(stats.latency(share)) for share in (0.5, 0.9, 0.99)}
    return {
        "calls": stats.calls,
        "tokens_in": stats.tokens_in,
        "tokens_cached": stats.tokens_cached,
        "tokens_out": stats.tokens_out,
        "tokens_reasoning": stats.tokens_reasoning,
        "cost_usd": stats.cost_usd,
        "cost_per_call_usd": stats.cost_per_call(),
        "latency_ms": {"mean": stats.mean_latency(), **quantiles},
        "format_adherence": _estimate_as_dict(stats.format_rate()),
        "failures": _estimate_as_dict(stats.failure_rate()),
        "score": _estimate_as_dict(stats.score()),
    }


def _estimate_as_dict(estimate: IntervalEstimate | None) -> dict[str, Any] | None:
    return estimate.as_dict() if estimate else None


class CallList(ProjectListView[Call]):
    query_members = ("prompt", "environment")
    queryset = Call.objects.none()
    serializer_class = serializers.CallSerializer
    ordering = ("-id",)
    write_right = Right.OBSERVE

    @extend_schema(
        operation_id="calls_list",
        parameters=[OpenApiParameter("prompt", str), OpenApiParameter("environment", str)],
        responses=serializers.CallSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """List calls as they were reported, newest first."""
        rows: QuerySet[Call] = Call.objects.filter(project=self.actor.project)
        filters = {
            "version__prompt__name": request.query_params.get("prompt"),
            "environment": request.query_params.get("environment"),
        }
        rows = rows.filter(**{name: value for name, value in filters.items() if value})
        rows = rows.select_related("version__prompt").defer("version__content").order_by("-id")
        return self.page(rows)

    @extend_schema(
        operation_id="calls_record",
        request=serializers.CallsInput,
        responses={201: serializers.RecordedCallsSerializer},
    )
    def post(self, request: Request) -> Response:
        """Report live calls, up to 1,000 at once; all are recorded, or none. One that was sent before counts once."""
        sent = request.data.get("observations") if isinstance(request.data, dict) else None
        if isinstance(sent, list) and len(sent) > call_log.MAX_BATCH_SIZE:
            raise Problem("request.invalid", f"Send 1 to {call_log.MAX_BATCH_SIZE:,} observations at once.")
        body = serializers.CallsInput.read(request)
        result = call_log.record(self.actor, body["observations"])
        return Response({"taken": result.recorded, "known": result.repeated}, status=201)


class PromptUsage(ProjectView):
    query_members = ("environment", "days")

    @extend_schema(
        operation_id="prompts_usage",
        parameters=[OpenApiParameter("environment", str), OpenApiParameter("days", int)],
        responses=serializers.PromptUsageSerializer,
    )
    def get(self, request: Request, name: str) -> Response:
        """Read the usage of a prompt's live calls, by version, and whether they drift."""
        days = request.query_params.get("days", str(usage.DEFAULT_DAYS))
        if not re.fullmatch(r"[0-9]{1,3}", days) or not 1 <= int(days) <= usage.MAX_DAYS:
            raise Problem("request.invalid", f"days is a whole number from 1 to {usage.MAX_DAYS}.")
        environment = request.query_params.get("environment") or DEFAULT_ENVIRONMENT
        prompt_usage = usage.usage_of_prompt(prompts.get_prompt(self.actor.project, name), environment, int(days))
        document = {
            "environment": prompt_usage.environment,
            "since": prompt_usage.since,
            "until": prompt_usage.until,
            "is_simulation": prompt_usage.is_simulation,
            "calls_a_month": _estimate_as_dict(prompt_usage.calls_a_month()),
            "tokens_a_month": _estimate_as_dict(prompt_usage.tokens_a_month()),
            "total": usage_as_dict(prompt_usage.total),
            "versions": [
                {"version": str(version), "figures": usage_as_dict(stats)} for version, stats in prompt_usage.versions
            ],
            "drift": [drift.as_dict() for drift in prompt_usage.drifts],
        }
        return Response(serializers.PromptUsageSerializer(document).data)


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
        monitor = monitors.create(self.actor, prompt, **monitors.read_request(body))
        monitor = monitors.get_monitor(self.actor.project, monitor.pk)
        return Response(dict(serializers.MonitorSerializer(monitor).data), status=201)


class MonitorRemove(ProjectView):
    @extend_schema(operation_id="monitors_remove", request=EmptyInput, responses={204: None})
    def post(self, request: Request, key: int) -> Response:
        """Remove a monitor."""
        monitors.remove(self.actor, monitors.get_monitor(self.actor.project, key))
        return Response(status=204)
