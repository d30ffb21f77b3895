"""Model providers over REST."""

from typing import Any

from django.db.models import Prefetch, QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from core.errors import Fault, Problem
from evaluations import tasks
from evaluations.api.serializers import providers as serializers
from evaluations.models import ModelPrice, Provider, ProviderKind, ProviderModel
from evaluations.providers import configuration as providers
from evaluations.providers import profiles
from infra.serializer_fields import EmptyInput
from infra.work import start
from registry.accounts.permissions import Right
from registry.api.base import ProjectListView, ProjectView


def provider_document(provider: Provider) -> dict[str, Any]:
    return dict(serializers.ProviderSerializer(provider).data)


def with_prices(models: QuerySet[ProviderModel]) -> QuerySet[ProviderModel]:
    """Return models with their prices of today."""
    today = ModelPrice.objects.filter(valid_from__lte=timezone.now().date()).order_by("model", "-valid_from", "-id")
    prices = Prefetch("prices", queryset=today, to_attr="current_prices")
    return models.select_related("provider").prefetch_related(prices)


class ProviderList(ProjectListView[Provider]):
    queryset = Provider.objects.none()
    serializer_class = serializers.ProviderSerializer
    ordering = ("name",)
    write_right = Right.ADMINISTER

    @extend_schema(operation_id="providers_list", responses=serializers.ProviderSerializer(many=True))
    def get(self, request: Request) -> Response:
        """List the project's providers, by name."""
        return self.page(Provider.objects.filter(project=self.actor.project))

    @extend_schema(
        operation_id="providers_create",
        request=serializers.ProviderInput,
        responses={201: serializers.ProviderSerializer},
    )
    def post(self, request: Request) -> Response:
        """Add a server that models are asked through. Its key is encrypted, and never shown again."""
        members = serializers.ProviderInput.read(request)
        if members.pop("is_simulation"):
            if members["kind"] == ProviderKind.LOCAL:
                sentence = "The local engine is no simulation."
                raise Problem("request.invalid", sentence, faults=[Fault("/is_simulation", "choice", sentence)])
            members["kind"] = ProviderKind.SANDBOX
        provider = providers.create(self.actor, **members)
        headers = {"Location": f"/api/v1/providers/{provider.name}"}
        return Response(provider_document(provider), status=201, headers=headers)


class ProviderDetail(ProjectView):
    write_right = Right.ADMINISTER

    @extend_schema(operation_id="providers_read", responses=serializers.ProviderSerializer)
    def get(self, request: Request, name: str) -> Response:
        """Read a provider, and the result of its last test."""
        return Response(provider_document(providers.get_provider(self.actor.project, name)))

    @extend_schema(
        operation_id="providers_change", request=serializers.ProviderSettings, responses=serializers.ProviderSerializer
    )
    def patch(self, request: Request, name: str) -> Response:
        """Change a provider's settings; what is not sent stays."""
        body = serializers.ProviderSettings.read(request)
        return Response(
            provider_document(providers.change(self.actor, providers.get_provider(self.actor.project, name), **body))
        )


class ProviderArchive(ProjectView):
    write_right = Right.ADMINISTER

    @extend_schema(operation_id="providers_archive", request=EmptyInput, responses=serializers.ProviderSerializer)
    def post(self, request: Request, name: str) -> Response:
        """Archive a provider and delete its key. What was measured with it stays."""
        return Response(
            provider_document(providers.archive(self.actor, providers.get_provider(self.actor.project, name)))
        )


class ProviderRestore(ProjectView):
    write_right = Right.ADMINISTER

    @extend_schema(operation_id="providers_restore", request=EmptyInput, responses=serializers.ProviderSerializer)
    def post(self, request: Request, name: str) -> Response:
        """Restore an archived provider; its key has to be entered again."""
        return Response(
            provider_document(providers.restore(self.actor, providers.get_provider(self.actor.project, name)))
        )


