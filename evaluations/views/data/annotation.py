"""Pages of annotation: the rounds, one round, and the queue, which is worked through with the keyboard."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from core.errors import Problem
from evaluations import tasks
from evaluations.curation import annotation
from evaluations.datasets import lifecycle as datasets
from evaluations.datasets.cases import SPLITS, label_of
from evaluations.models import Annotation, AnnotationItem, AnnotationRound, Dataset, RoundState
from evaluations.views.data.datasets import heading, typed_answer
from registry.accounts.permissions import Actor, Right
from registry.views.frame import done, errors_of, in_project, only_post, page, page_url, refused, signed_in, whole

MAX_ROUNDS_SHOWN = 50
MAX_CASES_SHOWN = 20
SKIPPED = "annotation-skipped"
UNDOABLE = "annotation-last"
MAX_SKIPPED = 500


@in_project
def round_list(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    context = heading(actor, name, "annotate")
    dataset: Dataset = context["dataset"]
    rounds = dataset.rounds.select_related("version", "result").order_by("-id")[:MAX_ROUNDS_SHOWN]
    context["rounds"] = [(row, annotation.progress(row)) for row in rounds]
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
            annotation_round = annotation.open_round(
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
        return redirect(page_url("evaluations:annotate", actor, name, annotation_round.pk))
    return page(request, actor, "evaluations/datasets/round_new.html", context)


def _usual_member(dataset: Dataset) -> str:
    """Return the member that a label goes to, where answers are objects with one member."""
    if dataset.head is None:
        return ""
    case = dataset.cases.filter(expected__isnull=False).order_by("-id").first()
    expected = case.expected if case else None
    return next(iter(expected)) if isinstance(expected, dict) and len(expected) == 1 else ""


@in_project
def round_detail(request: HttpRequest, actor: Actor, name: str, key: int) -> HttpResponse:
    context = heading(actor, name, "annotate")
    annotation_round = annotation.get_round(context["dataset"], key)
    disputed = annotation.disputed_items(annotation_round).select_related("case")[:MAX_CASES_SHOWN]
    answered = (
        annotation.answered_items(annotation_round)[:MAX_CASES_SHOWN]
        if annotation_round.state != RoundState.OPEN
        else ()
    )
    context |= {
        "round": annotation_round,
        "progress": annotation.progress(annotation_round, actor.user),
        "disputed": [{"item": item, "annotations": item.annotations.all()} for item in disputed],
        "answered": [{"item": item, "annotations": item.annotations.all()} for item in answered],
    }
    return page(request, actor, "evaluations/datasets/round_detail.html", context)


@in_project
def annotate(request: HttpRequest, actor: Actor, name: str, key: int) -> HttpResponse:
    """Annotate the cases of the queue one by one. Number keys choose a label, Enter saves, S skips."""
    context = heading(actor, name, "annotate")
    annotation_round = annotation.get_round(context["dataset"], key)
    if annotation_round.state != RoundState.OPEN:
        return done(request, "This round is closed", page_url("evaluations:round-detail", actor, name, key))
    skipped: list[int] = request.session.get(SKIPPED, {}).get(str(key), [])
    typed = request.POST.get("expected", "")
    errors: dict[str, str] = {}
    if request.method == "POST":
        item_key = whole(request.POST.get("item", "")) or 0
        if request.POST.get("do") == "undo":
            return _undo(request, actor, annotation_round, item_key)
        if request.POST.get("do") == "skip":
            _skip(request, key, [*skipped, item_key])
            return redirect(page_url("evaluations:annotate", actor, name, key))
        try:
            answer = _read_answer(request, annotation_round)
            annotation.annotate(actor, annotation_round, item_key, expected=answer, note=request.POST.get("note", ""))
        except Problem as problem:
            if problem.code == "annotation.not_yours":
                return refused(request, problem, page_url("evaluations:annotate", actor, name, key))
            errors = errors_of(problem) or {"": problem.detail}
        else:
            request.session[UNDOABLE] = [key, item_key]
            return redirect(page_url("evaluations:annotate", actor, name, key))
    item = annotation.next_item(actor, annotation_round, skip=skipped)
    context |= {
        "round": annotation_round,
        "item": item,
        "values": {"expected": typed, "note": request.POST.get("note", "")}
        if errors
        else _stored_values(item, annotation_round),
        "errors": errors,
        "progress": annotation.progress(annotation_round, actor.user),
        "skipped": len(skipped),
        "annotators": annotation.held_by_others(annotation_round, actor.user) if item is None else [],
        "undoable": _undoable(request, annotation_round, actor),
    }
    return page(request, actor, "evaluations/datasets/annotate.html", context, status=400 if errors else 200)


def _undoable(request: HttpRequest, annotation_round: AnnotationRound, actor: Actor) -> Any:
    """Return the last answer of this user, which can be undone, if it is of this round."""
    key, item_key = request.session.get(UNDOABLE, [0, 0])
    if key != annotation_round.pk:
        return None
    rows = Annotation.objects.filter(item=item_key, item__round=annotation_round, by=actor.user)
    return rows.select_related("item").first()


def _undo(request: HttpRequest, actor: Actor, annotation_round: AnnotationRound, item_key: int) -> HttpResponse:
    back = page_url("evaluations:annotate", actor, annotation_round.dataset.name, annotation_round.pk)
    try:
        annotation.undo(actor, annotation_round, item_key)
    except Problem as problem:
        return refused(request, problem, back)
    request.session.pop(UNDOABLE, None)
    return redirect(back)


def _skip(request: HttpRequest, key: int, skipped: list[int]) -> None:
    request.session[SKIPPED] = {**request.session.get(SKIPPED, {}), str(key): skipped[-MAX_SKIPPED:]}


@in_project
@only_post
def unskip(request: HttpRequest, actor: Actor, name: str, key: int) -> HttpResponse:
    """Show the skipped cases again."""
    _skip(request, key, [])
    return redirect(page_url("evaluations:annotate", actor, name, key))


def _read_answer(request: HttpRequest, annotation_round: AnnotationRound) -> Any:
    """Return the answer: the selected label, as the round writes it, or the typed text."""
    label = request.POST.get("label", "")
    if label in annotation_round.labels:
        return {annotation_round.label_member: label} if annotation_round.label_member else label
    return typed_answer(request.POST.get("expected", ""))


def _stored_values(item: AnnotationItem | None, annotation_round: AnnotationRound) -> dict[str, Any]:
    """Return the present answer of the case. With two annotators nothing is shown: a proposal would make them agree."""
    if item is None or annotation_round.annotators > 1 or item.case.expected is None:
        return {"expected": "", "label": "", "note": ""}
    expected = item.case.expected
    text = expected if isinstance(expected, str) else datasets.pretty_json(expected)
    return {"expected": text, "label": label_of(expected), "note": ""}


@in_project
@only_post
def decide(request: HttpRequest, actor: Actor, name: str, key: int) -> HttpResponse:
    """Settle a case whose two annotators disagree."""
    annotation_round = annotation.get_round(datasets.get_dataset(actor.project, name), key)
    try:
        item = whole(request.POST.get("item", "")) or 0
        annotation.decide(actor, annotation_round, item, expected=typed_answer(request.POST.get("expected", "")))
    except Problem as problem:
        return refused(request, problem, page_url("evaluations:round-detail", actor, name, key))
    return done(
        request, f"Decided by {signed_in(request).username}", page_url("evaluations:round-detail", actor, name, key)
    )


@in_project
@only_post
def round_end(request: HttpRequest, actor: Actor, name: str, key: int) -> HttpResponse:
    """Use the answers, or end the round without them."""
    annotation_round = annotation.get_round(datasets.get_dataset(actor.project, name), key)
    try:
        if request.POST.get("do") == "close":
            annotation.close(actor, annotation_round)
            return done(request, "Round closed", page_url("evaluations:round-list", actor, name))
        loaded = annotation.apply(actor, annotation_round)
    except Problem as problem:
        return refused(request, problem, page_url("evaluations:round-detail", actor, name, key))
    tasks.start_reports(loaded.version)
    number = loaded.version.number
    sentence = (
        f"Answers saved as version {number}" if loaded.created else "Nothing changed: every case had its answer already"
    )
    return done(request, sentence, page_url("evaluations:dataset-detail", actor, name))
