"""Settings of a project: members, environments and their rules, and the audit log."""

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.dateparse import parse_date

from core.errors import Problem
from core.references import quoted
from registry.accounts import invitations, projects
from registry.accounts.permissions import Actor, Right
from registry.models import AuditEntry, Environment, Membership, Role
from registry.promotions import environments
from registry.promotions.environments import Rules
from registry.views.frame import PAGE_SIZE, done, errors_of, in_project, only_post, page, page_url, refused, whole

EXPORT_CHUNK = 1_000


# --- Members --------------------------------------------------------------------------------------------------------
@in_project
def members(request: HttpRequest, actor: Actor) -> HttpResponse:
    """List members and invitations; a form invites, another one changes a member's role."""
    values = {"username": request.POST.get("username", "").strip(), "role": request.POST.get("role", Role.EDITOR)}
    context: dict[str, Any] = {"section": "settings", "tab": "members", "values": values, "roles": Role.choices}
    status = 200
    if request.method == "POST":
        try:
            sentence = _set_role(request, actor, **values)
        except Problem as problem:
            context["errors"] = errors_of(problem, {"member.unknown_user": "username", "member.last_admin": "role"})
            status = problem.kind.status
        else:
            return done(request, sentence, page_url("registry:members", actor))
    if actor.may(Right.ADMINISTER):
        context["invitations"] = invitations.open_invitations(actor.project)
    rows = Membership.objects.filter(project=actor.project).select_related("user").order_by("user__username")
    return page(request, actor, "registry/settings/members.html", {**context, "rows": rows}, status=status)


def _set_role(request: HttpRequest, actor: Actor, *, username: str, role: str) -> str:
    """Invite, or change a member's role; return the sentence for the next page."""
    actor.require(Right.ADMINISTER)
    if request.POST.get("do") == "change":
        projects.set_member(actor, user=projects.get_member(actor.project, username), role=_role(role))
        return f"{username} is {role} now"
    invitations.invite(actor, username=username, role=_role(role))
    return f"{username} is invited as {role}, and becomes a member by accepting"


@in_project
@only_post
def invitation_withdraw(request: HttpRequest, actor: Actor, number: int) -> HttpResponse:
    address = page_url("registry:members", actor)
    try:
        withdrawn = invitations.withdraw(actor, invitations.get_invitation(actor.project, number))
    except Problem as problem:
        return refused(request, problem, address)
    return done(request, f"Invitation of {withdrawn.username} withdrawn", address)


def _role(text: str) -> Role:
    if text not in Role.values:
        raise Problem("request.invalid", f"There is no role {quoted(text)}.")
    return Role(text)


@in_project
@only_post
def member_remove(request: HttpRequest, actor: Actor, username: str) -> HttpResponse:
    try:
        actor.require(Right.ADMINISTER)
        ended_keys = projects.remove_member(actor, user=projects.get_member(actor.project, username))
    except Problem as problem:
        return refused(request, problem, page_url("registry:members", actor))
    sentence = f"{username} removed from the project"
    if ended_keys:
        sentence += f". Their keys ended with it: {', '.join(key.name for key in ended_keys)}"
    return done(request, sentence, page_url("registry:members", actor))


# --- Environments ----------------------------------------------------------------------------------------------------
@in_project
def environment_list(request: HttpRequest, actor: Actor) -> HttpResponse:
    context: dict[str, Any] = {"section": "settings", "tab": "environments", "values": {"approvals": "1"}}
    status = 200
    if request.method == "POST":
        context["values"] = request.POST
        try:
            created = environments.create(actor, name=request.POST.get("name", "").strip(), rules=_rules(request))
        except Problem as problem:
            fields = dict.fromkeys(("environment.invalid_name", "environment.name_taken"), "name")
            context["errors"], status = errors_of(problem, fields), problem.kind.status
        else:
            return done(request, f"Environment {created.name} created", page_url("registry:environments", actor))
    context["rows"] = Environment.objects.filter(project=actor.project)
    return page(request, actor, "registry/settings/environments.html", context, status=status)