class ProviderTest(ProjectView):
    write_right = Right.ADMINISTER

    @extend_schema(
        operation_id="providers_test", request=serializers.ProviderTest, responses={202: serializers.ProviderSerializer}
    )
    def post(self, request: Request, name: str) -> Response:
        """Test a provider: a worker asks it for its models, and one of them for a word. `tested_at` and `test_result`
        have the result."""
        body = serializers.ProviderTest.read(request)
        provider = providers.get_provider(self.actor.project, name)
        start(tasks.try_provider, provider.pk, body["model"])
        return Response(provider_document(provider), status=202)


class ProviderModels(ProjectListView[ProviderModel]):
    queryset = ProviderModel.objects.none()
    serializer_class = serializers.ProviderModelSerializer
    ordering = ("name",)
    write_right = Right.ADMINISTER

    @extend_schema(operation_id="providers_models", responses=serializers.ProviderModelSerializer(many=True))
    def get(self, request: Request, name: str) -> Response:
        """List a provider's models by name, with the price of today and the shutdown date of each."""
        return self.page(with_prices(providers.get_provider(self.actor.project, name).models.all()))

    @extend_schema(
        operation_id="providers_add_model",
        request=serializers.ProviderModelInput,
        responses={201: serializers.ProviderModelSerializer},
    )
    def post(self, request: Request, name: str) -> Response:
        """Add a model that the provider does not list."""
        body = serializers.ProviderModelInput.read(request)
        model = providers.add_model(self.actor, providers.get_provider(self.actor.project, name), body["name"])
        return Response(_model_document(model), status=201)


class ProviderModelsArchive(ProjectView):
    write_right = Right.ADMINISTER

    @extend_schema(
        operation_id="providers_archive_model",
        request=serializers.ProviderModelArchive,
        responses=serializers.ProviderModelSerializer,
    )
    def post(self, request: Request, name: str) -> Response:
        """Archive a model, or restore it. An archived one is offered nowhere and asked nothing; results keep it."""
        body = serializers.ProviderModelArchive.read(request)
        model = providers.get_model(self.actor.project, f"{name}/{body['model']}")
        change = providers.archive_model if body["is_archived"] else providers.restore_model
        return Response(_model_document(change(self.actor, model)))


class ProviderPrices(ProjectView):
    write_right = Right.ADMINISTER

    @extend_schema(
        operation_id="providers_set_price",
        request=serializers.ModelPriceInput,
        responses={201: serializers.ProviderModelSerializer},
    )
    def post(self, request: Request, name: str) -> Response:
        """Set what a model costs from a day on. Older prices stay, and so do the costs computed from them."""
        body = serializers.ModelPriceInput.read(request)
        model = providers.get_model(self.actor.project, f"{name}/{body['model']}")
        providers.set_price(self.actor, model, body, valid_from=body.get("valid_from"))
        return Response(_model_document(model), status=201)


class ProviderProfiles(ProjectView):
    write_right = Right.ADMINISTER

    @extend_schema(
        operation_id="providers_correct_model",
        request=serializers.ModelCorrections,
        responses=serializers.ProviderModelSerializer,
    )
    def post(self, request: Request, name: str) -> Response:
        """Correct what is known of a model. The corrections replace those of before; an empty set takes the published
        facts again."""
        body = serializers.ModelCorrections.read(request)
        model = providers.get_model(self.actor.project, f"{name}/{body.pop('model')}")
        return Response(_model_document(profiles.correct(self.actor, model, body)))


class ProviderRefusals(ProjectView):
    write_right = Right.ADMINISTER

    @extend_schema(
        operation_id="providers_settle_refusal",
        request=serializers.ModelRefusalDecision,
        responses=serializers.ProviderModelSerializer,
    )
    def post(self, request: Request, name: str) -> Response:
        """Settle what a model was seen to refuse: versions that name the setting are refused from then on, or it is
        forgotten."""
        body = serializers.ModelRefusalDecision.read(request)
        model = providers.get_model(self.actor.project, f"{name}/{body['model']}")
        settle = profiles.accept_refusal if body["is_confirmed"] else profiles.dismiss_refusal
        return Response(_model_document(settle(self.actor, model, body["setting"])))


def _model_document(model: ProviderModel) -> dict[str, Any]:
    return dict(serializers.ProviderModelSerializer(with_prices(ProviderModel.objects.filter(pk=model.pk)).get()).data)
