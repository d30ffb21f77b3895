"""Prompts, their versions and how often they are fetched, in the administration site."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms import BaseModelForm
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from core.errors import Problem
from registry.accounts.permissions import Actor
from registry.admin.base import DomainAdmin, ReadOnlyAdmin, operator_in, report_outcome
from registry.content import diff_view
from registry.models import (
    Environment,
    FetchCount,
    Inclusion,
    Project,
    Prompt,
    PromptDraft,
    PromptSample,
    PromptVersion,
    Snapshot,
    UploadedImage,
)
from registry.promotions import environments, workflow
from registry.prompts import lifecycle as prompts
from registry.templatetags.registry_text import short_hash

if TYPE_CHECKING:
    AnyForm = BaseModelForm[Any]


@admin.register(Prompt)
class PromptAdmin(DomainAdmin):
    list_display = ("name", "project", "tags", "created_at", "archived_at")
    list_filter = ("project", ("archived_at", admin.EmptyFieldListFilter))
    list_select_related = ("project",)
    search_fields = ("name", "description")
    fields = ("project", "name", "description", "tags")
    actions = ("archive", "restore")

    def get_readonly_fields(self, request: HttpRequest, obj: Prompt | None = None) -> tuple[str, ...]:
        return ("project", "name") if obj else ()

    def save_model(self, request: HttpRequest, obj: Prompt, form: "AnyForm", change: bool) -> None:
        actor = operator_in(request, obj.project)
        if change:
            prompts.describe(actor, obj, description=obj.description, tags=obj.tags)
        else:
            obj.pk = prompts.create(actor, name=obj.name, description=obj.description, tags=obj.tags).pk

    @admin.action(description="Archive the selected prompts")
    def archive(self, request: HttpRequest, queryset: QuerySet[Prompt]) -> None:
        self._each(request, queryset, prompts.archive, "was archived")

    @admin.action(description="Restore the selected prompts")
    def restore(self, request: HttpRequest, queryset: QuerySet[Prompt]) -> None:
        self._each(request, queryset, prompts.restore, "was restored")

    def _each(
        self, request: HttpRequest, rows: QuerySet[Prompt], verb: Callable[[Actor, Prompt], Prompt], outcome: str
    ) -> None:
        for prompt in rows.select_related("project"):
            actor = operator_in(request, prompt.project)
            report_outcome(self, request, lambda p=prompt, a=actor: f"{verb(a, p)} {outcome}.", prompt)  # type: ignore[misc]


@admin.register(PromptVersion)
class PromptVersionAdmin(ReadOnlyAdmin):
    list_display = ("__str__", "project", "short_hash", "message", "author_name", "created_at")
    list_filter = ("prompt__project",)
    list_select_related = ("prompt__project",)
    search_fields = ("prompt__name", "content_hash", "message")
    actions = ("compare", "request_promotion")

    @admin.display(ordering="content_hash", description="hash")
    def short_hash(self, version: PromptVersion) -> str:
        return short_hash(version.content_hash)

    @admin.display(ordering="prompt__project")
    def project(self, version: PromptVersion) -> Project:
        return version.prompt.project

    @admin.action(description="Compare the two selected versions")
    def compare(self, request: HttpRequest, queryset: QuerySet[PromptVersion]) -> HttpResponse | None:
        selected = list(queryset.select_related("prompt").order_by("prompt_id", "number"))
        if len(selected) != 2:
            self.message_user(request, "Select exactly two versions to compare.", messages.ERROR)
            return None
        old, new = selected
        comparison = diff_view.compare(old.content, new.content)
        labels = {"old_label": str(old), "new_label": str(new)}
        context = {"title": f"{old} and {new}", "comparison": comparison, **labels}
        return TemplateResponse(
            request, "admin/registry/compare.html", {**self.admin_site.each_context(request), **context}
        )

    @admin.action(description="Request promotion of the selected version")
    def request_promotion(self, request: HttpRequest, queryset: QuerySet[PromptVersion]) -> HttpResponse | None:
        selected = list(queryset.select_related("prompt__project"))
        if len(selected) != 1:
            self.message_user(request, "Select exactly one version.", messages.ERROR)
            return None
        (version,) = selected
        project = version.prompt.project
        if "environment" not in request.POST:
            context = {"title": f"Request promotion of {version}", "version": version}
            context |= {"environments": Environment.objects.filter(project=project)}
            return TemplateResponse(
                request,
                "admin/registry/request_promotion.html",
                {**self.admin_site.each_context(request), **context},
            )
        try:
            environment = environments.get_environment(project, request.POST["environment"])
            promotion = workflow.request(
                operator_in(request, project),
                version.prompt,
                version,
                environment,
                reason=request.POST.get("reason", ""),
            )
        except Problem as problem:
            self.message_user(request, problem.detail, messages.ERROR)
            return None
        self.message_user(
            request,
            f"Promotion requested: {promotion} (promotion {promotion.pk}, {promotion.status}).",
            messages.SUCCESS,
        )
        return None


@admin.register(Inclusion)
class InclusionAdmin(ReadOnlyAdmin):
    list_display = ("version", "name", "included")
    list_select_related = ("version__prompt", "included__prompt")
    search_fields = ("name",)


@admin.register(PromptDraft)
class PromptDraftAdmin(ReadOnlyAdmin):
    """The existence of drafts, not their text: that is its author's alone until it is committed."""

    list_display = ("prompt", "user", "base", "revision", "updated_at")
    list_select_related = ("prompt", "user", "base__prompt")
    exclude = ("document",)


@admin.register(PromptSample)
class PromptSampleAdmin(ReadOnlyAdmin):
    list_display = ("prompt", "updated_by_name", "updated_at")
    list_select_related = ("prompt",)


@admin.register(UploadedImage)
class UploadedImageAdmin(ReadOnlyAdmin):
    list_display = ("__str__", "project", "width", "height", "size", "by_name", "created_at")
    list_select_related = ("project",)
    search_fields = ("sha256",)
    exclude = ("data",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[UploadedImage]:
        rows: QuerySet[UploadedImage] = super().get_queryset(request)
        return rows.defer("data")


@admin.register(Snapshot)
class SnapshotAdmin(ReadOnlyAdmin):
    list_display = ("environment", "tag", "created_at")
    list_select_related = ("environment",)


@admin.register(FetchCount)
class FetchCountAdmin(ReadOnlyAdmin):
    list_display = ("version", "hour", "count", "last_at")
    list_select_related = ("version__prompt",)
