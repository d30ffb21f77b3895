"""The administration site: every model to look at, and the verbs of people who run the server.

Nothing is saved here by itself: forms and actions call the functions that the API calls, with the same rules and the
same audit entries. Insert-only rows are shown, never edited.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db.models import Model, QuerySet
from django.forms import BaseModelForm, ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from registry import access, comparing, environments, keys, projects, promotion, prompts, releases
from registry.access import Actor
from registry.environments import Rules
from registry.models import (
    APIKey,
    AuditEntry,
    Embedding,
    Environment,
    Example,
    ExamplePlace,
    ExampleSet,
    ExampleSetVersion,
    ExampleVector,
    FetchCount,
    Inclusion,
    Membership,
    Project,
    Promotion,
    Prompt,
    PromptDraft,
    PromptSample,
    PromptVersion,
    Release,
    Review,
    Role,
    Snapshot,
    User,
    VersionCheck,
)
from registry.problems import Problem
from registry.templatetags.registry_text import short_hash

if TYPE_CHECKING:
    AnyForm = BaseModelForm[Any]

admin.site.unregister(Group)


def operator_in(request: HttpRequest, project: Project) -> Actor:
    if not isinstance(request.user, User):
        raise Problem("auth.required", "Sign in.")
    return access.operator(request.user, project)


class DomainAdmin(ModelAdmin):
    """Saves through domain functions; a refusal becomes a message and nothing is changed."""

    list_per_page = 50
    show_full_result_count = False

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            answer: HttpResponse = super().changeform_view(request, *args, **kwargs)
        except Problem as problem:
            self.message_user(request, problem.detail, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())
        return answer

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            answer: HttpResponse = super().delete_view(request, *args, **kwargs)
        except Problem as problem:
            self.message_user(request, problem.detail, messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())
        return answer

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class ReadOnlyAdmin(DomainAdmin):
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


def told(admin_site: ModelAdmin, request: HttpRequest, act: Callable[[], str], what: object) -> None:
    """Do something and tell what came of it, or why it was refused."""
    try:
        admin_site.message_user(request, act(), messages.SUCCESS)
    except Problem as problem:
        admin_site.message_user(request, f"{what}: {problem.detail}", messages.ERROR)


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):  # type: ignore[type-arg]  # Django takes no parameters at run time
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    # What somebody may do follows from memberships, not from Django's model permissions.
    filter_horizontal = ()
    list_filter = ("is_active", "is_staff")
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Access", {"fields": ("is_active", "is_staff", "is_superuser")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """People who left are deactivated; history names them."""
        return False


@admin.register(Project)
class ProjectAdmin(DomainAdmin):
    list_display = ("slug", "name", "created_at")
    search_fields = ("slug", "name")
    fields = ("slug", "name")

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return obj is None

    def save_model(self, request: HttpRequest, obj: Project, form: "AnyForm", change: bool) -> None:
        obj.pk = projects.create_project(slug=obj.slug, name=obj.name).pk


@admin.register(Membership)
class MembershipAdmin(DomainAdmin):
    list_display = ("user", "project", "role")
    list_filter = ("project", "role")
    list_select_related = ("user", "project")
    autocomplete_fields = ("user", "project")

    def get_readonly_fields(self, request: HttpRequest, obj: Membership | None = None) -> tuple[str, ...]:
        return ("user", "project") if obj else ()

    def save_model(self, request: HttpRequest, obj: Membership, form: "AnyForm", change: bool) -> None:
        saved = projects.set_member(operator_in(request, obj.project), user=obj.user, role=Role(obj.role))
        obj.pk = saved.pk

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return obj is not None and request.user.is_superuser

    def delete_model(self, request: HttpRequest, obj: Membership) -> None:
        projects.remove_member(operator_in(request, obj.project), user=obj.user)


class KeyForm(ModelForm):  # type: ignore[type-arg]  # Django's forms take no parameters at run time
    class Meta:
        model = APIKey
        fields: ClassVar = ["project", "name", "scopes", "expires_at"]


@admin.register(APIKey)
class APIKeyAdmin(DomainAdmin):
    form = KeyForm
    list_display = ("name", "project", "key_id", "scopes", "expires_at", "revoked_at", "last_used_at")
    list_filter = ("project",)
    list_select_related = ("project",)
    actions = ("revoke",)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return obj is None

    def save_model(self, request: HttpRequest, obj: APIKey, form: "AnyForm", change: bool) -> None:
        asked = form.cleaned_data
        actor = operator_in(request, asked["project"])
        key, token = keys.issue(actor, name=asked["name"], scopes=asked["scopes"], expires_at=asked["expires_at"])
        obj.pk = key.pk
        self.message_user(request, f"The key, shown this once: {token}", messages.WARNING)

    @admin.action(description="Revoke the selected keys")
    def revoke(self, request: HttpRequest, queryset: QuerySet[APIKey]) -> None:
        for key in queryset:
            told(self, request, lambda key=key: self._revoke(request, key), key)  # type: ignore[misc]

    def _revoke(self, request: HttpRequest, key: APIKey) -> str:
        keys.revoke(operator_in(request, key.project), key)
        return f"{key} is revoked."


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
        self._each(request, queryset, prompts.archive, "is archived")

    @admin.action(description="Bring the selected prompts back")
    def restore(self, request: HttpRequest, queryset: QuerySet[Prompt]) -> None:
        self._each(request, queryset, prompts.restore, "is in use again")

    def _each(
        self, request: HttpRequest, rows: QuerySet[Prompt], verb: Callable[[Actor, Prompt], Prompt], outcome: str
    ) -> None:
        for prompt in rows.select_related("project"):
            actor = operator_in(request, prompt.project)
            told(self, request, lambda p=prompt, a=actor: f"{verb(a, p)} {outcome}.", prompt)  # type: ignore[misc]


@admin.register(Snapshot)
class SnapshotAdmin(ReadOnlyAdmin):
    list_display = ("environment", "tag", "created_at")
    list_select_related = ("environment",)


@admin.register(FetchCount)
class FetchCountAdmin(ReadOnlyAdmin):
    list_display = ("version", "hour", "count", "last_at")
    list_select_related = ("version__prompt",)


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
        chosen = list(queryset.select_related("prompt").order_by("prompt_id", "number"))
        if len(chosen) != 2:
            self.message_user(request, "Select exactly two versions to compare.", messages.ERROR)
            return None
        old, new = chosen
        comparison = comparing.compare(old.content, new.content)
        labels = {"old_label": str(old), "new_label": str(new)}
        context = {"title": f"{old} and {new}", "comparison": comparison, **labels}
        return TemplateResponse(
            request, "admin/registry/compare.html", {**self.admin_site.each_context(request), **context}
        )

    @admin.action(description="Ask for promotion of the selected version")
    def request_promotion(self, request: HttpRequest, queryset: QuerySet[PromptVersion]) -> HttpResponse | None:
        chosen = list(queryset.select_related("prompt__project"))
        if len(chosen) != 1:
            self.message_user(request, "Select exactly one version.", messages.ERROR)
            return None
        (version,) = chosen
        project = version.prompt.project
        if "environment" not in request.POST:
            context = {"title": f"Ask for promotion of {version}", "version": version}
            context |= {"environments": Environment.objects.filter(project=project)}
            return TemplateResponse(
                request,
                "admin/registry/request_promotion.html",
                {**self.admin_site.each_context(request), **context},
            )
        try:
            environment = environments.named(project, request.POST["environment"])
            asked = promotion.request(
                operator_in(request, project),
                version.prompt,
                version,
                environment,
                reason=request.POST.get("reason", ""),
            )
        except Problem as problem:
            self.message_user(request, problem.detail, messages.ERROR)
            return None
        self.message_user(request, f"Asked: {asked} (promotion {asked.pk}, {asked.status}).", messages.SUCCESS)
        return None


@admin.register(Release)
class ReleaseAdmin(ReadOnlyAdmin):
    list_display = ("id", "prompt", "environment", "version", "kind", "by_name", "reason", "created_at")
    list_filter = ("environment__project", "kind")
    list_select_related = ("prompt", "environment", "version__prompt")
    search_fields = ("prompt__name",)
    actions = ("roll_back",)

    @admin.action(description="Roll back to the selected release")
    def roll_back(self, request: HttpRequest, queryset: QuerySet[Release]) -> HttpResponse | None:
        chosen = list(queryset.select_related("environment__project", "prompt", "version__prompt"))
        if len(chosen) != 1:
            self.message_user(request, "Select exactly one release to return to.", messages.ERROR)
            return None
        (release,) = chosen
        if "reason" not in request.POST:
            context = {"title": f"Roll back {release.prompt} in {release.environment}", "release": release}
            return TemplateResponse(
                request, "admin/registry/roll_back.html", {**self.admin_site.each_context(request), **context}
            )
        told(self, request, lambda: self._roll_back(request, release), release)
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


@admin.register(Inclusion)
class InclusionAdmin(ReadOnlyAdmin):
    list_display = ("version", "name", "included")
    list_select_related = ("version__prompt", "included__prompt")
    search_fields = ("name",)


@admin.register(PromptDraft)
class PromptDraftAdmin(ReadOnlyAdmin):
    """That there is a draft, not what it says: that is its writer's alone until it is committed."""

    list_display = ("prompt", "user", "base", "revision", "updated_at")
    list_select_related = ("prompt", "user", "base__prompt")
    exclude = ("document",)


