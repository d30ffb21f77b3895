"""Feedback on calls, and the deletion of a subject, over REST."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from inference.api import call_serializers
from inference.api.calls import batch_of
from inference.calls import feedback, subjects
from inference.models import Feedback
from registry.accounts.permissions import Right
from registry.api.base import ProjectListView, ProjectView


class FeedbackList(ProjectListView[Feedback]):
    query_members = ("call", "name")
    queryset = Feedback.objects.none()
    serializer_class = call_serializers.FeedbackSerializer
    ordering = ("-id",)
    write_right = Right.OBSERVE

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "may_read_texts": self.actor.may(Right.EDIT)}

    @extend_schema(
        operation_id="feedback_list",
        parameters=[OpenApiParameter("call", str), OpenApiParameter("name", str)],
        responses=call_serializers.FeedbackSerializer(many=True),
    )
    def get(self, request: Request) -> Response:
        """List feedback, newest first."""
        filters = {name: request.query_params.get(name) for name in self.query_members}
        rows = Feedback.objects.filter(project=self.actor.project)
        rows = rows.filter(**{name: value for name, value in filters.items() if value})
        return self.page(rows.select_related("version__prompt").defer("version__content").order_by("-id"))

    @extend_schema(
        operation_id="feedback_record",
        request=call_serializers.FeedbackBatchInput,
        responses={202: call_serializers.RecordedFeedbackSerializer},
    )
    def post(self, request: Request) -> Response:
        """Report what was learned of calls later, up to 1,000 values at once; all are recorded, or none. What was sent
        before counts once. A call that is not there yet is waited for."""
        result = feedback.record(self.actor, batch_of(request, "feedback"))
        document = {"recorded": result.recorded, "repeated": result.repeated, "waiting": result.waiting}
        return Response(document, status=202)


class SubjectDetail(ProjectView):
    write_right = Right.ADMINISTER

    @extend_schema(operation_id="subjects_delete", responses={200: call_serializers.DeletedSubjectSerializer})
    def delete(self, request: Request, subject: str) -> Response:
        """Delete a subject: the texts and the feedback of its calls; their records stay without it."""
        return Response(call_serializers.DeletedSubjectSerializer(subjects.delete(self.actor, subject)).data)