@in_project
def environment_detail(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    environment = environments.get_environment(actor.project, name)
    values: Any = {
        "protected": "on" if environment.protected else "",
        "required_approvals": environment.required_approvals,
        "required_checks": ", ".join(environment.required_checks),
    }
    context: dict[str, Any] = {
        "section": "settings",
        "tab": "environments",
        "environment": environment,
        "values": values,
        "is_used": environment.releases.exists() or environment.promotions.exists(),
    }
    if request.method != "POST":
        return page(request, actor, "registry/settings/environment.html", context)
    try:
        environments.change_rules(actor, environment, _rules(request))
    except Problem as problem:
        context |= {"values": request.POST, "errors": errors_of(problem)}
        return page(request, actor, "registry/settings/environment.html", context, status=problem.kind.status)
    return done(request, f"Rules of {name} saved", page_url("registry:environments", actor))


def _rules(request: HttpRequest) -> Rules:
    count = whole(request.POST.get("required_approvals", "1").strip())
    checks = [word.strip() for word in request.POST.get("required_checks", "").split(",") if word.strip()]
    return Rules(request.POST.get("protected") == "on", count or 0, checks)


@in_project
@only_post
def environment_move(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    position = whole(request.POST.get("position", ""))
    if position is not None:
        environments.move(actor, environments.get_environment(actor.project, name), to=position)
    return done(request, "Order saved", page_url("registry:environments", actor))


@in_project
@only_post
def environment_remove(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    try:
        environments.remove(actor, environments.get_environment(actor.project, name))
    except Problem as problem:
        return refused(request, problem, page_url("registry:environment", actor, name))
    return done(request, f"Environment {name} removed", page_url("registry:environments", actor))


# --- Audit log -------------------------------------------------------------------------------------------------------
@in_project
def audit_log(request: HttpRequest, actor: Actor) -> HttpResponseBase:
    """List changes, newest first; the same filters as a file with `?export=csv` or `jsonl`."""
    filters = {
        name: request.GET.get(name, "").strip()[:200] for name in ("action", "target", "actor", "since", "until")
    }
    rows = _filtered(AuditEntry.objects.filter(project=actor.project).order_by("-id"), filters)
    if request.GET.get("export") in EXPORTS:
        return _export(rows, request.GET["export"], actor.project.slug)
    before = whole(request.GET.get("before", ""))
    if before:
        rows = rows.filter(pk__lt=before)
    entries = list(rows[: PAGE_SIZE + 1])
    context = {
        "section": "settings",
        "tab": "audit",
        "filters": filters,
        "is_filtered": any(filters.values()),
        "rows": entries[:PAGE_SIZE],
        "older": entries[PAGE_SIZE - 1].pk if len(entries) > PAGE_SIZE else None,
        "is_later_page": before is not None,
    }
    return page(request, actor, "registry/settings/audit.html", context)


def _filtered(rows: QuerySet[AuditEntry], filters: dict[str, str]) -> QuerySet[AuditEntry]:
    lookups = {"action": "action__startswith", "target": "target__startswith", "actor": "actor__startswith"}
    for name, lookup in lookups.items():
        if filters[name]:
            rows = rows.filter(**{lookup: filters[name]})
    since, until = _day(filters["since"]), _day(filters["until"])
    if since:
        rows = rows.filter(created_at__gte=since)
    if until:
        rows = rows.filter(created_at__lt=until + timedelta(days=1))
    return rows


def _day(text: str) -> datetime | None:
    try:
        day = parse_date(text)
    except ValueError:
        return None
    # The day after the last one has no date.
    return datetime(day.year, day.month, day.day, tzinfo=UTC) if day and day.year < 9999 else None


COLUMNS = ("created_at", "actor", "action", "target", "before", "after", "request_id")


class _Echo:
    """A file for csv that hands each line on instead of keeping it."""

    def write(self, line: str) -> str:
        return line


def _as_csv(rows: QuerySet[AuditEntry]) -> Iterator[str]:
    writer = csv.writer(_Echo())
    yield writer.writerow(COLUMNS)
    for entry in rows.values(*COLUMNS).iterator(chunk_size=EXPORT_CHUNK):
        yield writer.writerow([_cell(entry[column]) for column in COLUMNS])


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) if value is not None else ""
    # A spreadsheet would run a cell that starts like a formula.
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _as_jsonl(rows: QuerySet[AuditEntry]) -> Iterator[str]:
    for entry in rows.values(*COLUMNS).iterator(chunk_size=EXPORT_CHUNK):
        yield f"{json.dumps({**entry, 'created_at': entry['created_at'].isoformat()}, ensure_ascii=False)}\n"


EXPORTS = {"csv": (_as_csv, "text/csv; charset=utf-8"), "jsonl": (_as_jsonl, "application/x-ndjson")}


def _export(rows: QuerySet[AuditEntry], form: str, project: str) -> StreamingHttpResponse:
    lines, media_type = EXPORTS[form]
    response = StreamingHttpResponse(lines(rows), content_type=media_type)
    response["Content-Disposition"] = f'attachment; filename="{project}-audit.{form}"'
    return response