@admin.register(PromptSample)
class PromptSampleAdmin(ReadOnlyAdmin):
    list_display = ("prompt", "updated_by_name", "updated_at")
    list_select_related = ("prompt",)


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("created_at", "actor", "action", "target", "project", "request_id")
    list_filter = ("project",)
    list_select_related = ("project",)
    search_fields = ("actor", "action", "target", "request_id")


@admin.register(ExampleSet)
class ExampleSetAdmin(ReadOnlyAdmin):
    list_display = ("name", "project", "head", "created_by_name", "archived_at")
    list_filter = ("project",)
    list_select_related = ("project", "head__example_set")
    search_fields = ("name", "description")
    ordering = ("project", "name")


@admin.register(ExampleSetVersion)
class ExampleSetVersionAdmin(ReadOnlyAdmin):
    list_display = ("example_set", "number", "size", "hash", "author_name", "message", "created_at")
    list_select_related = ("example_set",)
    search_fields = ("example_set__name", "content_hash")

    @admin.display(description="hash")
    def hash(self, version: ExampleSetVersion) -> str:
        return short_hash(version.content_hash)


@admin.register(Example)
class ExampleAdmin(ReadOnlyAdmin):
    list_display = ("__str__", "example_set", "label", "tokens")
    list_select_related = ("example_set",)
    search_fields = ("input", "output")


@admin.register(ExamplePlace)
class ExamplePlaceAdmin(ReadOnlyAdmin):
    list_display = ("version", "position", "example")
    list_select_related = ("version__example_set", "example")


@admin.register(ExampleVector)
class ExampleVectorAdmin(ReadOnlyAdmin):
    list_display = ("example", "embedder")
    list_select_related = ("example",)
    list_filter = ("embedder",)
    # Hundreds of numbers, and nothing to read in them.
    exclude = ("vector",)


@admin.register(Embedding)
class EmbeddingAdmin(ReadOnlyAdmin):
    list_display = ("version", "embedder", "state", "done", "error", "created_at")
    list_select_related = ("version__example_set",)
    list_filter = ("state", "embedder")
