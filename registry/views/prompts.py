"""Pages of prompts: the list, a new one, the overview, description, history, one version, and snippets to use it."""

import logging
from datetime import UTC, datetime
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import Max, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.dateparse import parse_datetime

from core.errors import Problem
from core.references import Number, Reference, is_environment_name, parse_selector
from infra import charts
from registry.accounts.permissions import Actor, Right
from registry.content import diff_view, lint, snippets
from registry.delivery import fetch_stats
from registry.models import (
    UNDECIDED,
    Environment,
    Inclusion,
    Membership,
    Promotion,
    Prompt,
    PromptDraft,
    PromptVersion,
    VersionCheck,
)
from registry.promotions import approvals, releases
from registry.prompts import includes, listing, resolution, timeline, versions
from registry.prompts import lifecycle as prompts
from registry.views.frame import PAGE_SIZE, done, errors_of, in_project, only_post, page, page_url, refused

logger = logging.getLogger(__name__)

# The rest of the history is one click away.
MAX_EVENTS_SHOWN = 12
MAX_SEARCH_LENGTH = 200
MAX_VERSIONS_CHARTED = 60
# A prompt that was not fetched for so long counts as unused.
UNUSED_DAYS = 30


@in_project
def prompt_list(request: HttpRequest, actor: Actor) -> HttpResponse:
    project = actor.project
    filters = {name: request.GET.get(name, "").strip()[:MAX_SEARCH_LENGTH] for name in FILTERS}
    order = request.GET.get("order", "name")
    order = order if order in listing.ORDERS else "name"
    is_archive = request.GET.get("archived") == "1"
    rows = listing.with_undecided_promotions(listing.prompts_with_heads(project)).filter(
        archived_at__isnull=not is_archive
    )
    for name, narrow in FILTERS.items():
        if filters[name]:
            rows = narrow(rows, filters[name])
    prompts_page = Paginator(listing.order_prompts(rows, order), PAGE_SIZE).get_page(request.GET.get("page"))
    context = {
        "section": "prompts",
        "filters": filters,
        "is_filtered": any(filters.values()),
        "is_archive": is_archive,
        "order": order,
        "page": prompts_page,
        "checks": _checks_of_live(prompts_page),
        "environments": Environment.objects.filter(project=project),
        "folders": listing.folder_names(project),
        "tags": listing.tags_in_use(project),
        "authors": Membership.objects.filter(project=project)
        .order_by("user__username")
        .values_list("user__username", flat=True),
    }
    return page(request, actor, "registry/prompt_list.html", context)


def _unused(rows: QuerySet[Prompt], _value: str) -> QuerySet[Prompt]:
    return fetch_stats.unused_prompts(rows, UNUSED_DAYS)


FILTERS = {
    "search": listing.prompts_matching,
    "folder": listing.prompts_in_folder,
    "tag": lambda rows, tag: rows.filter(tags__contains=[tag]),
    "environment": listing.prompts_live_in,
    "author": listing.prompts_by_author,
    "unused": _unused,
}


def _checks_of_live(prompts_page: "Page[Prompt]") -> dict[int, listing.CheckSummary]:
    """Return the checks of all live versions on the page, by the version's id."""
    live = []
    for prompt in prompts_page:
        for release in prompt.live_releases:  # type: ignore[attr-defined]  # prefetched
            release.version.prompt = prompt
            live.append(release.version)
    return listing.check_summaries(live)


@in_project
def prompt_new(request: HttpRequest, actor: Actor) -> HttpResponse:
    actor.require(Right.EDIT)
    values = {name: request.POST.get(name, "") for name in ("name", "description", "tags")}
    context: dict[str, Any] = {"section": "prompts", "values": values}
    if request.method != "POST":
        values["name"] = request.GET.get("name", "")[:MAX_SEARCH_LENGTH]
        return page(request, actor, "registry/prompt_new.html", context)
    try:
        prompt = prompts.create(
            actor,
            name=values["name"].strip(),
            description=values["description"],
            tags=_words(values["tags"]),
        )
    except Problem as problem:
        at_name = dict.fromkeys(("prompt.invalid_name", "prompt.name_taken"), "name")
        context["errors"] = errors_of(problem, at_name)
        return page(request, actor, "registry/prompt_new.html", context, status=problem.kind.status)
    return done(
        request,
        f"Prompt {prompt.name} created. Write its first version.",
        page_url("registry:editor", actor, prompt.name),
    )


