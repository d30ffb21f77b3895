"""Observations, live figures and monitors over REST."""

import re
from typing import Any

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics, serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.errors import Problem
from core.references import DEFAULT_ENVIRONMENT
from inference.calls import log as call_log
from inference.monitoring import usage
from inference.calls.usage_stats import Measured, Traffic
from inference.models import Monitor, Call
from inference.monitoring import monitors
from infra.serializer_fields import Input, ObjectField, Text
from registry.accounts.permissions import Right
from registry.api.authentication import actor_of
from registry.api.serializers import NothingInput
from registry.prompts import lifecycle as prompts

PLACES = 8


class ObservationInput(Input):
    id = Text(max_length=64, required=False, help_text="Your own name of the call: sent again, it counts once.")
    prompt = Text(max_length=300, allow_blank=False, help_text="support.route@3, or support.route@sha256:…")
    environment = Text(max_length=60, required=False, default=DEFAULT_ENVIRONMENT)
    at = serializers.DateTimeField(required=False, allow_null=True, help_text="Now where it is not given.")
    model = Text(max_length=200, required=False, default="", help_text="The model that answered.")
    failed = serializers.BooleanField(required=False, default=False)
    latency_ms = serializers.FloatField(required=False, allow_null=True)
    tokens_in = serializers.IntegerField(required=False, allow_null=True)
    tokens_out = serializers.IntegerField(required=False, allow_null=True)
    cost_usd = serializers.DecimalField(
        max_digits=14, decimal_places=PLACES, required=False, allow_null=True, help_text="Worked out where it can be."
    )
    format_ok = serializers.BooleanField(required=False, allow_null=True, default=None)
    score = serializers.FloatField(required=False, allow_null=True, help_text="From 0 to 1.")
    label = Text(  # type: ignore[assignment]
        max_length=100, required=False, default="", help_text="What was chosen, of a classifier."
    )


class ObservationsInput(Input):
    observations = ObservationInput(many=True, allow_empty=True)


class RecordedSerializer(serializers.Serializer[Any]):
    taken = serializers.IntegerField()
    known = serializers.IntegerField(help_text="Sent before; they count once.")


class ObservationSerializer(serializers.ModelSerializer[Call]):
    id = serializers.CharField(source="reference")
    prompt = serializers.CharField(source="version")
    model = serializers.CharField(source="model_name")

    class Meta:
        model = Call
        fields = [
            *("id", "prompt", "environment", "at", "model", "failed", "latency_ms", "tokens_in", "tokens_out"),
            *("cost_usd", "format_ok", "score", "label", "is_simulation"),
        ]


class FiguresSerializer(serializers.Serializer[Any]):
    calls = serializers.IntegerField()
    tokens_in = serializers.IntegerField()
    tokens_out = serializers.IntegerField()
    cost_usd = serializers.FloatField(help_text="Of the calls whose cost is known.")
    cost_per_call_usd = serializers.FloatField(allow_null=True)
    latency_ms = ObjectField(help_text="mean, p50, p90, p99; each quantile with its interval.")
    format_adherence = ObjectField(allow_null=True)
    failures = ObjectField(allow_null=True)
    score = ObjectField(allow_null=True)


class VersionFiguresSerializer(serializers.Serializer[Any]):
    version = serializers.CharField()
    figures = FiguresSerializer()


class LiveCallsSerializer(serializers.Serializer[Any]):
    environment = serializers.CharField()
    since = serializers.DateField()
    until = serializers.DateField()
    is_simulation = serializers.BooleanField()
    calls_a_month = ObjectField(allow_null=True)
    tokens_a_month = ObjectField(allow_null=True)
    total = FiguresSerializer()
    versions = VersionFiguresSerializer(many=True)
    drift = serializers.ListField(child=ObjectField(), help_text="The last seven days against those before.")


class MonitorInput(Input):
    prompt = Text(max_length=200, allow_blank=False)
    figure = serializers.ChoiceField([(name, one.title) for name, one in monitors.WATCHED.items()])
    bound = serializers.FloatField(help_text="The least, of shares and scores; the most, of all others.")
    environment = Text(max_length=60, required=False)
    hours = serializers.IntegerField(required=False)
    fewest = serializers.IntegerField(required=False, help_text="Calls, below which nothing is said.")


class MonitorSerializer(serializers.ModelSerializer[Monitor]):
    prompt = serializers.CharField()

    class Meta:
        model = Monitor
        fields = [
            *("id", "prompt", "environment", "figure", "bound", "hours", "fewest", "state", "value", "calls"),
            *("looked_at", "changed_at", "by_name", "created_at"),
        ]


def figures(traffic: Traffic) -> dict[str, Any]:
    """What calls came to, as JSON."""
    quantiles = {f"p{share * 100:.0f}": _told(traffic.latency(share)) for share in (0.5, 0.9, 0.99)}
    return {
        "calls": traffic.calls,
        "tokens_in": traffic.tokens_in,
        "tokens_out": traffic.tokens_out,
        "cost_usd": traffic.cost_usd,
        "cost_per_call_usd": traffic.cost_per_call(),
        "latency_ms": {"mean": traffic.mean_latency(), **quantiles},
        "format_adherence": _told(traffic.format_rate()),
        "failures": _told(traffic.failure_rate()),
        "score": _told(traffic.score()),
    }


