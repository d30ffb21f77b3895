"""Pages of promotions: the inbox, the list, requesting one, reviewing and releasing it; and rolling back."""

from collections.abc import Callable
from typing import Any

from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse

from core.content import empty_content
from core.errors import Problem
from core.references import Number, Reference, parse_selector
from registry.accounts import invitations
from registry.accounts.permissions import Actor, Right
from registry.content import diff_view
from registry.models import UNDECIDED, Environment, Promotion, PromotionStatus, Prompt, PromptVersion, Release
from registry.promotions import approvals, contributors, environments, guards, inbox, releases, workflow
from registry.prompts import lifecycle as prompts
from registry.prompts import listing, resolution
from registry.prompts.model_lookup import findings_on_model
from registry.prompts.pinned import pinned_changes
from registry.views.frame import PAGE_SIZE, done, errors_of, in_project, only_post, page, page_url, signed_in


@in_project
def inbox_page(request: HttpRequest, actor: Actor) -> HttpResponse:
    context = {
        "section": "inbox",
        "invitations": invitations.invitations_of(signed_in(request)),
        "to_review": inbox.promotions_to_review(actor)[:PAGE_SIZE],
        "to_release": inbox.promotions_to_release(actor)[:PAGE_SIZE],
        "to_answer": inbox.promotions_to_answer(actor)[:PAGE_SIZE],
        "elsewhere": inbox.promotions_waiting_for_others(actor)[:PAGE_SIZE],
        "drafts": inbox.uncommitted_drafts(actor)[:PAGE_SIZE],
    }
    return page(request, actor, "registry/inbox.html", context)


@in_project
def promotion_list(request: HttpRequest, actor: Actor) -> HttpResponse:
    rows = Promotion.objects.filter(environment__project=actor.project)
    rows = rows.select_related("prompt", "version", "environment").defer("version__content", "prompt__head_text")
    filters = {name: request.GET.get(name, "") for name in ("status", "environment", "prompt")}
    if filters["status"] in PromotionStatus.values:
        rows = rows.filter(status=filters["status"])
    elif filters["status"] == "undecided":
        rows = rows.filter(status__in=UNDECIDED)
    if filters["environment"]:
        rows = rows.filter(environment__name=filters["environment"])
    if filters["prompt"]:
        rows = rows.filter(prompt__name=filters["prompt"])
    context = {
        "section": "promotions",
        "filters": filters,
        "statuses": PromotionStatus.choices,
        "environments": Environment.objects.filter(project=actor.project),
        "page": Paginator(rows.order_by("-id"), PAGE_SIZE).get_page(request.GET.get("page")),
    }
    return page(request, actor, "registry/promotion_list.html", context)


