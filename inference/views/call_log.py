"""Pages of the log of calls: a table with filters, one call beside it, and what can be made of calls."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from core.errors import Problem
from evaluations.datasets import lifecycle as datasets
from evaluations.models import Dataset
from evaluations.views.playground import hand_over
from inference.calls import cases, feedback, selection
from inference.models import Call, CallText, FeedbackKind, SpanCount
from registry.accounts.permissions import Actor, Right
from registry.examples import example_sets
from registry.models import Environment, ExampleSet, Prompt
from registry.views.frame import decimal, done, in_project, only_post, page, page_url, refused

MAX_OFFERED = 200
MAX_CHOSEN = selection.PAGE_SIZE
DAYS_OF_SPANS = 7
# Filters whose values are typed; the others are chosen.
TYPED = ("version", "route", "error", "max_score", "label", "subject", "trace", "text")
FEEDBACK_FIELDS = ("kind", "name", "value")


@in_project
def call_list(request: HttpRequest, actor: Actor) -> HttpResponse:
    """List calls, the newest first, with the one that is chosen beside them."""
    return _list_page(request, actor, request.GET.get("call", "")[:64])


def _list_page(
    request: HttpRequest, actor: Actor, reference: str, extra: Mapping[str, Any] | None = None, status: int = 200
) -> HttpResponse:
    filters = {name: request.GET.get(name, "").strip()[:300] for name in selection.FILTERS}
    before = request.GET.get("before", "")[:60]
    context: dict[str, Any] = {"section": "calls", "filters": filters, "before": before}
    try:
        calls_page = selection.page_of(selection.select(actor, filters), before)
    except Problem as problem:
        if problem.code != "request.invalid":
            raise
        context["errors"] = {fault.pointer.strip("/?"): fault.message for fault in problem.faults}
        context["refusal"], status, calls_page = problem.detail, problem.kind.status, selection.CallPage([], "")
    context |= {
        "calls": calls_page.rows,
        "older": calls_page.older,
        "is_filtered": any(filters.values()),
        "has_simulation": any(call.is_simulation for call in calls_page.rows),
        "is_narrow": any(filters[name] for name in TYPED),
        "learned": feedback.feedback_of(actor.project, [call.reference for call in calls_page.rows]),
        "prompts": Prompt.objects.filter(project=actor.project, archived_at=None)[:MAX_OFFERED],
        "environments": Environment.objects.filter(project=actor.project).values_list("name", flat=True),
        "spans": selection.SPANS,
        "span_counts": SpanCount.objects.filter(project=actor.project)[:DAYS_OF_SPANS],
        "datasets": Dataset.objects.filter(project=actor.project, archived_at=None)[:MAX_OFFERED],
    }
    if reference:
        context |= _beside(actor, reference)
    return page(request, actor, "inference/call_list.html", {**context, **(extra or {})}, status=status)


def _beside(actor: Actor, reference: str) -> dict[str, Any]:
    """Return what is shown of one call."""
    call = _get_call(actor, reference)
    retrieval: Mapping[str, Any] = call.version.content.get("retrieval") or {}
    context = {
        "call": call,
        "feedback": feedback.feedback_of(actor.project, [reference]).get(reference, []),
        "kinds": [(kind, label) for kind, label in FeedbackKind.choices if kind != FeedbackKind.BOOLEAN],
        "typed": {"kind": FeedbackKind.CORRECTION.value},
        "collection": retrieval.get("collection", ""),
        "example_sets": ExampleSet.objects.filter(project=actor.project, archived_at=None)[:MAX_OFFERED],
    }
    if actor.may(Right.EDIT):
        context["kept_text"] = CallText.objects.filter(project=actor.project, reference=reference).first()
        context["example"] = cases.example_of(actor, call)
    return context


def _get_call(actor: Actor, reference: str) -> Call:
    call = Call.objects.filter(project=actor.project, reference=reference).select_related("version__prompt").first()
    if call is None:
        raise Problem("call.not_found", f"There is no call {reference[:64]!r}.")
    return call


def _back(request: HttpRequest, actor: Actor, reference: str = "") -> str:
    """Return the address of the list as it was, with a call beside it."""
    query = request.GET.copy()
    if reference:
        query["call"] = reference
    return f"{page_url('inference:call-list', actor)}?{query.urlencode()}"


@in_project
@only_post
def call_feedback(request: HttpRequest, actor: Actor, reference: str) -> HttpResponse:
    """Add what a member says of a call."""
    typed = {name: request.POST.get(name, "").strip() for name in FEEDBACK_FIELDS}
    try:
        call = _get_call(actor, reference)
        value: object = decimal(typed["value"]) if typed["kind"] == FeedbackKind.SCORE else typed["value"]
        if typed["kind"] == FeedbackKind.BOOLEAN:
            value = {"yes": True, "no": False}.get(typed["value"])
        feedback.add(actor, call, kind=typed["kind"], name=typed["name"], value=value)
    except Problem as problem:
        if problem.code != "feedback.invalid":
            raise
        # What was typed is there to be mended.
        extra = {"feedback_refusal": problem.detail, "typed": typed}
        return _list_page(request, actor, reference, extra, problem.kind.status)
    return done(request, "Feedback added", _back(request, actor, reference))


@in_project
@only_post
def call_replay(request: HttpRequest, actor: Actor, reference: str) -> HttpResponse:
    """Open the playground of the call's prompt with the call's variables."""
    actor.require(Right.EDIT)
    call = _get_call(actor, reference)
    text = CallText.objects.filter(project=actor.project, reference=reference).first()
    if text is None:
        problem = Problem("cases.too_few", "Nothing is kept of the text of this call.")
        return refused(request, problem, _back(request, actor, reference))
    prompt = call.version.prompt
    hand_over(request, prompt, text.variables)
    return redirect(f"{page_url('evaluations:playground', actor, prompt.name)}?at={call.version.number}&values=1")


@in_project
@only_post
def call_cases(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Propose the chosen calls as cases of a dataset."""
    references = request.POST.getlist("chosen")[:MAX_CHOSEN]
    address = _back(request, actor)
    try:
        if not references:
            raise Problem("cases.too_few", "Choose the calls first.")
        dataset = datasets.get_dataset(actor.project, request.POST.get("dataset", ""))
        calls = Call.objects.filter(project=actor.project, reference__in=references).select_related("version__prompt")
        result = cases.propose(actor, list(calls), dataset)
    except Problem as problem:
        return refused(request, problem, address)
    sentence = f"{len(result.proposals):,} proposed to {dataset.name}"
    if result.without_text:
        sentence += f"; of {len(result.without_text):,} nothing is kept of the texts"
    if result.other_variables:
        sentence += f"; {len(result.other_variables):,} have other variables than its cases, and are left out"
    return done(request, sentence, page_url("evaluations:proposal-list", actor, dataset.name))


@in_project
@only_post
def call_example(request: HttpRequest, actor: Actor, reference: str) -> HttpResponse:
    """Add a call with its corrected answer to an example set."""
    try:
        example_set = example_sets.get_example_set(actor.project, request.POST.get("set", ""))
        version = cases.add_example(actor, _get_call(actor, reference), example_set)
    except Problem as problem:
        return refused(request, problem, _back(request, actor, reference))
    address = page_url("registry:example-detail", actor, example_set.name)
    return done(request, f"{example_set.name} has version {version.number}", address)