def _words(text: str) -> list[str]:
    """Split tags, which are separated by commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


@in_project
def prompt_detail(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    prompt = prompts.get_prompt(actor.project, name)
    lanes = _lanes(actor, prompt)
    live = next(
        (lane["release"].version for lane in lanes if lane["environment"].name == "production" and lane["release"]),
        None,
    )
    version = _full(prompt, live or prompt.head)
    waiting = _waiting(prompt)
    context = {
        **heading(actor, prompt, "overview"),
        "lanes": lanes,
        "waiting_here": waiting,
        "change": _first_change(waiting),
        "version": version,
        "checks": listing.check_summaries([version]).get(version.pk) if version else None,
        "uses": _uses(version),
        "used_by": prompts.prompts_including(prompt),
        "line": timeline.timeline_page(prompt, length=MAX_EVENTS_SHOWN),
    }
    return page(request, actor, "registry/prompt_detail.html", context)


def heading(actor: Actor, prompt: Prompt, tab: str) -> dict[str, Any]:
    """Return the context of the heading of all pages of a prompt."""
    return {
        "section": "prompts",
        "prompt": prompt,
        "tab": tab,
        "version_count": prompt.head.number if prompt.head else 0,
        "has_draft": PromptDraft.objects.filter(prompt=prompt, user=actor.user).exists(),
    }


def _full(prompt: Prompt, version: PromptVersion | None) -> PromptVersion | None:
    """Return the version with its content and the environments where it is live."""
    return resolution.with_live_environments(prompt.versions.filter(pk=version.pk)).first() if version else None


def _waiting(prompt: Prompt) -> list[tuple[Promotion, approvals.ApprovalStatus]]:
    """Return undecided promotions with their approval status; there are few at a time."""
    rows = Promotion.objects.filter(prompt=prompt, status__in=UNDECIDED).order_by("id")
    full = rows.select_related("environment", "prompt", "version__author_key", "requested_by_key", "replaces__version")
    return [(row, approvals.get_approval_status(row)) for row in full]


def _first_change(waiting: list[tuple[Promotion, approvals.ApprovalStatus]]) -> dict[str, Any] | None:
    """Return the changes of the oldest undecided promotion that replaces something."""
    for promotion, _ in waiting:
        live = approvals.live_release(promotion.environment, promotion.prompt)
        if live and live.version_id != promotion.version_id:
            comparison = diff_view.compare(live.version.content, promotion.version.content)
            return {"promotion": promotion, "comparison": comparison}
    return None


def _lanes(actor: Actor, prompt: Prompt) -> list[dict[str, Any]]:
    """Return each environment with its live release, and whether it can be rolled back."""
    live = {release.environment_id: release for release in listing.newest_releases().filter(prompt=prompt)}
    return [
        {
            "environment": environment,
            "release": live.get(environment.pk),
            "has_earlier": environment.pk in live and releases.previous_version(live[environment.pk]) is not None,
        }
        for environment in Environment.objects.filter(project=actor.project)
    ]


def _uses(version: PromptVersion | None) -> list[Inclusion]:
    if version is None:
        return []
    rows = Inclusion.objects.filter(version=version).select_related("included__prompt")
    return list(rows.defer("included__content", "included__prompt__head_text"))


@in_project
def prompt_history(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    prompt = prompts.get_prompt(actor.project, name)
    before = _moment(request.GET.get("before", ""))
    releases_only = request.GET.get("show") == "releases"
    line = timeline.timeline_page(prompt, before=before, length=PAGE_SIZE, releases_only=releases_only)
    context = {
        **heading(actor, prompt, "history"),
        "line": line,
        "is_later_page": before is not None,
        "only_releases": releases_only,
        "chart": _tokens_by_version(prompt) if before is None and not releases_only else None,
    }
    return page(request, actor, "registry/prompt_history.html", context)


def _tokens_by_version(prompt: Prompt) -> charts.LineChart | None:
    """Return a chart of the tokens of the newest versions; a line needs three points."""
    newest = list(prompt.versions.order_by("-number").values_list("number", "tokens")[:MAX_VERSIONS_CHARTED])
    if len(newest) < 3:
        return None
    values = [(f"v{number}", tokens) for number, tokens in reversed(newest)]
    bloated = max(tokens for _, tokens in values) > lint.BLOATED_TOKENS / 2
    limit = (f"{lint.BLOATED_TOKENS:,}: evaluate fine-tuning", lint.BLOATED_TOKENS) if bloated else None
    return charts.line_chart("tokens", "Tokens by version", values, unit="tokens", limit=limit)


def _moment(text: str) -> datetime | None:
    try:
        moment = parse_datetime(text)
    except ValueError:
        return None
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC)


@in_project
def version_detail(request: HttpRequest, actor: Actor, name: str, number: int) -> HttpResponse:
    prompt = prompts.get_prompt(actor.project, name)
    version = resolution.resolve(actor.project, Reference(name, Number(number)))
    numbers = prompt.versions.filter(number__lt=number).aggregate(previous=Max("number"))
    released = prompt.releases.filter(version=version).select_related("environment").order_by("-id")
    context = {
        **heading(actor, prompt, "version"),
        "version": version,
        "previous_number": numbers["previous"],
        "checks": VersionCheck.objects.filter(project=actor.project)
        .of_versions([version])
        .order_by("name", "-id")
        .distinct("name"),
        "released": released[:PAGE_SIZE],
        "uses": _uses(version),
        "environments": Environment.objects.filter(project=actor.project),
    }
    return page(request, actor, "registry/version_detail.html", context)


@in_project
def version_use(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """Show snippets that fetch the prompt, with the reference filled in."""
    prompt = prompts.get_prompt(actor.project, name)
    environments = list(Environment.objects.filter(project=actor.project).values_list("name", flat=True))
    selector = request.GET.get("at") or (environments[-1] if environments else "latest")
    problem: Problem | None = None
    version = None
    try:
        version = resolution.resolve(actor.project, Reference(name, parse_selector(selector)))
    except Problem as refusal:
        problem = refusal
        selector = selector if is_environment_name(selector) else "latest"
    context = {
        **heading(actor, prompt, "use"),
        "selector": selector,
        "selectors": [*environments, "latest", *([str(version.number), version.content_hash] if version else [])],
        "version": version,
        "problem": problem,
        "snippets": snippets.snippets(
            request.build_absolute_uri("/").rstrip("/"),
            name,
            selector,
            version.content if version else {},
            _used_variables(version) if version else (),
        ),
    }
    return page(request, actor, "registry/version_use.html", context)


def _used_variables(version: PromptVersion) -> frozenset[str]:
    """Return the variables of a version's templates and partials; none where they cannot be analysed now."""
    partials = [partial.content for partial in includes.get_partials([version]).values()]
    try:
        return versions.renderer_pool().survey(version.content, partials, owner=version.prompt.project_id).variables
    except Problem as problem:
        logger.warning("snippets.no_variables version=%s %s", version.pk, problem.code)
        return frozenset()


