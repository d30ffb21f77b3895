"""Pages of API keys: the list with a form for a new one, and a key with its limits and what it has asked."""

import secrets
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.cache import never_cache

from core.errors import Fault, Problem
from registry.accounts import api_keys, key_limits
from registry.accounts.key_limits import LIMIT_NAMES, DailyLimits, DayUsage
from registry.accounts.permissions import Actor, Right
from registry.models import APIKey, Environment, Membership, Scope, User
from registry.views.frame import decimal, done, errors_of, in_project, only_post, page, page_url, refused, whole

# The default is the second; a key that never expires has to be chosen.
LIFETIMES = (("30", "30 days"), ("90", "90 days"), ("365", "1 year"), ("", "Never expires"))
SCOPE_HINTS = {
    "read": "fetch, render, compare",
    "write": "commit, request promotions, release approved ones, record checks; never approve",
    "observe": "report calls",
    "infer": "ask models through the inference service, at the cost that they have",
}
# In the form for a new key: no member holds it. No user name is like this.
SERVICE_HOLDER = "-"
KEY_FORM = "key_form"


@never_cache
@in_project
def key_list(request: HttpRequest, actor: Actor) -> HttpResponse:
    """List the project's keys, with a form for a new one. The token is in the answer to the form, and nowhere else."""
    actor.require(Right.ADMINISTER)
    values = {"name": request.POST.get("name", ""), "scopes": request.POST.getlist("scopes") or ["read"]}
    values |= {"days": request.POST.get("days", LIFETIMES[1][0]), "owner": request.POST.get("owner", "")}
    values["environment"] = request.POST.get("environment", "")
    context: dict[str, Any] = {"section": "settings", "tab": "keys", "values": values}
    status = 200
    if request.method == "POST":
        if request.POST.get("form") != request.session.pop(KEY_FORM, None):
            return refused(
                request,
                Problem("request.invalid", "This form was submitted already."),
                page_url("registry:keys", actor),
            )
        try:
            context["issued"], context["token"] = api_keys.issue(
                actor,
                name=str(values["name"]),
                scopes=request.POST.getlist("scopes"),
                expires_at=_end(str(values["days"])),
                owner=_owner(actor, str(values["owner"])),
                environment=str(values["environment"]),
            )
        except Problem as problem:
            fields = {"key.unknown_scope": "scopes", "key.invalid": "owner" if problem.faults else "name"}
            context["errors"], status = errors_of(problem, fields), problem.kind.status
        else:
            context["values"] = {"scopes": ["read"], "days": LIFETIMES[1][0], "owner": "", "environment": ""}
    # A form creates one key: reloading the answer, or going back and submitting again, creates no second one.
    request.session[KEY_FORM] = context["form"] = secrets.token_urlsafe(12)
    rows = APIKey.objects.filter(project=actor.project).select_related("owner", "created_by").order_by("-id")
    members = Membership.objects.filter(project=actor.project, user__is_active=True).select_related("user")
    context |= {
        "rows": rows,
        "usage": key_limits.usage_today(actor.project),
        "holders": members.order_by("user__username"),
        "service": SERVICE_HOLDER,
        "scopes": Scope.choices,
        "scope_hints": SCOPE_HINTS,
        "lifetimes": LIFETIMES,
        "environments": Environment.objects.filter(project=actor.project).values_list("name", flat=True),
    }
    return page(request, actor, "registry/settings/keys.html", context, status=status)


def _owner(actor: Actor, holder: str) -> User | None:
    """Return the member who is to hold a key, None for a service; it has to be chosen."""
    if holder == SERVICE_HOLDER:
        return None
    user = User.objects.filter(username=holder, memberships__project=actor.project).first()
    if user is None:
        fault = Fault("/owner", "choice", "Choose who holds the key.")
        raise Problem("request.invalid", fault.message, faults=[fault])
    return user


def _end(days: str) -> datetime | None:
    """Return when a key expires; None is never, and has to be chosen."""
    if days not in dict(LIFETIMES):
        fault = Fault("/days", "choice", "Choose when the key expires.")
        raise Problem("request.invalid", fault.message, faults=[fault])
    return timezone.now() + timedelta(days=int(days)) if days else None


@in_project
def key_detail(request: HttpRequest, actor: Actor, key_id: str) -> HttpResponse:
    """Show a key, with what it has asked of the inference service on its last days. With POST, set its limits."""
    actor.require(Right.ADMINISTER)
    key = api_keys.get_key(actor.project, key_id)
    limits = key_limits.limits_of(key)
    values = {name: _as_typed(getattr(limits, name)) for name in LIMIT_NAMES}
    context: dict[str, Any] = {"section": "settings", "tab": "keys", "values": values}
    status = 200
    if request.method == "POST":
        context["values"] = {name: request.POST.get(name, "").strip()[:40] for name in LIMIT_NAMES}
        try:
            key_limits.set_limits(actor, key, _limits(context["values"]))
            return done(request, f"Limits of {key.name} saved", page_url("registry:key", actor, key_id))
        except Problem as problem:
            context["errors"], status = errors_of(problem), problem.kind.status
    days = key_limits.usage_by_day(key)
    asked_today = next((usage for day, usage in days if day == key_limits.today()), DayUsage())
    context |= {"key": key, "days": days, "is_asking": Scope.INFER in key.scopes}
    context |= {"limits": limits, "today": asked_today, "reached": asked_today.reached(limits)}
    return page(request, actor, "registry/settings/key.html", context, status=status)


def _as_typed(limit: int | Decimal | None) -> str:
    """Write a limit as one would type it: 0.5, not 0.500000."""
    if limit is None:
        return ""
    return f"{limit.normalize():f}" if isinstance(limit, Decimal) else str(limit)


def _limits(values: dict[str, str]) -> DailyLimits:
    """Read the limits as they were typed; an empty field is no limit."""
    numbers: dict[str, Any] = {}
    for name, text in values.items():
        if not text:
            continue
        number = decimal(text) if name == "max_dollars_a_day" else whole(text.replace(",", ""))
        if number is None:
            fault = Fault(f"/{name}", "type", "Must be a number; empty for no limit.")
            raise Problem("key.invalid", fault.message, faults=[fault])
        numbers[name] = Decimal(str(number)) if name == "max_dollars_a_day" else number
    return DailyLimits(**numbers)


@in_project
@only_post
def key_revoke(request: HttpRequest, actor: Actor, key_id: str) -> HttpResponse:
    actor.require(Right.ADMINISTER)
    key = api_keys.get_key(actor.project, key_id)
    api_keys.revoke(actor, key)
    return done(request, f"Key {key.name} revoked", page_url("registry:keys", actor))
