"""What all pages share: who may enter a project, the frame around a page, refusals, and what a form got wrong."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse

from registry import access, inbox
from registry.access import Actor, Right
from registry.api.authentication import SESSION_PROJECT
from registry.models import Project, User
from registry.problems import Problem

ProjectView = Callable[..., HttpResponseBase]
THEMES = ("system", "light", "dark")
THEME_COOKIE = "theme"
# A list of rows has as many as one scans; a history as many as one reads.
PAGE_SIZE = 50
LONGEST_NUMBER = 18


def in_project(view: ProjectView) -> ProjectView:
    """A page of one project, for its members; anybody else gets 404, as if there were no project."""

    @login_required
    @wraps(view)
    def wrapped(request: HttpRequest, project: str, **kwargs: Any) -> HttpResponseBase:
        found = Project.objects.filter(slug=project).first()
        if found is None:
            raise Http404
        try:
            actor = access.person(signed_in(request), found)
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


def signed_in(request: HttpRequest) -> User:
    """The person behind a request that `login_required` let through."""
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


def whole(text: str) -> int | None:
    """A whole number that somebody sent, or None where it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER else None


def to(name: str, actor: Actor, *args: object) -> str:
    """The address of a page of the actor's project."""
    return reverse(f"registry:{name}", args=[actor.project.slug, *args])


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
