"""Live calls, their usage, and monitors over REST."""

import re
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from core.errors import Fault, Problem
from core.references import DEFAULT_ENVIRONMENT
from inference.api import call_serializers, serializers
from inference.calls import log as call_log
from inference.calls import selection
from inference.models import Call
from inference.monitoring import usage
from inference.usage.estimates import IntervalEstimate
from inference.usage.stats import UsageStats
from infra.rest import CursorPagination
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
        "feedback": {name: _estimate_as_dict(stats.feedback_mean(name)) for name in sorted(stats.feedback)},
    }


def _estimate_as_dict(estimate: IntervalEstimate | None) -> dict[str, Any] | None:
    return estimate.as_dict() if estimate else None


class _CallLog(ProjectListView[Call]):
    query_members = tuple(selection.FILTERS)
    queryset = Call.objects.none()
    serializer_class = call_serializers.CallSerializer
    # As an index has them: most projects are a small part of all calls.
    ordering = ("-at", "-id")
    write_right = Right.OBSERVE

    def listed(self, request: Request) -> Response:
        """Answer with a page of the calls that the request asks for."""
        query = request.query_params
        limit = query.get(CursorPagination.page_size_query_param, "")
        size = int(limit) if re.fullmatch("[0-9]{1,4}", limit) else selection.PAGE_SIZE
        size = max(1, min(size, CursorPagination.max_page_size))
        cursor = query.get(CursorPagination.cursor_query_param, "")
        calls_page = selection.page_of(selection.select(self.actor, query.dict()), cursor, size)
        following = None
        if calls_page.older:
            address = request.build_absolute_uri()
            following = replace_query_param(address, CursorPagination.cursor_query_param, calls_page.older)
        rows = call_serializers.CallSerializer(calls_page.rows, many=True).data
        # Many calls may have one moment, which a cursor by it alone would not get past.
        return Response({"results": rows, "next": following})


def batch_of(request: Request, member: str) -> list[Any]:
    """Return the list that is all that a body has; inference.calls.reading reads what is in it. A serializer takes a
    second for a thousand calls."""
    body = request.data
    batch = body.get(member) if isinstance(body, dict) and body.keys() == {member} else None
    if not isinstance(batch, list):
        sentence = f"The body is an object whose one member, {member}, is a list."
        raise Problem("request.invalid", sentence, faults=[Fault(f"/{member}", "type", sentence)])
    return batch


HINTS = {
    "prompt": "The prompt's name.",
    "version": "Its number; with the prompt.",
    "state": f"{', '.join(selection.STATES)}.",
    "error": "What the error's code has in it.",
    "format_ok": f"{', '.join(selection.FORMATS)}.",
    "max_score": "A score of at most that.",
    "feedback": f"{', '.join(selection.LEARNED)}; low is below {selection.LOW}.",
    "text": "Within what is kept of texts; for those who may edit.",
    "since": f"A moment, or one of {', '.join(selection.SPANS)}.",
    "until": "A moment.",
}
CALL_FILTERS = [OpenApiParameter(name, str, description=HINTS.get(name, "")) for name in selection.FILTERS]


class CallList(_CallLog):
    @extend_schema(
        operation_id="calls_list", parameters=CALL_FILTERS, responses=call_serializers.CallSerializer(many=True)
    )
    def get(self, request: Request) -> Response:
        """List live calls, newest first."""
        return self.listed(request)

    @extend_schema(
        operation_id="calls_record",
        request=call_serializers.CallsInput,
        responses={202: call_serializers.RecordedCallsSerializer},
    )
    def post(self, request: Request) -> Response:
        """Report live calls, up to 1,000 at once; all are recorded when this answers, or none. One that was sent before
        counts once."""
        result = call_log.record(self.actor, batch_of(request, "calls"))
        document = {"recorded": result.recorded, "repeated": result.repeated}
        if result.texts:
            document |= {"texts": result.texts, "kept_texts": result.kept_texts}
        return Response(document, status=202)


class ObservationList(_CallLog):
    @extend_schema(
        operation_id="observations_list", parameters=CALL_FILTERS, responses=call_serializers.CallSerializer(many=True)
    )
    def get(self, request: Request) -> Response:
        """List live calls, as `GET /calls` does; this is its address from before."""
        return self.listed(request)

    @extend_schema(
        operation_id="observations_record",
        request=call_serializers.ObservationsInput,
        responses={201: call_serializers.RecordedObservationsSerializer},
    )
    def post(self, request: Request) -> Response:
        """Report live calls, as `POST /calls` does; this is its address from before."""
        result = call_log.record(self.actor, batch_of(request, "observations"), within="/observations")
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
