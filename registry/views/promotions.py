"""Asking for a release, reviewing it, making it live; going back; and what waits for whom."""

from collections.abc import Callable
from typing import Any

from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse

from core.content import nothing
from core.errors import Problem
from core.references import Number, Reference, parse_selector
from registry.accounts.permissions import Actor, Right
from registry.content import diff_view
from registry.models import UNDECIDED, Environment, Promotion, PromotionStatus, Prompt, PromptVersion, Release
from registry.promotions import approvals, environments, guards, inbox, releases, workflow
from registry.prompts import lifecycle as prompts
from registry.prompts import listing, resolution
from registry.views.frame import PAGE_SIZE, done, errors_of, in_project, only_post, page, page_url, signed_in


@in_project
def inbox_page(request: HttpRequest, actor: Actor) -> HttpResponse:
    context = {
        "section": "inbox",
        "to_review": inbox.to_review(actor)[:PAGE_SIZE],
        "to_release": inbox.to_release(actor)[:PAGE_SIZE],
        "to_answer": inbox.to_answer(actor)[:PAGE_SIZE],
        "elsewhere": inbox.waiting_elsewhere(actor)[:PAGE_SIZE],
        "drafts": inbox.drafts(actor)[:PAGE_SIZE],
    }
    return page(request, actor, "registry/inbox.html", context)


@in_project
def promotion_list(request: HttpRequest, actor: Actor) -> HttpResponse:
    rows = Promotion.objects.filter(environment__project=actor.project)
    rows = rows.select_related("prompt", "version", "environment").defer("version__content", "prompt__head_text")
    asked = {name: request.GET.get(name, "") for name in ("status", "environment", "prompt")}
    if asked["status"] in PromotionStatus.values:
        rows = rows.filter(status=asked["status"])
    elif asked["status"] == "undecided":
        rows = rows.filter(status__in=UNDECIDED)
    if asked["environment"]:
        rows = rows.filter(environment__name=asked["environment"])
    if asked["prompt"]:
        rows = rows.filter(prompt__name=asked["prompt"])
    context = {
        "section": "promotions",
        "asked": asked,
        "statuses": PromotionStatus.choices,
        "environments": Environment.objects.filter(project=actor.project),
        "page": Paginator(rows.order_by("-id"), PAGE_SIZE).get_page(request.GET.get("page")),
    }
    return page(request, actor, "registry/promotion_list.html", context)


