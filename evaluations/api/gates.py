"""Gates and SLAs over REST."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from evaluations.api.serializers import gates as serializers
from evaluations.comparisons import gates, slas
from evaluations.datasets import lifecycle as datasets
from evaluations.models import Gate, GateRun
from infra.serializer_fields import EmptyInput
from registry.accounts.permissions import Right
from registry.api.base import ProjectListView, ProjectView
from registry.promotions import environments


class GateList(ProjectListView[Gate]):
    queryset = Gate.objects.none()
    serializer_class = serializers.GateSerializer
    ordering = ("id",)
    write_right = Right.ADMINISTER

    @extend_schema(operation_id="gates_list", responses=serializers.GateSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List the gates of all environments."""
        return self.page(gates.active_gates(self.actor.project))

    @extend_schema(
        operation_id="gates_create", request=serializers.GateInput, responses={201: serializers.GateSerializer}
    )
    def post(self, request: Request) -> Response:
        """Add a gate: versions proposed for the environment are measured, and the environment requires the check."""
        body = serializers.GateInput.read(request)
        environment = environments.get_environment(self.actor.project, body["environment"])
        gate = gates.create(self.actor, environment, **gates.settings_from_document(self.actor.project, body))
        document = dict(serializers.GateSerializer(gates.get_gate(self.actor.project, gate.pk)).data)
        return Response(document, status=201)


class GateRemove(ProjectView):
    write_right = Right.ADMINISTER

    @extend_schema(operation_id="gates_remove", request=EmptyInput, responses={204: None})
    def post(self, request: Request, key: int) -> Response:
        """Remove a gate, and the check that it required. What it measured stays."""
        gates.remove(self.actor, gates.get_gate(self.actor.project, key))
        return Response(status=204)


class GateCases(ProjectView):
    write_right = Right.ADMINISTER

    @extend_schema(
        operation_id="gates_use_cases",
        request=serializers.GateCasesInput,
        responses={201: serializers.GateSerializer},
    )
    def post(self, request: Request, key: int) -> Response:
        """Measure on another version of the cases: another gate replaces this one, and approvals so far become void."""
        body = serializers.GateCasesInput.read(request)
        gate = gates.get_gate(self.actor.project, key)
        dataset_version = datasets.get_version(self.actor.project, gate.dataset.name, body["version"])
        replacement = gates.use_cases(self.actor, gate, dataset_version)
        document = dict(serializers.GateSerializer(gates.get_gate(self.actor.project, replacement.pk)).data)
        return Response(document, status=201)


class GateRuns(ProjectListView[GateRun]):
    queryset = GateRun.objects.none()
    serializer_class = serializers.GateRunSerializer
    ordering = ("-id",)

    @extend_schema(operation_id="gates_runs", responses=serializers.GateRunSerializer(many=True))
    def get(self, request: Request, key: int) -> Response:
        """List a gate's runs, newest first, with the reasons of each outcome."""
        rows = gates.get_gate(self.actor.project, key).runs.select_related(
            "version__prompt", "dataset_version__dataset"
        )
        return self.page(rows.order_by("-id"))


class SLAView(ProjectView):
    write_right = Right.ADMINISTER

    @extend_schema(operation_id="slas_read", responses=serializers.SLASerializer)
    def get(self, request: Request) -> Response:
        """Read the project's SLAs."""
        return Response(self._document(slas.get_slas(self.actor.project)))

    @extend_schema(
        operation_id="slas_set",
        request=serializers.SLAInput,
        responses=serializers.SLASerializer,
    )
    def put(self, request: Request) -> Response:
        """Set the project's SLAs; a member that is left out sets no target."""
        body = serializers.SLAInput.read(request)
        return Response(self._document(slas.set_slas(self.actor, body)))

    @staticmethod
    def _document(row: Any) -> dict[str, Any]:
        return dict(serializers.SLASerializer(row).data)
