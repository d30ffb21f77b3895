"""What all pages share: who may enter a project, the frame around a page, refusals, and what a form got wrong."""

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
# A list of rows has as many as one scans; a history as many as one reads.
PAGE_SIZE = 50
LONGEST_NUMBER = 18


def in_project(view: ProjectView) -> ProjectView:
    """A page of one project, for its members; anybody else gets 404, as if there were no project."""

    @wraps(view)
    def wrapped(request: HttpRequest, project: str, **kwargs: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return _to_sign_in(request)
        found = Project.objects.filter(slug=project).first()
        if found is None:
            raise Http404
        try:
            actor = permissions.person(signed_in(request), found)
        except Problem:
            # The same words as where there is no such project.
            raise Http404 from None
        if request.session.get(SESSION_PROJECT) != found.slug:
            request.session[SESSION_PROJECT] = found.slug
        try:
            return view(request, actor, **kwargs)
        except Problem as problem:
            return page(request, actor, "workspace_problem.html", {"problem": problem}, status=problem.kind.status)

    return wrapped


def only_post(view: ProjectView) -> ProjectView:
    """An address that changes something; who comes to it by a link is told so. Stands below `in_project`."""

    @wraps(view)
    def wrapped(request: HttpRequest, actor: Actor, **kwargs: Any) -> HttpResponseBase:
        if request.method != "POST":
            raise Problem("request.method", "Nothing is to be seen here; this address only takes a form.")
        return view(request, actor, **kwargs)

    return wrapped


def _to_sign_in(request: HttpRequest) -> HttpResponseBase:
    """Sign in, then come back: to the page of a form, where a form was sent. A script is told in JSON."""
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
    """The person behind a request that was let through."""
    if not isinstance(request.user, User):
        raise Http404
    return request.user


def page(
    request: HttpRequest, actor: Actor, template: str, context: Mapping[str, Any], *, status: int = 200
) -> HttpResponse:
    """A page within the workspace: what its frame shows, and the page's own context."""
    frame = {
        "actor": actor,
        "project": actor.project,
        "projects": Project.objects.filter(memberships__user=signed_in(request)),
        "waiting": inbox.count(actor),
        "can": {right.name.lower(): actor.may(right) for right in Right},
    }
    return render(request, template, {**frame, **context}, status=status)


THOUSANDS = re.compile(r"-?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?")
DECIMAL = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")


def whole(text: str) -> int | None:
    """A whole number that somebody sent, or None where it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER else None


def decimal(text: str) -> float | None:
    """A number as people type it, or None where it is none: 14.5, 14,5 and 1,500,000; commas that stand before three
    digits each part thousands, a single other one is a decimal comma."""
    text = text.strip()
    if THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    elif text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    return float(text) if DECIMAL.fullmatch(text) else None


def page_url(name: str, actor: Actor, *args: object) -> str:
    """Return the address of a page of the actor's project, by its URL name with namespace (`evaluations:run-detail`)."""
    return reverse(name, args=[actor.project.slug, *args])


def done(request: HttpRequest, sentence: str, address: str) -> HttpResponse:
    """After a change: say so on the page that comes next. Going back or loading again repeats nothing."""
    messages.success(request, sentence)
    return redirect(address)


def refused(request: HttpRequest, problem: Problem, address: str) -> HttpResponse:
    """Say why nothing was changed, on a page where nothing was typed that could be lost."""
    messages.error(request, problem.detail)
    return redirect(address)


def errors_of(problem: Problem, fields: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a form shows at its fields: by the first word of each fault's pointer, else by `fields` (code to field).

    What belongs to no field is at "" and stands above the form.
    """
    found = {fault.pointer.strip("/").partition("/")[0]: fault.message for fault in problem.faults}
    if not found:
        found[(fields or {}).get(problem.code, "")] = problem.detail
    return found