@in_project
def promotion_new(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """Ask for a version to be made live: where, why, and what it would replace."""
    actor.require(Right.EDIT)
    prompt = prompts.named(actor.project, name)
    if prompt.head is None:
        raise Problem("prompt.no_versions", f"{name} has no version yet.")
    given = request.POST if request.method == "POST" else request.GET
    values = {
        "version": given.get("version") or str(prompt.head.number),
        "environment": given.get("environment", ""),
        "reason": given.get("reason", ""),
    }
    targets = _targets(actor, prompt, values["version"])
    if not values["environment"]:
        values["environment"] = _next_target(targets)
    context = {
        "section": "prompts",
        "prompt": prompt,
        "values": values,
        "targets": targets,
        "versions": prompt.versions.defer("content").order_by("-number")[:PAGE_SIZE],
    }
    if request.method != "POST":
        return page(request, actor, "registry/promotion_new.html", context)
    try:
        version = _version(actor, name, values["version"])
        environment = environments.named(actor.project, values["environment"])
        asked = workflow.request(actor, prompt, version, environment, reason=values["reason"].strip())
    except Problem as problem:
        fields = dict.fromkeys(
            ("promotion.already_live", "promotion.already_open", "environment.not_found"), "environment"
        )
        context["errors"] = errors_of(problem, fields)
        return page(request, actor, "registry/promotion_new.html", context, status=problem.kind.status)
    sentence = "Approve it with the others, then make it live." if environment.protected else "Now make it live."
    return done(
        request, f"Asked for {environment.name}. {sentence}", page_url("registry:promotion-detail", actor, asked.pk)
    )


def _version(actor: Actor, name: str, selector: str) -> PromptVersion:
    return resolution.resolve(actor.project, Reference(name, parse_selector(selector)))


def _targets(actor: Actor, prompt: Prompt, selector: str) -> list[dict[str, Any]]:
    """Each environment with what the version would replace there."""
    live = {release.environment_id: release for release in listing.newest_releases().filter(prompt=prompt)}
    rows = []
    for environment in Environment.objects.filter(project=actor.project):
        release = live.get(environment.pk)
        is_live = release is not None and str(release.version.number) == selector
        rows.append({"environment": environment, "release": release, "is_live": is_live})
    return rows


def _next_target(targets: list[dict[str, Any]]) -> str:
    """The environment after the last one where the version is live, as a version usually travels; else the first."""
    reached = max((index for index, one in enumerate(targets) if one["is_live"]), default=-1)
    following = [*targets[reached + 1 :], *targets]
    return next((one["environment"].name for one in following if not one["is_live"]), "")


@in_project
def promotion_detail(request: HttpRequest, actor: Actor, number: int) -> HttpResponse:
    return _review_page(request, actor, workflow.numbered(actor.project, number))


def _review_page(
    request: HttpRequest, actor: Actor, row: Promotion, *, typed: str = "", problem: Problem | None = None
) -> HttpResponse:
    state = approvals.standing(row)
    is_decided = row.status not in UNDECIDED
    live = approvals.live_release(row.environment, row.prompt)
    against = (row.replaces.version if row.replaces else None) if is_decided else (live.version if live else None)
    content = against.content if against else nothing(row.version.content["kind"])
    context = {
        "section": "promotions",
        "promotion": row,
        "prompt": row.prompt,
        "state": state,
        "is_decided": is_decided,
        "against": against,
        "comparison": diff_view.compare(content, row.version.content),
        "hindered": guards.of_verbs(actor, row, state),
        "reviews": row.reviews.order_by("id"),
        "release": getattr(row, "release", None),
        "is_mine": row.requested_by_id == signed_in(request).pk,
        "typed": typed,
        "errors": errors_of(problem) if problem else {},
    }
    status = problem.kind.status if problem else 200
    return page(request, actor, "registry/promotion_detail.html", context, status=status)


Verb = Callable[[Actor, Promotion, str, str | None], object]
VERBS: dict[str, tuple[Verb, str]] = {
    "approve": (lambda actor, row, text, seen: workflow.approve(actor, row, comment=text, seen=seen), "Approved."),
    "request-changes": (
        lambda actor, row, text, _: workflow.request_changes(actor, row, comment=text),
        "Sent back to who asked.",
    ),
    "reject": (lambda actor, row, text, _: workflow.reject(actor, row, comment=text), "Rejected."),
    "comment": (lambda actor, row, text, _: workflow.add_comment(actor, row, comment=text), "Said."),
    "withdraw": (lambda actor, row, _text, _: workflow.withdraw(actor, row), "Withdrawn."),
    "apply": (lambda actor, row, _text, seen: workflow.apply(actor, row, expected_live=seen), "It is live."),
    "override": (
        lambda actor, row, text, seen: workflow.apply(actor, row, expected_live=seen, override=workflow.Override(text)),
        "It is live; the override and its reason are kept for good.",
    ),
}


@in_project
@only_post
def promotion_act(request: HttpRequest, actor: Actor, number: int, verb: str) -> HttpResponse:
    """One verb with its comment. A refusal comes back with the page, and with what was typed."""
    row = workflow.numbered(actor.project, number)
    if verb not in VERBS:
        raise Http404
    act, sentence = VERBS[verb]
    text = request.POST.get("text", "").strip()
    try:
        act(actor, row, text, request.POST.get("seen") or None)
    except Problem as problem:
        fresh = workflow.numbered(actor.project, number)
        return _review_page(request, actor, fresh, typed=text, problem=problem)
    return done(request, sentence, page_url("registry:promotion-detail", actor, number))


@in_project
def rollback(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """Choose an earlier release of an environment, see what going back changes, say why, go back."""
    prompt = prompts.named(actor.project, name)
    given = request.POST if request.method == "POST" else request.GET
    environment = environments.named(actor.project, given.get("environment") or "production")
    live = approvals.live_release(environment, prompt)
    if live is None:
        raise Problem("release.nothing_live", f"Nothing of {name} is live in {environment.name}.")
    choices = _earlier_releases(prompt, environment, live)
    wanted = given.get("to", "")
    target = next((one.version for one in choices if str(one.version.number) == wanted), None)
    context: dict[str, Any] = {
        "section": "prompts",
        "prompt": prompt,
        "environment": environment,
        "live": live,
        "choices": choices,
        "reason": given.get("reason", ""),
    }
    status = 200
    if request.method == "POST":
        try:
            chosen = target or _version(actor, name, wanted or "latest")
            seen = request.POST.get("seen") or None
            release = releases.roll_back(
                actor, prompt, environment, to=chosen, reason=context["reason"].strip(), expected_live=seen
            )
        except Problem as problem:
            context["errors"], status = errors_of(problem), problem.kind.status
        else:
            sentence = f"Version {release.version.number} is live in {environment.name} again."
            return done(request, sentence, page_url("registry:prompt-detail", actor, name))
    target = target or releases.previous_version(live)
    if target:
        full = resolution.resolve(actor.project, Reference(name, Number(target.number)))
        context |= {"target": full, "comparison": diff_view.compare(live.version.content, full.content)}
    return page(request, actor, "registry/rollback.html", context, status=status)


def _earlier_releases(prompt: Prompt, environment: Environment, live: Release) -> list[Release]:
    """The newest release of each version that can be returned to, newest first."""
    rows = releases.returnable(live).select_related("version").defer("version__content").order_by("-number")
    newest: dict[int, Release] = {}
    for release in rows[:500]:
        newest.setdefault(release.version_id, release)
    return list(newest.values())[:PAGE_SIZE]
