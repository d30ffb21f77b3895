"""Read-only views of datasets and evaluations for the administration site; changes are made elsewhere."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from evaluations import tasks
from evaluations.data_quality import reports
from evaluations.models import (
    SLA,
    Annotation,
    AnnotationItem,
    AnnotationRound,
    Case,
    CaseImage,
    CaseProposal,
    CaseRemoval,
    Comparison,
    ComparisonRun,
    Dataset,
    DatasetImport,
    DatasetVersion,
    Finding,
    Gate,
    GateRun,
    ImportPart,
    LeakageOverride,
    ModelPrice,
    PlaygroundAnswer,
    PlaygroundRun,
    Provider,
    ProviderModel,
    ProviderSlots,
    Report,
    ReportKind,
    Result,
    ResultAnnotation,
    Run,
    RunBatch,
    Synthesis,
)
from infra.work import start
from registry.admin.base import ReadOnlyAdmin, operator_in, report_outcome
from registry.templatetags.registry_text import short_hash


@admin.register(Dataset)
class DatasetAdmin(ReadOnlyAdmin):
    list_display = ("name", "project", "head", "created_by_name", "archived_at")
    list_filter = ("project",)
    list_select_related = ("project", "head__dataset")
    search_fields = ("name", "description")
    ordering = ("project", "name")
    actions = ("look_for_leaks",)

    @admin.action(description="Look for leaks again")
    def look_for_leaks(self, request: HttpRequest, datasets: QuerySet[Dataset]) -> None:
        for dataset in datasets.select_related("project", "head"):
            report_outcome(self, request, lambda dataset=dataset: self._look(request, dataset), dataset)  # type: ignore[misc]

    def _look(self, request: HttpRequest, dataset: Dataset) -> str:
        if dataset.head is None:
            return f"{dataset} has no cases."
        report = reports.request_report(operator_in(request, dataset.project), dataset.head, ReportKind.LEAKAGE)
        start(tasks.make_report, report.pk)
        return f"Searching {dataset} for leaks."


@admin.register(DatasetVersion)
class DatasetVersionAdmin(ReadOnlyAdmin):
    list_display = ("dataset", "number", "size", "hash", "author_name", "message", "created_at")
    list_select_related = ("dataset",)
    search_fields = ("dataset__name", "content_hash")

    @admin.display(description="hash")
    def hash(self, version: DatasetVersion) -> str:
        return short_hash(version.content_hash)


@admin.register(Case)
class CaseAdmin(ReadOnlyAdmin):
    list_display = ("id", "dataset", "label", "split", "added_in")
    list_select_related = ("dataset",)
    list_filter = ("split",)
    exclude = ("digest",)
    # A dataset may have millions: the newest come first, by the key's own index.
    ordering = ("-id",)


@admin.register(CaseImage)
class CaseImageAdmin(ReadOnlyAdmin):
    list_display = ("case", "image")
    list_select_related = ("case", "image")
    ordering = ("-id",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[CaseImage]:
        rows: QuerySet[CaseImage] = super().get_queryset(request)
        return rows.defer("image__data")


@admin.register(CaseRemoval)
class CaseRemovalAdmin(ReadOnlyAdmin):
    list_display = ("case", "removed_in")
    ordering = ("-id",)


@admin.register(DatasetImport)
class DatasetImportAdmin(ReadOnlyAdmin):
    list_display = ("filename", "dataset", "state", "rows_added", "rows_bad", "by_name", "created_at")
    list_select_related = ("dataset",)
    list_filter = ("state",)


@admin.register(ImportPart)
class ImportPartAdmin(ReadOnlyAdmin):
    list_display = ("of", "kind", "number")
    list_select_related = ("of__dataset",)
    exclude = ("data",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # A megabyte each, and not readable here.
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.defer("data")


@admin.register(Report)
class ReportAdmin(ReadOnlyAdmin):
    list_display = ("version", "kind", "state", "progress", "error", "created_at", "finished_at")
    list_select_related = ("version__dataset",)
    list_filter = ("kind", "state")


@admin.register(Finding)
class FindingAdmin(ReadOnlyAdmin):
    list_display = ("report", "kind", "held_out_id", "other_id", "score", "is_leak")
    list_select_related = ("report__version__dataset",)
    list_filter = ("kind", "is_leak")


@admin.register(LeakageOverride)
class LeakageOverrideAdmin(ReadOnlyAdmin):
    list_display = ("version", "by_name", "reason", "created_at")
    list_select_related = ("version__dataset",)


@admin.register(CaseProposal)
class CaseProposalAdmin(ReadOnlyAdmin):
    list_display = ("id", "dataset", "origin", "state", "proposed_by_name", "decided_by_name", "created_at")
    list_select_related = ("dataset",)
    list_filter = ("state",)


@admin.register(AnnotationRound)
class AnnotationRoundAdmin(ReadOnlyAdmin):
    list_display = ("title", "dataset", "annotators", "state", "created_by_name", "created_at")
    list_select_related = ("dataset",)
    list_filter = ("state",)


@admin.register(AnnotationItem)
class AnnotationItemAdmin(ReadOnlyAdmin):
    list_display = ("round", "case_id", "annotation_count", "held_by", "held_until")
    list_select_related = ("round", "held_by")


@admin.register(Annotation)
class AnnotationAdmin(ReadOnlyAdmin):
    list_display = ("item_id", "by_name", "label", "created_at")


@admin.register(Provider)
class ProviderAdmin(ReadOnlyAdmin):
    list_display = ("name", "project", "base_url", "kind", "tested_at", "test_passed", "archived_at")
    list_filter = ("project", "kind")
    list_select_related = ("project",)
    exclude = ("encrypted_key",)


@admin.register(ProviderModel)
class ProviderModelAdmin(ReadOnlyAdmin):
    list_display = ("name", "provider", "is_listed", "shutdown_date")
    list_select_related = ("provider",)
    search_fields = ("name",)


@admin.register(ProviderSlots)
class ProviderSlotsAdmin(ReadOnlyAdmin):
    list_display = ("provider", "holder", "slots", "demand", "since", "renewed_at")
    list_select_related = ("provider",)


@admin.register(ModelPrice)
class ModelPriceAdmin(ReadOnlyAdmin):
    list_display = ("model", "valid_from", "input", "cached_input", "cache_write", "output", "source", "by_name")
    list_select_related = ("model__provider",)


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin):
    list_display = ("id", "project", "version", "model_name", "state", "answered", "failed", "cost_usd", "created_at")
    list_filter = ("state", "is_simulation")
    list_select_related = ("project", "version__prompt")


@admin.register(RunBatch)
class RunBatchAdmin(ReadOnlyAdmin):
    list_display = ("run_id", "number", "state", "attempts", "heartbeat_at")
    list_filter = ("state",)


@admin.register(Result)
class ResultAdmin(ReadOnlyAdmin):
    list_display = ("id", "run_id", "case_id", "repeat", "quality", "passed", "error", "latency_ms", "cost_usd")
    list_filter = ("passed", "is_leaked")


@admin.register(ResultAnnotation)
class ResultAnnotationAdmin(ReadOnlyAdmin):
    list_display = ("result_id", "is_correct", "by_name", "created_at")


@admin.register(Comparison)
class ComparisonAdmin(ReadOnlyAdmin):
    list_display = ("id", "project", "swept", "state", "budget_usd", "by_name", "created_at")
    list_filter = ("state", "project")
    list_select_related = ("project", "swept__prompt")


@admin.register(Gate)
class GateAdmin(ReadOnlyAdmin):
    list_display = ("name", "environment", "dataset", "split", "model", "created_by_name", "removed_at")
    list_select_related = ("environment__project", "dataset", "model__provider")


@admin.register(GateRun)
class GateRunAdmin(ReadOnlyAdmin):
    list_display = ("id", "gate", "version", "state", "created_at", "finished_at")
    list_filter = ("state",)
    list_select_related = ("gate__environment", "version__prompt")


@admin.register(SLA)
class SLAAdmin(ReadOnlyAdmin):
    list_display = ("project", "p99_latency_ms", "cost_per_call_usd", "format_adherence", "quality")
    list_select_related = ("project",)


@admin.register(ComparisonRun)
class ComparisonRunAdmin(ReadOnlyAdmin):
    list_display = ("comparison", "position", "run")
    list_select_related = ("comparison", "run")


@admin.register(PlaygroundRun)
class PlaygroundRunAdmin(ReadOnlyAdmin):
    list_display = ("id", "prompt", "version", "state", "by_name", "created_at")
    list_filter = ("state", "project")
    list_select_related = ("prompt", "version__prompt")


@admin.register(PlaygroundAnswer)
class PlaygroundAnswerAdmin(ReadOnlyAdmin):
    list_display = ("playground_run", "model", "state", "error", "cost_usd")
    list_select_related = ("playground_run", "model__provider")


@admin.register(Synthesis)
class SynthesisAdmin(ReadOnlyAdmin):
    list_display = ("id", "dataset", "model", "state", "requested", "proposed", "cost_usd", "by_name")
    list_select_related = ("dataset", "model__provider")
