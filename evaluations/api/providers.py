"""Model providers over REST."""

from typing import Any

from django.db.models import Prefetch, QuerySet
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from evaluations import tasks
from evaluations.api import measuring as shapes
from evaluations.models import ModelPrice, Provider, ProviderModel
from evaluations.providers import configuration as providers
from registry.accounts.permissions import Right
from registry.api.authentication import actor_of
from registry.api.serializers import NothingInput
from registry.tasks import start


def provider_document(provider: Provider) -> dict[str, Any]:
    return dict(shapes.ProviderSerializer(provider).data)


def with_prices(models: QuerySet[ProviderModel]) -> QuerySet[ProviderModel]:
    """Models with what they cost today."""
    today = ModelPrice.objects.filter(valid_from__lte=timezone.now().date()).order_by("model", "-valid_from", "-id")
    prices = Prefetch("prices", queryset=today, to_attr="current_prices")
    return models.select_related("provider").prefetch_related(prices)


class ProviderList(generics.GenericAPIView[Provider]):
    queryset = Provider.objects.none()
    serializer_class = shapes.ProviderSerializer
    filter_backends = ()
    ordering = ("name",)

    @extend_schema(operation_id="providers_list", responses=shapes.ProviderSerializer(many=True))
    def get(self, request: Request) -> Response:
        """The project's providers, by name."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        page = self.paginate_queryset(Provider.objects.filter(project=actor.project))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(
        operation_id="providers_create", request=shapes.ProviderInput, responses={201: shapes.ProviderSerializer}
    )
    def post(self, request: Request) -> Response:
        """Add a server that speaks OpenAI's protocol. Its key is encrypted, and shown to nobody again."""
        made = providers.create(actor_of(request), **shapes.ProviderInput.read(request))
        headers = {"Location": f"/api/v1/providers/{made.name}"}
        return Response(provider_document(made), status=201, headers=headers)


class ProviderDetail(APIView):
    @extend_schema(operation_id="providers_read", responses=shapes.ProviderSerializer)
    def get(self, request: Request, name: str) -> Response:
        """One provider, and what came of its last test."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        return Response(provider_document(providers.named(actor.project, name)))

    @extend_schema(
        operation_id="providers_change", request=shapes.ProviderSettings, responses=shapes.ProviderSerializer
    )
    def patch(self, request: Request, name: str) -> Response:
        """Change a provider's settings; what is not sent stays."""
        asked = shapes.ProviderSettings.read(request)
        actor = actor_of(request)
        return Response(provider_document(providers.change(actor, providers.named(actor.project, name), **asked)))


class ProviderArchive(APIView):
    @extend_schema(operation_id="providers_archive", request=NothingInput, responses=shapes.ProviderSerializer)
    def post(self, request: Request, name: str) -> Response:
        """Take a provider out of use and forget its key. What was measured with it stays."""
        actor = actor_of(request)
        return Response(provider_document(providers.archive(actor, providers.named(actor.project, name))))


class ProviderRestore(APIView):
    @extend_schema(operation_id="providers_restore", request=NothingInput, responses=shapes.ProviderSerializer)
    def post(self, request: Request, name: str) -> Response:
        """Bring an archived provider back; its key has to be entered again."""
        actor = actor_of(request)
        return Response(provider_document(providers.restore(actor, providers.named(actor.project, name))))


class ProviderTest(APIView):
    @extend_schema(
        operation_id="providers_test", request=shapes.ProviderTest, responses={202: shapes.ProviderSerializer}
    )
    def post(self, request: Request, name: str) -> Response:
        """Have a worker ask the provider for its models, and one of them for a word; `tested_at` and `test_result` say
        what came of it."""
        asked = shapes.ProviderTest.read(request)
        actor = actor_of(request)
        provider = providers.named(actor.project, name)
        actor.require(Right.ADMINISTER)
        start(tasks.try_provider, provider.pk, asked["model"])
        return Response(provider_document(provider), status=202)


class ProviderModels(generics.GenericAPIView[ProviderModel]):
    queryset = ProviderModel.objects.none()
    serializer_class = shapes.ModelSerializer
    filter_backends = ()
    ordering = ("name",)

    @extend_schema(operation_id="providers_models", responses=shapes.ModelSerializer(many=True))
    def get(self, request: Request, name: str) -> Response:
        """A provider's models by name, with what each costs today and when it ends."""
        actor = actor_of(request)
        actor.require(Right.SEE)
        page = self.paginate_queryset(with_prices(providers.named(actor.project, name).models.all()))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)

    @extend_schema(
        operation_id="providers_add_model", request=shapes.ModelInput, responses={201: shapes.ModelSerializer}
    )
    def post(self, request: Request, name: str) -> Response:
        """Add a model that the provider does not list."""
        asked = shapes.ModelInput.read(request)
        actor = actor_of(request)
        made = providers.add_model(actor, providers.named(actor.project, name), asked["name"])
        return Response(_model_document(made), status=201)


class ProviderPrices(APIView):
    @extend_schema(
        operation_id="providers_set_price", request=shapes.PriceInput, responses={201: shapes.ModelSerializer}
    )
    def post(self, request: Request, name: str) -> Response:
        """Say what a model costs from a day on. Older prices stay, and so does what was priced by them."""
        asked = shapes.PriceInput.read(request)
        actor = actor_of(request)
        model = providers.model_named(actor.project, f"{name}/{asked['model']}")
        providers.set_price(actor, model, asked, valid_from=asked.get("valid_from"))
        return Response(_model_document(model), status=201)


def _model_document(model: ProviderModel) -> dict[str, Any]:
    return dict(shapes.ModelSerializer(with_prices(ProviderModel.objects.filter(pk=model.pk)).get()).data)
