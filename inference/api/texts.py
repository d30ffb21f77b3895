"""Calls with what is kept of their texts, and what a project keeps."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from core import redaction
from core.errors import Problem
from inference.api import call_serializers, serializers
from inference.calls import feedback
from inference.models import Call, CallText
from inference.texts import policy as texts
from infra.serializer_fields import EmptyInput
from registry.accounts.permissions import Right
from registry.api.base import ProjectView


class CallDetail(ProjectView):
    @extend_schema(operation_id="calls_read", responses=call_serializers.CallDetailSerializer)
    def get(self, request: Request, reference: str) -> Response:
        """Read a call's record by its id (`X-Cuebook-Call`); with its text, where that is kept and you may edit."""
        rows = Call.objects.filter(project=self.actor.project, reference=reference).select_related("version__prompt")
        call = rows.defer("version__content").first()
        if call is None:
            raise Problem("call.not_found", f"There is no call {reference[:64]!r}.")
        text = None
        if self.actor.may(Right.EDIT):
            text = CallText.objects.filter(project=self.actor.project, reference=reference).first()
        call.text = text  # type: ignore[attr-defined]  # beside the row
        call.feedback = feedback.feedback_of(self.actor.project, [reference]).get(reference, [])  # type: ignore[attr-defined]
        may_read = {"may_read_texts": self.actor.may(Right.EDIT)}
        return Response(call_serializers.CallDetailSerializer(call, context=may_read).data)


class TextPolicyDetail(ProjectView):
    read_right = Right.ADMINISTER
    write_right = Right.ADMINISTER

    @extend_schema(operation_id="text_policy_read", responses=serializers.TextPolicySerializer)
    def get(self, request: Request) -> Response:
        """Read what the project keeps of its calls' texts."""
        return Response(texts.policy_of(self.actor.project).as_dict())

    @extend_schema(
        operation_id="text_policy_set",
        request=serializers.TextPolicyInput,
        responses=serializers.TextPolicySerializer,
    )
    def put(self, request: Request) -> Response:
        """Set what the project keeps from now on."""
        body = serializers.TextPolicyInput.read(request)
        policy = texts.set_policy(self.actor, **{"presets": list(redaction.PRESETS), **body})
        return Response(policy.as_dict())


class TextsDelete(ProjectView):
    write_right = Right.ADMINISTER

    @extend_schema(operation_id="texts_delete", request=EmptyInput, responses=serializers.DeletedTextsSerializer)
    def post(self, request: Request) -> Response:
        """Delete all texts that are kept; the records of the calls stay."""
        return Response({"deleted": texts.delete_texts(self.actor)})
