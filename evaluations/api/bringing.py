"""Bringing prompts in from other products, over REST."""

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from evaluations.interop import import_prompts
from evaluations.interop.import_prompts import Tests
from infra.serializer_fields import Input, Text
from registry.api.authentication import actor_of
from registry.interop.import_prompts import Brought
from registry.interop.importers.convert import SOURCES


@extend_schema_field(OpenApiTypes.ANY)
class DocumentField(serializers.JSONField):
    """The other product's document: JSON as it is, or JSON or YAML as text."""


class BringInput(Input):
    source = serializers.ChoiceField(choices=SOURCES)  # type: ignore[assignment]  # the base has a property of this name
    document = DocumentField()
    names = serializers.DictField(child=Text(), required=False, default=dict)
    dataset = Text(required=False, default="")
    dry_run = serializers.BooleanField(required=False, default=False)


class BroughtVersionSerializer(serializers.Serializer[Any]):
    source = serializers.CharField()  # type: ignore[assignment]  # the base has a property of this name
    number = serializers.IntegerField()
    hash = serializers.CharField()
    is_new = serializers.BooleanField()
    labels = serializers.ListField(child=serializers.CharField())
    notes = serializers.ListField(child=serializers.CharField())


class RefusalSerializer(serializers.Serializer[Any]):
    code = serializers.CharField()
    detail = serializers.CharField()


class BroughtSerializer(serializers.Serializer[Any]):
    source = serializers.CharField()  # type: ignore[assignment]  # the base has a property of this name
    name = serializers.CharField()
    outcome = serializers.ChoiceField(choices=("created", "changed", "known", "refused"))
    versions = BroughtVersionSerializer(many=True)
    refusal = RefusalSerializer(allow_null=True)


class TestsSerializer(serializers.Serializer[Any]):
    dataset = serializers.CharField()
    count = serializers.IntegerField()
    left_out = serializers.ListField(child=serializers.CharField())
    address = serializers.CharField(allow_null=True)


class BringAnswer(serializers.Serializer[Any]):
    dry_run = serializers.BooleanField()
    prompts = BroughtSerializer(many=True)
    tests = TestsSerializer(allow_null=True)


def answer(brought: list[Brought], tests: Tests | None, *, is_dry_run: bool) -> dict[str, Any]:
    told = tests and {
        "dataset": tests.dataset,
        "count": tests.count,
        "left_out": tests.left_out,
        "address": tests.upload and f"/api/v1/datasets/{tests.dataset}/imports/{tests.upload.pk}",
    }
    return dict(BringAnswer({"dry_run": is_dry_run, "prompts": brought, "tests": told}).data)


class Bring(APIView):
    @extend_schema(operation_id="imports_bring", request=BringInput, responses={200: BringAnswer})
    def post(self, request: Request) -> Response:
        """Bring prompts in from OpenAI, Langfuse, promptfoo or MLflow; `dry_run` says what would come in.

        Each prompt comes with all its versions or, with the reason, not at all. Content that is there already adds
        nothing, so it is safe to repeat.
        """
        asked = BringInput.read(request)
        brought, tests = import_prompts.bring(
            actor_of(request),
            asked["source"],
            asked["document"],
            names=asked["names"],
            dataset=asked["dataset"],
            is_dry_run=asked["dry_run"],
        )
        return Response(answer(brought, tests, is_dry_run=asked["dry_run"]))
