"""Users, projects, members and keys in the administration site."""

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db.models import Model, QuerySet
from django.forms import BaseModelForm, ModelForm
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from registry.accounts import api_keys, projects
from registry.accounts.key_limits import LIMIT_NAMES, DailyLimits
from registry.admin.base import DomainAdmin, ReadOnlyAdmin, operator_in, report_outcome
from registry.models import (
    APIKey,
    Invitation,
    KeyUsage,
    Membership,
    Project,
    Role,
    User,
)

if TYPE_CHECKING:
    AnyForm = BaseModelForm[Any]


admin.site.unregister(Group)


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):  # type: ignore[type-arg]  # Django takes no parameters at run time
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    # What a user may do follows from memberships, not from Django's model permissions.
    filter_horizontal = ()
    list_filter = ("is_active", "is_staff")
    fieldsets = (
        (None, {"fields": ("username", "password")}),
        ("Person", {"fields": ("first_name", "last_name", "email")}),
        ("Access", {"fields": ("is_active", "is_staff", "is_superuser")}),
        ("Dates", {"fields": ("last_login", "date_joined")}),
    )

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Refuse: users who left are deactivated, because history names them."""
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


@admin.register(Invitation)
class InvitationAdmin(ReadOnlyAdmin):
    list_display = ("username", "project", "role", "state", "by_name", "created_at", "expires_at")
    list_filter = ("project", "state")
    list_select_related = ("project",)


class KeyForm(ModelForm):  # type: ignore[type-arg]  # Django's forms take no parameters at run time
    class Meta:
        model = APIKey
        fields: ClassVar = ["project", "name", "scopes", "owner", "environment", "expires_at", *LIMIT_NAMES]


@admin.register(APIKey)
class APIKeyAdmin(DomainAdmin):
    form = KeyForm
    list_display = ("name", "project", "key_id", "scopes", "owner", "expires_at", "revoked_at", "last_used_at")
    list_filter = ("project",)
    list_select_related = ("project", "owner")
    actions = ("revoke",)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return obj is None

    def save_model(self, request: HttpRequest, obj: APIKey, form: "AnyForm", change: bool) -> None:
        form_data = form.cleaned_data
        actor = operator_in(request, form_data["project"])
        key, token = api_keys.issue(
            actor,
            name=form_data["name"],
            scopes=form_data["scopes"],
            expires_at=form_data["expires_at"],
            owner=form_data["owner"],
            environment=form_data["environment"],
            limits=DailyLimits(**{name: form_data[name] for name in LIMIT_NAMES}),
        )
        obj.pk = key.pk
        self.message_user(request, f"This key is shown only once: {token}", messages.WARNING)

    @admin.action(description="Revoke the selected keys")
    def revoke(self, request: HttpRequest, queryset: QuerySet[APIKey]) -> None:
        for key in queryset:
            report_outcome(self, request, lambda key=key: self._revoke(request, key), key)  # type: ignore[misc]

    def _revoke(self, request: HttpRequest, key: APIKey) -> str:
        api_keys.revoke(operator_in(request, key.project), key)
        return f"{key} was revoked."


@admin.register(KeyUsage)
class KeyUsageAdmin(ReadOnlyAdmin):
    list_display = ("key", "day", "requests", "tokens", "cost_usd", "process")
    list_filter = ("key__project", "day")
    list_select_related = ("key",)
