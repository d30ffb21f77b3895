"""Querysets for lists: everything that a row shows, in a number of queries that does not grow with the rows."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from django.db import connection
from django.db.models import Exists, F, OuterRef, Prefetch, Q, QuerySet, Subquery
from django.db.models.expressions import OrderBy
from django.db.models.functions import Coalesce

from registry.models import (
    UNDECIDED,
    CheckStatus,
    Project,
    Promotion,
    Prompt,
    PromptVersion,
    Release,
    VersionCheck,
)

# The environment whose checks count for "needs care".
CARE_ENVIRONMENT = "production"


def prompts_with_heads(project: Project) -> QuerySet[Prompt]:
    """Return prompts with their head (newest version) and `live_releases` (one per environment, in order)."""
    rows = Prompt.objects.filter(project=project).select_related("head").defer("head__content", "head_text")
    return rows.prefetch_related(Prefetch("releases", newest_releases(), to_attr="live_releases"))


def newest_releases() -> QuerySet[Release]:
    """Return what is live: the newest release of each prompt in each environment, in the environments' order."""
    newest = Release.objects.order_by("prompt_id", "environment__position", "environment_id", "-number")
    distinct = newest.distinct("prompt_id", "environment__position", "environment_id")
    return distinct.select_related("environment", "version").defer("version__content")


def with_undecided_promotions(prompts: QuerySet[Prompt]) -> QuerySet[Prompt]:
    """Return prompts with `undecided`: their open and approved promotions."""
    waiting = Promotion.objects.filter(status__in=UNDECIDED).select_related("environment", "version")
    return prompts.prefetch_related(
        Prefetch("promotions", waiting.defer("version__content").order_by("id"), to_attr="undecided")
    )


def prompts_matching(prompts: QuerySet[Prompt], text: str) -> QuerySet[Prompt]:
    """Return prompts with `text` in their name or description, or as a tag."""
    return prompts.filter(Q(name__icontains=text) | Q(description__icontains=text) | Q(tags__contains=[text]))


def prompts_live_in(prompts: QuerySet[Prompt], environment: str) -> QuerySet[Prompt]:
    """Return prompts with a live version in the environment."""
    return prompts.filter(
        pk__in=Release.objects.filter(environment__name=environment, environment__project=F("prompt__project")).values(
            "prompt_id"
        )
    )


def prompts_in_folder(prompts: QuerySet[Prompt], folder: str) -> QuerySet[Prompt]:
    """Return prompts below a folder: `support` has `support.triage` and `support.reply.short`."""
    return prompts.filter(name__startswith=f"{folder}.")


def prompts_by_author(prompts: QuerySet[Prompt], author: str) -> QuerySet[Prompt]:
    """Return prompts with a version by this author."""
    return prompts.filter(Exists(PromptVersion.objects.filter(prompt=OuterRef("pk"), author_name=author)))


ORDERS: dict[str, list[str | OrderBy]] = {
    "name": ["name"],
    "-name": ["-name"],
    "-changed": [F("head__created_at").desc(nulls_last=True), "name"],
    "changed": [F("head__created_at").asc(nulls_last=True), "name"],
    "-tokens": [F("head__tokens").desc(nulls_last=True), "name"],
    "tokens": [F("head__tokens").asc(nulls_last=True), "name"],
    "care": ["-is_failing", "-is_waiting", "name"],
}


def order_prompts(prompts: QuerySet[Prompt], order: str) -> QuerySet[Prompt]:
    """Sort prompts by one of ORDERS; `care` puts failing checks of what is live in production first, then what
    waits."""
    if order == "care":
        live = Release.objects.filter(prompt=OuterRef("pk"), environment__name=CARE_ENVIRONMENT).order_by("-number")
        newer = VersionCheck.objects.alias(measured_prompt=Coalesce("prompt_id", 0)).filter(
            project=OuterRef("project"),
            content_hash=OuterRef("content_hash"),
            name=OuterRef("name"),
            measured_prompt=Coalesce(OuterRef("prompt_id"), 0),
            pk__gt=OuterRef("pk"),
        )
        failing = VersionCheck.objects.filter(
            ~Exists(newer),
            Q(prompt=None) | Q(prompt=OuterRef("pk")),
            project=OuterRef("project"),
            content_hash=OuterRef("live_hash"),
            status=CheckStatus.FAILED,
        )
        waiting = Promotion.objects.filter(prompt=OuterRef("pk"), status__in=UNDECIDED)
        prompts = prompts.alias(live_hash=Subquery(live.values("version__content_hash")[:1])).alias(
            is_failing=Exists(failing), is_waiting=Exists(waiting)
        )
    return prompts.order_by(*ORDERS[order])


@dataclass(frozen=True)
class CheckSummary:
    """The newest results of a version's checks."""

    passed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def check_summaries(versions: Iterable[PromptVersion]) -> dict[int, CheckSummary]:
    """Return the newest result of every check on each version that has any, by the version's id, in one query."""
    rows = list(versions)
    if not rows:
        return {}
    checks = VersionCheck.objects.filter(project=rows[0].prompt.project_id).of_versions(rows)
    newest: dict[tuple[str, int | None], list[VersionCheck]] = {}
    once = ("content_hash", "prompt_id", "name")
    for check in checks.order_by(*once, "-id").distinct(*once):
        newest.setdefault((check.content_hash, check.prompt_id), []).append(check)
    summaries: dict[int, CheckSummary] = {}
    for version in rows:
        own_checks = [
            check for prompt in (None, version.prompt_id) for check in newest.get((version.content_hash, prompt), ())
        ]
        for check in sorted(own_checks, key=lambda check: check.name):
            summary = summaries.setdefault(version.pk, CheckSummary())
            (summary.passed if check.status == CheckStatus.PASSED else summary.failed).append(check.name)
    return summaries


def folder_names(project: Project) -> list[str]:
    """Return the first words of dotted names, in order."""
    sql = """SELECT DISTINCT split_part(name, '.', 1) FROM registry_prompt
             WHERE project_id = %s AND archived_at IS NULL AND name LIKE '%%.%%' ORDER BY 1"""
    return _column(sql, project)


def tags_in_use(project: Project) -> list[str]:
    """Return all tags in use, in order."""
    sql = """SELECT DISTINCT unnest(tags) FROM registry_prompt
             WHERE project_id = %s AND archived_at IS NULL ORDER BY 1"""
    return _column(sql, project)


def _column(sql: str, project: Project) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(sql, [project.pk])
        return [row[0] for row in cursor.fetchall()]
