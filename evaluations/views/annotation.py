"""Pages of annotation: the rounds, one round, and the queue that is worked through with the keyboard."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from core.errors import Problem
from evaluations import tasks
from evaluations.curation import annotation
from evaluations.datasets import lifecycle as datasets
from evaluations.datasets.cases import SPLITS, label_of
from evaluations.models import Annotation, AnnotationItem, AnnotationRound, Dataset, RoundState
from evaluations.views.datasets import heading, typed_answer
from registry.accounts.permissions import Actor, Right
from registry.views.frame import done, errors_of, in_project, only_post, page, page_url, refused, signed_in, whole

ROUNDS_SHOWN = 50
DISPUTED_SHOWN = 20
SKIPPED = "annotation-skipped"
UNDOABLE = "annotation-last"
MOST_SKIPPED = 500


@in_project
def round_list(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    context = heading(actor, name, "annotate")
    dataset: Dataset = context["dataset"]
    rounds = dataset.rounds.select_related("version", "result").order_by("-id")[:ROUNDS_SHOWN]
    context["rounds"] = [(one, annotation.progress(one)) for one in rounds]
    return page(request, actor, "evaluations/datasets/round_list.html", context)


@in_project
def round_new(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    actor.require(Right.EDIT)
    context = heading(actor, name, "annotate")
    dataset: Dataset = context["dataset"]
    labels = sorted(label for label in datasets.labels_by_split(dataset.head) if label) if dataset.head else []
    fields = ("title", "labels", "label_member", "split", "only_unanswered")
    values = {key: request.POST.get(key, "") for key in fields}
    values |= {"annotators": request.POST.get("annotators", "1"), "most": request.POST.get("most", "200")}
    if request.method != "POST":
        values["labels"] = ", ".join(labels) if len(labels) <= annotation.MAX_LABELS else ""
        values["label_member"] = _usual_member(dataset)
    context |= {"values": values, "split_names": SPLITS}
    if request.method == "POST":
        try:
            made = annotation.open_round(
                actor,
                dataset,
                title=values["title"],
                annotators=whole(values["annotators"]) or 0,
                labels=values["labels"].split(","),
                label_member=values["label_member"],
                split=values["split"],
                only_unanswered=bool(values["only_unanswered"]),
                most=whole(values["most"]) or 0,
            )
        except Problem as problem:
            context["errors"] = errors_of(problem)
            return page(request, actor, "evaluations/datasets/round_new.html", context, status=problem.kind.status)
        return redirect(page_url("evaluations:annotate", actor, name, made.pk))
    return page(request, actor, "evaluations/datasets/round_new.html", context)


def _usual_member(dataset: Dataset) -> str:
    """The member that a chosen label goes to, where answers are objects with one member."""
    if dataset.head is None:
        return ""
    case = dataset.cases.filter(expected__isnull=False).order_by("-id").first()
    expected = case.expected if case else None
    return next(iter(expected)) if isinstance(expected, dict) and len(expected) == 1 else ""


@in_project
def round_detail(request: HttpRequest, actor: Actor, name: str, key: int) -> HttpResponse:
    context = heading(actor, name, "annotate")
    found = annotation.get_round(context["dataset"], key)
    disputed = annotation.disputed_items(found).select_related("case")[:DISPUTED_SHOWN]
    answered = annotation.answered_items(found)[:DISPUTED_SHOWN] if found.state != RoundState.OPEN else ()
    context |= {
        "round": found,
        "progress": annotation.progress(found, actor.user),
        "disputed": [{"item": item, "annotations": item.annotations.all()} for item in disputed],
        "answered": [{"item": item, "annotations": item.annotations.all()} for item in answered],
    }
    return page(request, actor, "evaluations/datasets/round_detail.html", context)


@in_project
def annotate(request: HttpRequest, actor: Actor, name: str, key: int) -> HttpResponse:
    """The queue: one case at a time. Number keys choose a label, Enter saves, S skips."""
    context = heading(actor, name, "annotate")
    found = annotation.get_round(context["dataset"], key)
    if found.state != RoundState.OPEN:
        return done(request, "This round is over.", page_url("evaluations:round-detail", actor, name, key))
    skipped: list[int] = request.session.get(SKIPPED, {}).get(str(key), [])
    typed = request.POST.get("expected", "")
    errors: dict[str, str] = {}
    if request.method == "POST":
        item_key = whole(request.POST.get("item", "")) or 0
        if request.POST.get("do") == "undo":
            return _undo(request, actor, found, item_key)
        if request.POST.get("do") == "skip":
            _skip(request, key, [*skipped, item_key])
            return redirect(page_url("evaluations:annotate", actor, name, key))
        try:
            answer = _given(request, found)
            annotation.annotate(actor, found, item_key, expected=answer, note=request.POST.get("note", ""))
        except Problem as problem:
            if problem.code == "annotation.not_yours":
                return refused(request, problem, page_url("evaluations:annotate", actor, name, key))
            errors = errors_of(problem) or {"": problem.detail}
        else:
            request.session[UNDOABLE] = [key, item_key]
            return redirect(page_url("evaluations:annotate", actor, name, key))
    item = annotation.next_item(actor, found, skip=skipped)
    context |= {
        "round": found,
        "item": item,
        "values": {"expected": typed, "note": request.POST.get("note", "")} if errors else _before(item, found),
        "errors": errors,
        "progress": annotation.progress(found, actor.user),
        "skipped": len(skipped),
        "held_by": annotation.held_by_others(found, actor.user) if item is None else [],
        "undoable": _undoable(request, found, actor),
    }
    return page(request, actor, "evaluations/datasets/annotate.html", context, status=400 if errors else 200)


def _undoable(request: HttpRequest, found: AnnotationRound, actor: Actor) -> Any:
    """The answer that was just given and can be taken back, if it is of this round."""
    key, item_key = request.session.get(UNDOABLE, [0, 0])
    if key != found.pk:
        return None
    return Annotation.objects.filter(item=item_key, item__round=found, by=actor.user).select_related("item").first()


def _undo(request: HttpRequest, actor: Actor, found: AnnotationRound, item_key: int) -> HttpResponse:
    back = page_url("evaluations:annotate", actor, found.dataset.name, found.pk)
    try:
        annotation.undo(actor, found, item_key)
    except Problem as problem:
        return refused(request, problem, back)
    request.session.pop(UNDOABLE, None)
    return redirect(back)


def _skip(request: HttpRequest, key: int, skipped: list[int]) -> None:
    request.session[SKIPPED] = {**request.session.get(SKIPPED, {}), str(key): skipped[-MOST_SKIPPED:]}


@in_project
@only_post
def unskip(request: HttpRequest, actor: Actor, name: str, key: int) -> HttpResponse:
    """Look at the skipped ones again."""
    _skip(request, key, [])
    return redirect(page_url("evaluations:annotate", actor, name, key))


def _given(request: HttpRequest, found: AnnotationRound) -> Any:
    """The answer: a label that was chosen, as the round writes it, or what was typed."""
    label = request.POST.get("label", "")
    if label in found.labels:
        return {found.label_member: label} if found.label_member else label
    return typed_answer(request.POST.get("expected", ""))


def _before(item: AnnotationItem | None, found: AnnotationRound) -> dict[str, Any]:
    """What the case says now. With two annotators nothing is shown: a proposal would make them agree."""
    if item is None or found.annotators > 1 or item.case.expected is None:
        return {"expected": "", "label": "", "note": ""}
    expected = item.case.expected
    text = expected if isinstance(expected, str) else datasets.pretty_json(expected)
    return {"expected": text, "label": label_of(expected), "note": ""}


@in_project
@only_post
def decide(request: HttpRequest, actor: Actor, name: str, key: int) -> HttpResponse:
    """Settle a case whose two annotators disagree."""
    found = annotation.get_round(datasets.get_dataset(actor.project, name), key)
    try:
        item = whole(request.POST.get("item", "")) or 0
        annotation.decide(actor, found, item, expected=typed_answer(request.POST.get("expected", "")))
    except Problem as problem:
        return refused(request, problem, page_url("evaluations:round-detail", actor, name, key))
    return done(
        request, f"Decided by {signed_in(request).username}.", page_url("evaluations:round-detail", actor, name, key)
    )


@in_project
@only_post
def round_end(request: HttpRequest, actor: Actor, name: str, key: int) -> HttpResponse:
    """Use the answers, or end the round without them."""
    found = annotation.get_round(datasets.get_dataset(actor.project, name), key)
    try:
        if request.POST.get("do") == "close":
            annotation.close(actor, found)
            return done(request, "The round is closed.", page_url("evaluations:round-list", actor, name))
        loaded = annotation.apply(actor, found)
    except Problem as problem:
        return refused(request, problem, page_url("evaluations:round-detail", actor, name, key))
    tasks.start_reports(loaded.version)
    number = loaded.version.number
    sentence = f"Version {number} has the answers." if loaded.created else "Every case had its answer already."
    return done(request, sentence, page_url("evaluations:dataset-detail", actor, name))
