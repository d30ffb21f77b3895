"""Imports of prompts from other products, over REST."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from evaluations.api.serializers import prompt_imports as serializers
from evaluations.interop import import_prompts
from evaluations.interop.import_prompts import TestsImport
from registry.api.base import ProjectView
from registry.interop.import_prompts import ImportResult


def import_document(results: list[ImportResult], tests: TestsImport | None, *, is_dry_run: bool) -> dict[str, Any]:
    document = tests and {
        "dataset": tests.dataset,
        "count": tests.count,
        "left_out": tests.left_out,
        "address": tests.upload and f"/api/v1/datasets/{tests.dataset}/imports/{tests.upload.pk}",
    }
    return dict(serializers.PromptImportSerializer({"dry_run": is_dry_run, "prompts": results, "tests": document}).data)


class PromptImport(ProjectView):
    @extend_schema(
        operation_id="prompts_import",
        request=serializers.PromptImportInput,
        responses={200: serializers.PromptImportSerializer},
    )
    def post(self, request: Request) -> Response:
        """Import prompts from OpenAI, Langfuse, promptfoo or MLflow; with `dry_run`, read what would be imported.

        Each prompt is imported with all its versions or, with the reason, not at all. Content that exists already adds
        nothing, so it is safe to repeat.
        """
        body = serializers.PromptImportInput.read(request)
        results, tests = import_prompts.import_document(
            self.actor,
            body["source"],
            body["document"],
            names=body["names"],
            dataset=body["dataset"],
            is_dry_run=body["dry_run"],
        )
        return Response(import_document(results, tests, is_dry_run=body["dry_run"]))