@in_project
def prompt_about(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """Edit the description and tags of a prompt, or archive it."""
    prompt = prompts.get_prompt(actor.project, name)
    actor.require(Right.EDIT)
    values = {"description": prompt.description, "tags": ", ".join(prompt.tags)}
    context: dict[str, Any] = {**heading(actor, prompt, "about"), "values": values}
    if request.method != "POST":
        return page(request, actor, "registry/prompt_about.html", context)
    values |= {member: request.POST.get(member, "") for member in ("description", "tags")}
    try:
        prompts.describe(actor, prompt, description=values["description"], tags=_words(values["tags"]))
    except Problem as problem:
        context["errors"] = errors_of(problem)
        return page(request, actor, "registry/prompt_about.html", context, status=problem.kind.status)
    return done(request, "Prompt saved", page_url("registry:prompt-detail", actor, name))


@in_project
@only_post
def prompt_archive(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    prompt = prompts.get_prompt(actor.project, name)
    try:
        prompts.archive(actor, prompt)
    except Problem as problem:
        return refused(request, problem, page_url("registry:prompt-about", actor, name))
    return done(request, f"Prompt {name} archived; nothing is deleted", page_url("registry:prompt-detail", actor, name))


@in_project
@only_post
def prompt_restore(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    prompts.restore(actor, prompts.get_prompt(actor.project, name))
    return done(request, f"Prompt {name} restored", page_url("registry:prompt-detail", actor, name))
