"""Pages for signed-in people: what prompts there are, what is live where, and what changed."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView, LogoutView
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from registry import access, approvals, diffing, listing, promotion, prompts, resolution
from registry.access import Actor, Right
from registry.api.authentication import SESSION_PROJECT
from registry.models import (
    UNDECIDED,
    Environment,
    Inclusion,
    Membership,
    Project,
    Promotion,
    Prompt,
    PromptVersion,
    User,
)
from registry.problems import Problem
from registry.references import Reference, parse_selector

PAGE_SIZE = 50
HISTORY_SIZE = 100

ProjectView = Callable[..., HttpResponse]


class SignIn(LoginView):
    template_name = "registry/sign_in.html"
    redirect_authenticated_user = True


class SignOut(LogoutView):
    pass


def in_project(view: ProjectView) -> ProjectView:
    """A page of one project, for its members; anybody else gets 404, as if there were no project."""

    @login_required
    @wraps(view)
    def wrapped(request: HttpRequest, project: str, **kwargs: Any) -> HttpResponse:
        found = Project.objects.filter(slug=project).first()
        if found is None:
            raise Http404
        try:
            actor = access.person(signed_in(request), found)
            if request.session.get(SESSION_PROJECT) != found.slug:
                request.session[SESSION_PROJECT] = found.slug
            return view(request, actor, **kwargs)
        except Problem as problem:
            context = {"problem": problem}
            return render(request, "problem.html", context, status=problem.kind.status)

    return wrapped


def signed_in(request: HttpRequest) -> User:
    """The person behind a request that `login_required` let through."""
    if not isinstance(request.user, User):
        raise Http404
    return request.user


@login_required
def home(request: HttpRequest) -> HttpResponse:
    """The project opened last, else the first; a page that says what to do for somebody who has none."""
    memberships = Membership.objects.filter(user=signed_in(request)).select_related("project").order_by("project__slug")
    slugs = [membership.project.slug for membership in memberships]
    if not slugs:
        return render(request, "registry/no_project.html")
    last = request.session.get(SESSION_PROJECT)
    return redirect("registry:prompt-list", project=last if last in slugs else slugs[0])


def page(request: HttpRequest, actor: Actor, template: str, context: dict[str, Any]) -> HttpResponse:
    """A page within the workspace: what its frame shows, and the page's own context."""
    projects = Project.objects.filter(memberships__user=signed_in(request))
    return render(request, template, {"actor": actor, "project": actor.project, "projects": projects, **context})


@in_project
def prompt_list(request: HttpRequest, actor: Actor) -> HttpResponse:
    search = request.GET.get("search", "").strip()[:200]
    rows = listing.prompts(actor.project).filter(archived_at=None).order_by("name")
    if search:
        rows = listing.found(rows, search)
    pages = Paginator(rows, PAGE_SIZE)
    context = {
        "search": search,
        "page": pages.get_page(request.GET.get("page")),
        "environments": Environment.objects.filter(project=actor.project),
    }
    return page(request, actor, "registry/prompt_list.html", context)


@in_project
def prompt_detail(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    prompt = prompts.named(actor.project, name)
    history = list(resolution.deliverable(prompt.versions.all())[:HISTORY_SIZE])
    shown = _shown_version(request, actor, prompt, history)
    releases = prompt.releases.select_related("environment", "version", "promotion").defer("version__content")
    context = {
        "prompt": prompt,
        "history": history,
        "version_count": prompt.versions.count(),
        "lanes": _lanes(actor.project, prompt),
        "version": shown,
        "uses": Inclusion.objects.filter(version=shown).select_related("included__prompt") if shown else [],
        "used_by": prompts.users(prompt),
        "releases": releases[:HISTORY_SIZE],
        "promotions": _open_promotions(prompt),
        "may_approve": actor.may(Right.APPROVE),
        "may_apply": actor.may(Right.APPLY),
    }
    return page(request, actor, "registry/prompt_detail.html", context)


PROMOTION_VERBS: dict[str, Callable[[Actor, Promotion], object]] = {
    "approve": promotion.approve,
    "apply": promotion.apply,
    "withdraw": promotion.withdraw,
}


@require_POST
@in_project
def promotion_act(request: HttpRequest, actor: Actor, number: int, verb: str) -> HttpResponse:
    """Approve, apply or withdraw from the prompt's page; a refusal is told there."""
    row = promotion.numbered(actor.project, number)
    act = PROMOTION_VERBS.get(verb)
    if act is None:
        raise Http404
    try:
        act(actor, row)
    except Problem as problem:
        messages.error(request, problem.detail)
    else:
        messages.success(request, f"{row}: done ({verb}).")
    return redirect("registry:prompt-detail", project=actor.project.slug, name=row.prompt.name)


def _shown_version(
    request: HttpRequest, actor: Actor, prompt: Prompt, history: list[PromptVersion]
) -> PromptVersion | None:
    """The version that `?version=` selects, else what is live in production, else the newest."""
    if "version" in request.GET:
        return resolution.resolve(actor.project, Reference(prompt.name, parse_selector(request.GET["version"])))
    live = [version for version in history if "production" in version.live_in]  # type: ignore[attr-defined]  # annotated
    return next(iter(live or history), None)


def _open_promotions(prompt: Prompt) -> list[tuple[Promotion, approvals.Standing]]:
    """Undecided promotions with where they stand; there are few at a time."""
    rows = Promotion.objects.filter(prompt=prompt, status__in=UNDECIDED)
    full = rows.select_related("environment", "prompt", "version__author_key", "requested_by_key")
    return [(row, approvals.standing(row)) for row in full]


def _lanes(project: Project, prompt: Prompt) -> list[dict[str, Any]]:
    """Each environment with what is live there."""
    live = {release.environment_id: release for release in listing.newest_releases().filter(prompt=prompt)}
    return [
        {"environment": environment, "release": live.get(environment.pk)}
        for environment in Environment.objects.filter(project=project)
    ]


@in_project
def prompt_compare(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    prompt = prompts.named(actor.project, name)
    old, new = (
        resolution.resolve(actor.project, Reference(name, parse_selector(request.GET.get(member, "latest"))))
        for member in ("from", "to")
    )
    difference = diffing.diff(old.content, new.content)
    members = [
        member
        for member in ("settings", "response", "variables", "tools", "examples", "includes")
        if difference[member]
    ]
    context = {
        "prompt": prompt,
        "old": old,
        "new": new,
        "difference": difference,
        "members": [(member, difference[member]) for member in members if difference[member]],
    }
    return page(request, actor, "registry/prompt_compare.html", context)
