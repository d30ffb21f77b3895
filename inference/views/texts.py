"""Pages of texts of calls: what the project keeps, and those that are kept."""

from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse

from core import redaction
from core.errors import Fault, Problem
from inference.calls import subjects
from inference.models import Call, CallText
from inference.texts import policy as texts
from registry.accounts.permissions import Actor, Right
from registry.views.frame import (
    PAGE_SIZE,
    decimal,
    done,
    errors_of,
    in_project,
    only_post,
    page,
    page_url,
    refused,
    whole,
)


@in_project
def text_policy(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Show what the project keeps of its calls' texts. With POST, set it."""
    actor.require(Right.ADMINISTER)
    now = texts.policy_of(actor.project)
    values: dict[str, Any] = {"share": f"{100 * now.share:g}", "days": str(now.days)}
    values |= {"presets": now.presets, "patterns": "\n".join(now.patterns)}
    context: dict[str, Any] = {"section": "settings", "tab": "texts"}
    status = 200
    if request.method == "POST":
        values = {name: request.POST.get(name, "").strip()[:10_000] for name in ("share", "days", "patterns")}
        values["presets"] = request.POST.getlist("presets")
        try:
            lines = [line.strip() for line in values["patterns"].splitlines()]
            texts.set_policy(
                actor,
                share=_percent(values["share"]) / 100,
                days=whole(values["days"]) or 0,
                presets=values["presets"],
                patterns=[line for line in lines if line],
            )
            return done(request, "Saved. It holds from the next call on.", page_url("inference:text-policy", actor))
        except Problem as problem:
            context["errors"], status = errors_of(problem), problem.kind.status
    context |= {
        "values": values,
        "presets": [(name, title) for name, (title, _) in redaction.PRESETS.items()],
        "count": CallText.objects.filter(project=actor.project).count(),
    }
    return page(request, actor, "inference/text_policy.html", context, status=status)


def _percent(text: str) -> float:
    number = decimal(text.removesuffix("%"))
    if number is None:
        fault = Fault("/share", "type", "Must be a number from 0 to 100.")
        raise Problem("text_policy.invalid", fault.message, faults=[fault])
    return number


@in_project
@only_post
def texts_delete(request: HttpRequest, actor: Actor) -> HttpResponse:
    count = texts.delete_texts(actor)
    return done(request, f"{count:,} texts deleted", page_url("inference:text-policy", actor))


@in_project
@only_post
def subject_delete(request: HttpRequest, actor: Actor) -> HttpResponse:
    address = page_url("inference:text-policy", actor)
    try:
        deleted = subjects.delete(actor, request.POST.get("subject", "").strip())
    except Problem as problem:
        return refused(request, problem, address)
    if deleted == subjects.Deletion(0, 0, 0):
        return done(request, "There is nothing of that subject", address)
    gone = f"{deleted.texts:,} texts and {deleted.feedback:,} values of feedback are deleted"
    return done(request, f"{deleted.calls:,} calls no longer name it; {gone}", address)


@in_project
def text_list(request: HttpRequest, actor: Actor) -> HttpResponse:
    """List the texts that are kept, the newest first, with the calls that they are of."""
    actor.require(Right.EDIT)
    rows = CallText.objects.filter(project=actor.project).order_by("-at", "-id")
    texts_page = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    calls = Call.objects.filter(project=actor.project, reference__in=[row.reference for row in texts_page])
    by_reference = {call.reference: call for call in calls.select_related("version__prompt").defer("version__content")}
    context = {"section": "calls", "page": texts_page}
    context["rows"] = [(row, by_reference.get(row.reference)) for row in texts_page]
    return page(request, actor, "inference/text_list.html", context)
