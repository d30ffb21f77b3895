"""The frame of all pages: access to a project, the frame's context, refusals, and the errors of a form."""

import re
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any
from urllib.parse import urlsplit

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme

from core.errors import Problem
from registry.accounts import permissions
from registry.accounts.permissions import Actor, Right
from registry.api.authentication import SESSION_PROJECT
from registry.models import Project, User
from registry.promotions import inbox

ProjectView = Callable[..., HttpResponseBase]
THEMES = ("system", "light", "dark")
THEME_COOKIE = "theme"
PAGE_SIZE = 50
MAX_DIGITS = 18


def in_project(view: ProjectView) -> ProjectView:
    """Make a page of one project, for its members; any other user gets 404, as if there were no project."""

    @wraps(view)
    def wrapped(request: HttpRequest, project: str, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return _to_sign_in(request)
        row = Project.objects.filter(slug=project).first()
        if row is None:
            raise Http404
        try:
            actor = permissions.actor_for_user(signed_in(request), row)
        except Problem:
            # The same words as where there is no such project.
            raise Http404 from None
        if request.session.get(SESSION_PROJECT) != row.slug:
            request.session[SESSION_PROJECT] = row.slug
        try:
            return view(request, actor, **kwargs)
        except Problem as problem:
            return page(request, actor, "workspace_problem.html", {"problem": problem}, status=problem.kind.status)

    return wrapped


def only_post(view: ProjectView) -> ProjectView:
    """Refuse all methods but POST, at an address that changes something. Stands below `in_project`."""

    @wraps(view)
    def wrapped(request: HttpRequest, actor: Actor, **kwargs: Any) -> HttpResponseBase:
        if request.method != "POST":
            raise Problem("request.method", "This address accepts forms only; there is no page here.")
        return view(request, actor, **kwargs)

    return wrapped


def _to_sign_in(request: HttpRequest) -> HttpResponseBase:
    """Redirect to sign-in, and back after it: to the page of a form, where a form was sent. A script gets JSON."""
    if request.content_type == "application/json":
        problem = Problem("auth.required", "You are signed out.")
        return JsonResponse(problem.as_document(), status=problem.kind.status)
    back = request.get_full_path()
    if request.method != "GET":
        sent_from = request.headers.get("Referer", "")
        is_ours = url_has_allowed_host_and_scheme(sent_from, {request.get_host()}, require_https=request.is_secure())
        back = urlsplit(sent_from).path if is_ours else reverse("registry:home")
    return redirect_to_login(back)


def signed_in(request: HttpRequest) -> User:
    """Return the user of a request that was let through."""
    if not isinstance(request.user, User):
        raise Http404
    return request.user


def page(
    request: HttpRequest, actor: Actor, template: str, context: Mapping[str, Any], *, status: int = 200
) -> HttpResponse:
    """Render a page within the workspace: the frame's context, and the page's own."""
    frame = {
        "actor": actor,
        "project": actor.project,
        "projects": Project.objects.filter(memberships__user=signed_in(request)),
        "waiting": inbox.count_waiting(actor),
        "can": {right.name.lower(): actor.may(right) for right in Right},
    }
    return render(request, template, {**frame, **context}, status=status)


THOUSANDS = re.compile(r"-?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?")
DECIMAL = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")


def whole(text: str) -> int | None:
    """Parse a whole number from a request; None where it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else None


def decimal(text: str) -> float | None:
    """Parse a number as users type it, or return None: 14.5, 14,5 and 1,500,000.

    Commas that stand before three digits each part thousands; a single other one is a decimal comma.
    """
    text = text.strip()
    if THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    elif text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    return float(text) if DECIMAL.fullmatch(text) else None


def page_url(name: str, actor: Actor, *args: object) -> str:
    """Return the address of a page of the actor's project, by its URL name (`evaluations:run-detail`)."""
    return reverse(name, args=[actor.project.slug, *args])


def done(request: HttpRequest, sentence: str, address: str) -> HttpResponse:
    """Redirect after a change, with a message on the next page. Going back or reloading repeats nothing."""
    messages.success(request, sentence)
    return redirect(address)


def refused(request: HttpRequest, problem: Problem, address: str) -> HttpResponse:
    """Redirect with the reason why nothing was changed, to a page where nothing typed could be lost."""
    messages.error(request, problem.detail)
    return redirect(address)


def errors_of(problem: Problem, fields: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return a form's errors by field: by the first word of each fault's pointer, else by `fields` (code to field).

    An error that belongs to no field is at "" and stands above the form.
    """
    errors = {fault.pointer.strip("/").partition("/")[0]: fault.message for fault in problem.faults}
    if not errors:
        errors[(fields or {}).get(problem.code, "")] = problem.detail
    return errors