def _told(measured: Measured | None) -> dict[str, Any] | None:
    return measured.as_dict() if measured else None


class ObservationList(generics.GenericAPIView[Call]):
    queryset = Call.objects.none()
    serializer_class = ObservationSerializer
    filter_backends = ()
    ordering = ("-id",)

    @extend_schema(
        operation_id="observations_list",
        parameters=[OpenApiParameter("prompt", str), OpenApiParameter("environment", str)],
        responses=ObservationSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """Calls as they were reported, newest first."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        rows: QuerySet[Call] = Call.objects.filter(project=actor.project)
        wanted = {
            "version__prompt__name": request.query_params.get("prompt"),
            "environment": request.query_params.get("environment"),
        }
        rows = rows.filter(**{name: value for name, value in wanted.items() if value})
        rows = rows.select_related("version__prompt").defer("version__content").order_by("-id")
        return self.get_paginated_response(self.get_serializer(self.paginate_queryset(rows), many=True).data)

    @extend_schema(operation_id="observations_record", request=ObservationsInput, responses={201: RecordedSerializer})
    def post(self, request: Request) -> Response:
        """Report live calls, up to 1,000 at once; all are taken, or none. What was sent before counts once."""
        actor = actor_of(request)
        actor.require(Right.OBSERVE)
        sent = request.data.get("observations") if isinstance(request.data, dict) else None
        if isinstance(sent, list) and len(sent) > call_log.MOST_AT_ONCE:
            raise Problem("request.invalid", f"Send 1 to {call_log.MOST_AT_ONCE:,} observations at once.")
        asked = ObservationsInput.read(request)
        found = call_log.record(actor, asked["observations"])
        return Response({"taken": found.taken, "known": found.known}, status=201)


class PromptLive(APIView):
    @extend_schema(
        operation_id="prompts_live",
        parameters=[OpenApiParameter("environment", str), OpenApiParameter("days", int)],
        responses=LiveCallsSerializer,
    )
    def get(self, request: Request, name: str) -> Response:
        """What a prompt's live calls come to, by version, and whether they are still what they were."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        days = request.query_params.get("days", str(usage.DAYS))
        if not re.fullmatch(r"[0-9]{1,3}", days) or not 1 <= int(days) <= usage.LONGEST:
            raise Problem("request.invalid", f"days is a whole number from 1 to {usage.LONGEST}.")
        environment = request.query_params.get("environment") or DEFAULT_ENVIRONMENT
        found = usage.of_prompt(prompts.named(actor.project, name), environment, int(days))
        document = {
            "environment": found.environment,
            "since": found.since,
            "until": found.until,
            "is_simulation": found.is_simulation,
            "calls_a_month": _told(found.calls_a_month()),
            "tokens_a_month": _told(found.tokens_a_month()),
            "total": figures(found.total),
            "versions": [{"version": str(one), "figures": figures(traffic)} for one, traffic in found.versions],
            "drift": [one.as_dict() for one in found.drifts],
        }
        return Response(LiveCallsSerializer(document).data)


class MonitorList(generics.GenericAPIView[Monitor]):
    queryset = Monitor.objects.none()
    serializer_class = MonitorSerializer
    filter_backends = ()
    ordering = ("id",)

    @extend_schema(
        operation_id="monitors_list",
        parameters=[OpenApiParameter("prompt", str), OpenApiParameter("state", str)],
        responses=MonitorSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """What is watched, and how it is."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        wanted = {
            "prompt__name": request.query_params.get("prompt"),
            "state": request.query_params.get("state"),
        }
        rows = monitors.in_use().filter(project=actor.project)
        rows = rows.filter(**{name: value for name, value in wanted.items() if value}).order_by("id")
        return self.get_paginated_response(self.get_serializer(self.paginate_queryset(rows), many=True).data)

    @extend_schema(operation_id="monitors_create", request=MonitorInput, responses={201: MonitorSerializer})
    def post(self, request: Request) -> Response:
        """Watch a figure of a prompt's live calls."""
        asked = MonitorInput.read(request)
        actor = actor_of(request)
        prompt = prompts.named(actor.project, asked["prompt"])
        made = monitors.create(actor, prompt, **monitors.asked_for(asked))
        return Response(dict(MonitorSerializer(monitors.numbered(actor.project, made.pk)).data), status=201)


class MonitorRemove(APIView):
    @extend_schema(operation_id="monitors_remove", request=NothingInput, responses={204: None})
    def post(self, request: Request, key: int) -> Response:
        """Watch it no more."""
        actor = actor_of(request)
        monitors.remove(actor, monitors.numbered(actor.project, key))
        return Response(status=204)
