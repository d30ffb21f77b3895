"""Environments, promotions, releases and the audit log in the administration site."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms import BaseModelForm
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from registry.admin.base import DomainAdmin, ReadOnlyAdmin, operator_in, report_outcome
from registry.models import (
    AuditEntry,
    Environment,
    Promotion,
    PromotionContributor,
    Release,
    Review,
    VersionCheck,
)
from registry.promotions import environments, releases
from registry.promotions.environments import Rules

if TYPE_CHECKING:
    AnyForm = BaseModelForm[Any]


@admin.register(Environment)
class EnvironmentAdmin(DomainAdmin):
    list_display = ("name", "project", "position", "protected", "required_approvals", "required_checks")
    list_filter = ("project",)
    list_select_related = ("project",)
    fields = ("project", "name", "protected", "required_approvals", "required_checks")

    def get_readonly_fields(self, request: HttpRequest, obj: Environment | None = None) -> tuple[str, ...]:
        return ("project", "name") if obj else ()

    def save_model(self, request: HttpRequest, obj: Environment, form: "AnyForm", change: bool) -> None:
        actor, rules = operator_in(request, obj.project), Rules.of(obj)
        if change:
            environments.change_rules(actor, obj, rules)
        else:
            obj.pk = environments.create(actor, name=obj.name, rules=rules).pk


@admin.register(Release)
class ReleaseAdmin(ReadOnlyAdmin):
    list_display = ("id", "prompt", "environment", "version", "kind", "by_name", "reason", "created_at")
    list_filter = ("environment__project", "kind")
    list_select_related = ("prompt", "environment", "version__prompt")
    search_fields = ("prompt__name",)
    actions = ("roll_back",)

    @admin.action(description="Roll back to the selected release")
    def roll_back(self, request: HttpRequest, queryset: QuerySet[Release]) -> HttpResponse | None:
        selected = list(queryset.select_related("environment__project", "prompt", "version__prompt"))
        if len(selected) != 1:
            self.message_user(request, "Select exactly one release to return to.", messages.ERROR)
            return None
        (release,) = selected
        if "reason" not in request.POST:
            context = {"title": f"Roll back {release.prompt} in {release.environment}", "release": release}
            return TemplateResponse(
                request, "admin/registry/roll_back.html", {**self.admin_site.each_context(request), **context}
            )
        report_outcome(self, request, lambda: self._roll_back(request, release), release)
        return None

    def _roll_back(self, request: HttpRequest, release: Release) -> str:
        actor = operator_in(request, release.environment.project)
        reason = request.POST["reason"]
        return f"{releases.roll_back(actor, release.prompt, release.environment, to=release.version, reason=reason)}."


@admin.register(Promotion)
class PromotionAdmin(ReadOnlyAdmin):
    list_display = (
        "id",
        "prompt",
        "version",
        "environment",
        "status",
        "requested_by_name",
        "created_at",
        "decided_at",
    )
    list_filter = ("environment__project", "status")
    list_select_related = ("prompt", "environment", "version__prompt")
    search_fields = ("prompt__name",)


@admin.register(PromotionContributor)
class PromotionContributorAdmin(ReadOnlyAdmin):
    list_display = ("promotion", "user", "reasons")
    list_select_related = ("promotion__version__prompt", "promotion__environment", "user")


@admin.register(Review)
class ReviewAdmin(ReadOnlyAdmin):
    list_display = ("promotion", "decision", "by_name", "comment", "created_at")
    list_filter = ("decision",)
    list_select_related = ("promotion__version__prompt", "promotion__environment")


@admin.register(VersionCheck)
class VersionCheckAdmin(ReadOnlyAdmin):
    list_display = ("name", "status", "content_hash", "project", "recorded_by_name", "created_at")
    list_filter = ("project", "status")
    list_select_related = ("project",)
    search_fields = ("name", "content_hash")


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "actor", "action", "target", "project", "request_id")
    list_filter = ("project",)
    list_select_related = ("project",)
    search_fields = ("actor", "action", "target", "request_id")
