"""Base classes of the administration site: saving through domain functions, or reading only."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from unfold.admin import ModelAdmin

from core.errors import Problem
from registry.accounts import permissions
from registry.accounts.permissions import Actor
from registry.models import (
    Project,
    User,
)


def operator_in(request: HttpRequest, project: Project) -> Actor:
    if not isinstance(request.user, User):
        raise Problem("auth.required", "Sign in.")
    return permissions.actor_for_operator(request.user, project)


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


def report_outcome(admin_site: ModelAdmin, request: HttpRequest, act: Callable[[], str], subject: object) -> None:
    """Do something and show its outcome, or why it was refused."""
    try:
        admin_site.message_user(request, act(), messages.SUCCESS)
    except Problem as problem:
        admin_site.message_user(request, f"{subject}: {problem.detail}", messages.ERROR)