@in_project
def promotion_new(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """Request a promotion: of which version, to which environment, why, and what it would replace."""
    actor.require(Right.EDIT)
    prompt = prompts.get_prompt(actor.project, name)
    if prompt.head is None:
        raise Problem("prompt.no_versions", f"{name} has no version yet.")
    form = request.POST if request.method == "POST" else request.GET
    values = {
        "version": form.get("version") or str(prompt.head.number),
        "environment": form.get("environment", ""),
        "reason": form.get("reason", ""),
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
        environment = environments.get_environment(actor.project, values["environment"])
        promotion = workflow.request(actor, prompt, version, environment, reason=values["reason"].strip())
    except Problem as problem:
        fields = dict.fromkeys(
            ("promotion.already_live", "promotion.already_open", "environment.not_found"), "environment"
        )
        context["errors"] = errors_of(problem, fields)
        return page(request, actor, "registry/promotion_new.html", context, status=problem.kind.status)
    next_step = "It can be released once it is approved." if environment.protected else "It can be released now."
    sentence = f"Promotion to {environment.name} requested. {next_step}"
    return done(request, sentence, page_url("registry:promotion-detail", actor, promotion.pk))


def _version(actor: Actor, name: str, selector: str) -> PromptVersion:
    return resolution.resolve(actor.project, Reference(name, parse_selector(selector)))


def _targets(actor: Actor, prompt: Prompt, selector: str) -> list[dict[str, Any]]:
    """Return each environment with what the version would replace there."""
    live = {release.environment_id: release for release in listing.newest_releases().filter(prompt=prompt)}
    rows = []
    for environment in Environment.objects.filter(project=actor.project):
        release = live.get(environment.pk)
        is_live = release is not None and str(release.version.number) == selector
        rows.append({"environment": environment, "release": release, "is_live": is_live})
    return rows


def _next_target(targets: list[dict[str, Any]]) -> str:
    """Return the environment after the last one where the version is live; else the first."""
    reached = max((index for index, target in enumerate(targets) if target["is_live"]), default=-1)
    following = [*targets[reached + 1 :], *targets]
    return next((target["environment"].name for target in following if not target["is_live"]), "")


@in_project
def promotion_detail(request: HttpRequest, actor: Actor, number: int) -> HttpResponse:
    return _review_page(request, actor, workflow.get_promotion(actor.project, number))


def _review_page(
    request: HttpRequest, actor: Actor, row: Promotion, *, typed: str = "", problem: Problem | None = None
) -> HttpResponse:
    state = approvals.get_approval_status(row)
    is_decided = row.status not in UNDECIDED
    compared = approvals.compared_release(row)
    live_version = compared.version if compared else None
    release = getattr(row, "release", None)
    live_content = live_version.content if live_version else empty_content(row.version.content["kind"])
    context = {
        "section": "promotions",
        "promotion": row,
        "prompt": row.prompt,
        "state": state,
        "is_decided": is_decided,
        "possible_approvers": None if is_decided else approvals.count_possible_approvers(row),
        "live_version": live_version,
        "model_findings": [] if is_decided else findings_on_model(actor.project, row.version.content),
        "comparison": diff_view.compare(live_content, row.version.content),
        "pinned": [
            (change, diff_view.compare(change.old_content, change.new_content))
            for change in pinned_changes(contributors.reviewed_pins(row.environment, compared), row.version)
        ],
        "contributors": row.contributors.select_related("user"),
        "blocked": guards.blocked_reasons(actor, row, state),
        "reviews": row.reviews.order_by("id"),
        "release": release,
        "replaced_by": releases.next_release(release) if release else None,
        "is_mine": row.requested_by_id == signed_in(request).pk,
        "typed": typed,
        "errors": errors_of(problem) if problem else {},
    }
    status = problem.kind.status if problem else 200
    return page(request, actor, "registry/promotion_detail.html", context, status=status)


Verb = Callable[[Actor, Promotion, str, str | None], object]
VERBS: dict[str, tuple[Verb, str]] = {
    "approve": (
        lambda actor, row, text, seen: workflow.approve(actor, row, comment=text, seen=seen),
        "Promotion approved",
    ),
    "request-changes": (
        lambda actor, row, text, _: workflow.request_changes(actor, row, comment=text),
        "Changes requested",
    ),
    "reject": (lambda actor, row, text, _: workflow.reject(actor, row, comment=text), "Promotion rejected"),
    "comment": (lambda actor, row, text, _: workflow.add_comment(actor, row, comment=text), "Comment added"),
    "withdraw": (lambda actor, row, _text, _: workflow.withdraw(actor, row), "Promotion withdrawn"),
    "apply": (
        lambda actor, row, _text, seen: workflow.apply(actor, row, expected_live=seen),
        "Released to {environment}",
    ),
    "override": (
        lambda actor, row, text, seen: workflow.apply(actor, row, expected_live=seen, override=workflow.Override(text)),
        "Released to {environment}; the override and its reason are in the audit log",
    ),
}


@in_project
@only_post
def promotion_act(request: HttpRequest, actor: Actor, number: int, verb: str) -> HttpResponse:
    """Do one verb, with its comment. A refusal comes back with the page, and with what was typed."""
    row = workflow.get_promotion(actor.project, number)
    if verb not in VERBS:
        raise Http404
    act, sentence = VERBS[verb]
    text = request.POST.get("text", "").strip()
    try:
        act(actor, row, text, request.POST.get("seen") or None)
    except Problem as problem:
        fresh = workflow.get_promotion(actor.project, number)
        return _review_page(request, actor, fresh, typed=text, problem=problem)
    sentence = sentence.format(environment=row.environment.name)
    return done(request, sentence, page_url("registry:promotion-detail", actor, number))


@in_project
def rollback(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """Choose an earlier release of an environment, see what it changes, give a reason, roll back."""
    prompt = prompts.get_prompt(actor.project, name)
    form = request.POST if request.method == "POST" else request.GET
    environment = environments.get_environment(actor.project, form.get("environment") or "production")
    live = approvals.live_release(environment, prompt)
    if live is None:
        raise Problem("release.nothing_live", f"Nothing of {name} is live in {environment.name}.")
    choices = _earlier_releases(prompt, environment, live)
    number = form.get("to", "")
    target = next((release.version for release in choices if str(release.version.number) == number), None)
    context: dict[str, Any] = {
        "section": "prompts",
        "prompt": prompt,
        "environment": environment,
        "live": live,
        "choices": choices,
        "reason": form.get("reason", ""),
    }
    status = 200
    if request.method == "POST":
        try:
            version = target or _version(actor, name, number or "latest")
            seen = request.POST.get("seen") or None
            release = releases.roll_back(
                actor, prompt, environment, to=version, reason=context["reason"].strip(), expected_live=seen
            )
        except Problem as problem:
            context["errors"], status = errors_of(problem), problem.kind.status
        else:
            sentence = f"{environment.name.capitalize()} rolled back to version {release.version.number}"
            return done(request, sentence, page_url("registry:prompt-detail", actor, name))
    target = target or releases.previous_version(live)
    if target:
        full = resolution.resolve(actor.project, Reference(name, Number(target.number)))
        context |= {"target": full, "comparison": diff_view.compare(live.version.content, full.content)}
    return page(request, actor, "registry/rollback.html", context, status=status)


def _earlier_releases(prompt: Prompt, environment: Environment, live: Release) -> list[Release]:
    """Return the newest release of each version that can be rolled back to, newest first."""
    rows = releases.rollback_targets(live).select_related("version").defer("version__content").order_by("-number")
    newest: dict[int, Release] = {}
    for release in rows[:500]:
        newest.setdefault(release.version_id, release)
    return list(newest.values())[:PAGE_SIZE]
