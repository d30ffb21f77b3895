"""OTLP over HTTP: where OpenTelemetry's exporters send traces."""

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from rest_framework.request import Request
from rest_framework.response import Response

from core.errors import Problem
from inference.api import call_serializers
from inference.calls import otlp
from inference.models import SpanCount
from infra.rest import BytesParser
from registry.accounts.permissions import Right
from registry.api.authentication import KeyAuthentication
from registry.api.base import ProjectListView, ProjectView
from registry.api.interop.langfuse import PairAuthentication


class TraceParser(BytesParser):
    """Parser of OTLP's bodies: what they are is read from their bytes, compressed or not."""

    media_type = "*/*"
    max_bytes = otlp.MAX_BYTES
    too_large = ("request.too_large", f"A request of OTLP has at most {otlp.MAX_BYTES:,} bytes.")


class Traces(ProjectView):
    """`/v1/traces`, and Langfuse's address for it, with its authentication."""

    authentication_classes = (KeyAuthentication, PairAuthentication)
    parser_classes = (TraceParser,)
    write_right = Right.OBSERVE
    max_streamed_bytes = otlp.MAX_BYTES

    @extend_schema(exclude=True)
    def post(self, request: Request) -> HttpResponse:
        """Take spans of OpenTelemetry; those that are calls of prompts are recorded."""
        media_type = (request.content_type or "").partition(";")[0].strip().lower()
        if media_type not in (otlp.PROTOBUF, otlp.JSON):
            raise Problem("request.malformed", f"OTLP comes as {otlp.PROTOBUF} or {otlp.JSON}.")
        body = request.data if isinstance(request.data, bytes) else b""
        encoding = request.headers.get("Content-Encoding", "").strip().lower()
        taken = otlp.record(self.actor, otlp.unpack(body, encoding), media_type)
        answer = ExportTraceServiceResponse()
        if taken.rejected:
            answer.partial_success.rejected_spans = taken.rejected
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(taken.left_out.items()))
            answer.partial_success.error_message = f"Not recorded: {reasons}."
        if media_type == otlp.JSON:
            return Response(MessageToDict(answer))
        return HttpResponse(answer.SerializeToString(), content_type=otlp.PROTOBUF)


class SpanCountList(ProjectListView[SpanCount]):
    queryset = SpanCount.objects.none()
    serializer_class = call_serializers.SpanCountSerializer
    ordering = ("-day", "reason")

    @extend_schema(operation_id="spans_list", responses=call_serializers.SpanCountSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List how many spans of OpenTelemetry were not recorded as calls, by day, and why."""
        return self.page(SpanCount.objects.filter(project=self.actor.project).order_by("-day", "reason"))
