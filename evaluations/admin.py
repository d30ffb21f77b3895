"""The administration site's view of datasets: to look at. Changes are made on the pages, the API and the commands."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from evaluations import reports, tasks
from evaluations.models import (
    Annotation,
    AnnotationItem,
    AnnotationRound,
    Case,
    CaseProposal,
    CaseRemoval,
    Dataset,
    DatasetImport,
    DatasetVersion,
    Finding,
    ImportPart,
    LeakageOverride,
    Report,
    ReportKind,
)
from registry.admin import ReadOnlyAdmin, operator_in, told
from registry.tasks import start
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
            told(self, request, lambda dataset=dataset: self._look(request, dataset), dataset)  # type: ignore[misc]

    def _look(self, request: HttpRequest, dataset: Dataset) -> str:
        if dataset.head is None:
            return f"{dataset} has no cases."
        report = reports.ask(operator_in(request, dataset.project), dataset.head, ReportKind.LEAKAGE)
        start(tasks.make_report, report.pk)
        return f"Looking at {dataset}."


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
        # A megabyte each, and nobody reads them here.
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.defer("data")


@admin.register(Report)
class ReportAdmin(ReadOnlyAdmin):
    list_display = ("version", "kind", "state", "progress", "error", "created_at", "finished_at")
    list_select_related = ("version__dataset",)
    list_filter = ("kind", "state")


@admin.register(Finding)
class FindingAdmin(ReadOnlyAdmin):
    list_display = ("report", "kind", "held_id", "other_id", "score", "is_leak")
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
    list_display = ("round", "case_id", "given", "held_by", "held_until")
    list_select_related = ("round", "held_by")


@admin.register(Annotation)
class AnnotationAdmin(ReadOnlyAdmin):
    list_display = ("item_id", "by_name", "label", "created_at")
