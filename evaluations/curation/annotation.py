"""Rounds of annotation: one or two annotators a case write expected outputs, and their agreement is measured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from core.errors import Fault, Problem
from core.json_values import normalise_json
from evaluations.datasets import lifecycle as datasets
from evaluations.datasets.cases import MEMBERS, label_of
from evaluations.datasets.ingest import IngestResult
from evaluations.models import (
    Annotation,
    AnnotationItem,
    AnnotationRound,
    Case,
    Dataset,
    RoundState,
    Split,
)
from evaluations.statistics.agreement import Agreement, cohen
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.models import Project, User

MAX_ITEMS = 2_000
MAX_LABELS = 30
MAX_NOTE_LENGTH = 1_000
# An annotator who opens a case has it alone for so long.
HOLD_DURATION = timedelta(minutes=10)


@dataclass(frozen=True)
class Progress:
    """Progress of a round: cases with all their annotations, and those whose two annotators disagree."""

    cases: int
    done: int
    mine: int
    disputed: int
    agreement: Agreement


def get_round(dataset: Dataset, key: int) -> AnnotationRound:
    round_ = AnnotationRound.objects.filter(dataset=dataset, pk=key).select_related("version", "result").first()
    if round_ is None:
        raise Problem("round.not_found", f"{dataset.name} has no round {key}.")
    round_.dataset = dataset
    return round_


def get_applied_round(project: Project, key: int) -> AnnotationRound:
    """Return the project's applied round with this number, or raise `round.not_found` or `round.wrong_state`."""
    round_ = AnnotationRound.objects.filter(dataset__project=project, pk=key).first()
    if round_ is None:
        raise Problem("round.not_found", f"There is no round {key}.")
    if round_.state != RoundState.APPLIED:
        raise Problem("round.wrong_state", f"Round {key} is {RoundState(round_.state).label.lower()}; apply it first.")
    return round_


@transaction.atomic
def open_round(
    actor: Actor,
    dataset: Dataset,
    *,
    title: str,
    annotators: int = 1,
    labels: Sequence[str] = (),
    label_member: str = "",
    split: str = "",
    only_unanswered: bool = False,
    most: int = 200,
) -> AnnotationRound:
    """Choose `most` cases of the newest version to annotate, of one split or all, with or without an answer."""
    actor.require(Right.EDIT)
    if dataset.head is None:
        raise Problem("dataset.no_cases", f"{dataset.name} has no cases to annotate.")
    names = list(dict.fromkeys(label.strip() for label in labels if label.strip()))
    faults = _round_faults(title, annotators, names, label_member, split, most)
    if faults:
        raise Problem("round.invalid", faults[0].message, faults=faults)
    cases = Case.objects.of(dataset.head)
    cases = cases.filter(split=split) if split else cases
    cases = cases.filter(expected=None) if only_unanswered else cases
    # In the order of their groups' hashes, which is a random sample.
    case_keys = list(cases.order_by("group_hash", "id").values_list("pk", flat=True)[:most])
    if not case_keys:
        raise Problem("dataset.no_cases", "No case is left to annotate with these choices.")
    round_ = AnnotationRound.objects.create(
        dataset=dataset,
        version=dataset.head,
        title=title.strip(),
        annotators=annotators,
        labels=names,
        label_member=label_member.strip(),
        created_by_name=actor.name,
    )
    AnnotationItem.objects.bulk_create(AnnotationItem(round=round_, case_id=key) for key in case_keys)
    after = {"cases": len(case_keys), "annotators": annotators}
    audit.record(actor, "annotation.opened", round_, after=after)
    return round_


def _round_faults(
    title: str, annotators: int, labels: Sequence[str], member: str, split: str, most: int
) -> list[Fault]:
    faults = []
    if not 1 <= len(title.strip()) <= 200:
        faults.append(Fault("/title", "length", "Give it a title of 1 to 200 characters."))
    if annotators not in (1, 2):
        faults.append(Fault("/annotators", "range", "One or two annotators look at each case."))
    if len(labels) > MAX_LABELS or any(len(label) > 100 for label in labels):
        faults.append(Fault("/labels", "count", f"At most {MAX_LABELS} labels of 1 to 100 characters."))
    if len(member) > 100:
        faults.append(Fault("/label_member", "length", "Must have at most 100 characters."))
    if split and split not in Split.values:
        faults.append(Fault("/split", "choice", f"Must be one of: {', '.join(Split.values)}."))
    if not 1 <= most <= MAX_ITEMS:
        faults.append(Fault("/most", "range", f"From 1 to {MAX_ITEMS:,} cases."))
    return faults


@transaction.atomic
def next_item(actor: Actor, round_: AnnotationRound, *, skip: Sequence[int] = ()) -> AnnotationItem | None:
    """Reserve the next case for a user for some minutes; None where nothing is left for them.

    First come the cases that they hold already, then those that nobody holds. Cases that others hold come last, and
    only where two answers are needed anyway: one user's open page must not keep the other from working.
    """
    user = _annotator(actor, round_)
    now = timezone.now()
    mine = Annotation.objects.filter(by=user, item__round=round_).values("item")
    waiting = (
        round_.items.filter(annotation_count__lt=round_.annotators).exclude(pk__in=mine).exclude(pk__in=list(skip))
    )
    is_held = Q(held_until__gte=now)
    choices = [
        waiting.filter(is_held, held_by=user).order_by("id"),
        waiting.exclude(is_held).order_by("-annotation_count", "id"),
        waiting.filter(annotation_count=0).order_by("id") if round_.annotators == 2 else waiting.none(),
    ]
    for rows in choices:
        item = rows.select_for_update(skip_locked=True, of=("self",)).first()
        if item is not None:
            item.held_by, item.held_until = user, now + HOLD_DURATION
            item.save(update_fields=["held_by", "held_until"])
            return item
    return None


def held_by_others(round_: AnnotationRound, user: User | None) -> list[str]:
    """Return the names of other users who have a case of the round open now."""
    items = round_.items.filter(held_until__gte=timezone.now(), held_by__isnull=False).exclude(held_by=user)
    return sorted(set(items.values_list("held_by__username", flat=True)))


@transaction.atomic
def annotate(actor: Actor, round_: AnnotationRound, item_key: int, *, expected: object, note: str = "") -> Annotation:
    """Save a user's answer to a case; while the round is open, another one replaces it."""
    user = _annotator(actor, round_)
    answer = _checked_answer(expected, note)
    item = _locked_item(round_, item_key)
    is_mine = Annotation.objects.filter(item=item, by=user).exists()
    if not is_mine and item.annotation_count >= round_.annotators:
        raise Problem("annotation.not_yours", "Others have annotated this case in the meantime; take the next one.")
    values = {"expected": answer, "label": label_of(answer), "note": note, "by_name": user.username}
    annotation, _ = Annotation.objects.update_or_create(item=item, by=user, defaults=values)
    item.annotation_count += not is_mine
    item.held_by = item.held_until = None
    item.save(update_fields=["annotation_count", "held_by", "held_until"])
    return annotation


@transaction.atomic
def undo(actor: Actor, round_: AnnotationRound, item_key: int) -> AnnotationItem:
    """Undo the user's own answer; they hold the case again."""
    user = _annotator(actor, round_)
    item = _locked_item(round_, item_key)
    if not Annotation.objects.filter(item=item, by=user).delete()[0]:
        raise Problem("annotation.not_yours", "You have not annotated this case.")
    item.annotation_count -= 1
    item.held_by, item.held_until = user, timezone.now() + HOLD_DURATION
    item.save(update_fields=["annotation_count", "held_by", "held_until"])
    return item


@transaction.atomic
def decide(actor: Actor, round_: AnnotationRound, item_key: int, *, expected: object) -> AnnotationItem:
    """Decide a case with different answers. The two annotations stay, and so does their agreement."""
    user = _annotator(actor, round_)
    answer = _checked_answer(expected, "")
    item = _locked_item(round_, item_key)
    item.decided, item.decided_by_name = answer, user.username
    item.save(update_fields=["decided", "decided_by_name"])
    return item


def _checked_answer(expected: object, note: str) -> Any:
    faults: list[Fault] = []
    answer = normalise_json(expected, faults)
    if answer in (None, "", {}, []):
        faults.append(Fault("/expected", "required", "Give an answer, or skip the case."))
    if len(note) > MAX_NOTE_LENGTH:
        faults.append(Fault("/note", "too_long", f"Must have at most {MAX_NOTE_LENGTH:,} characters."))
    if faults:
        raise Problem("annotation.invalid", faults[0].message, faults=faults)
    return answer


def _locked_item(round_: AnnotationRound, item_key: int) -> AnnotationItem:
    """Lock the item's row, so that a case that needs two annotations never gets a third."""
    rows = AnnotationItem.objects.select_for_update(of=("self",)).select_related("round")
    item = rows.filter(round=round_, pk=item_key).first()
    if item is None:
        raise Problem("annotation.not_yours", "This case is not in the round.")
    # The current state: the round may have ended since its page was opened.
    _require_open(item.round)
    return item


def disputed_items(round_: AnnotationRound) -> QuerySet[AnnotationItem]:
    """Return undecided cases that two annotators answered differently."""
    return round_.items.filter(pk__in=_disputed_keys(round_)).order_by("id").prefetch_related("annotations")


def answered_items(round_: AnnotationRound) -> QuerySet[AnnotationItem]:
    """Return cases that have all the answers they need."""
    rows = round_.items.filter(annotation_count__gte=round_.annotators).order_by("id")
    return rows.select_related("case").prefetch_related("annotations")


def settled_answer(item: AnnotationItem) -> Any:
    """Return the expected output of a case with all its answers: the decision, else the annotation."""
    return item.decided if item.decided is not None else item.annotations.all()[0].expected


def progress(round_: AnnotationRound, user: User | None = None) -> Progress:
    rows = list(round_.items.values_list("pk", "annotation_count"))
    done = sum(count >= round_.annotators for _, count in rows)
    mine = Annotation.objects.filter(item__round=round_, by=user).count() if user else 0
    return Progress(len(rows), done, mine, len(_disputed_keys(round_)), agreement(round_))


def agreement(round_: AnnotationRound) -> Agreement:
    """Measure the agreement of the two annotators of each case, before any decision."""
    pairs: dict[int, list[str]] = {}
    rows = Annotation.objects.filter(item__round=round_).order_by("item", "created_at", "id")
    for item, label, expected in rows.values_list("item", "label", "expected"):
        pairs.setdefault(item, []).append(_answer_key(label, expected))
    return cohen([(answers[0], answers[1]) for answers in pairs.values() if len(answers) >= 2])


@transaction.atomic
def apply(actor: Actor, round_: AnnotationRound) -> IngestResult:
    """Create the dataset's next version with the answers of the round. `round.wrong_state` while some are disputed."""
    actor.require(Right.EDIT)
    locked = _locked_open(round_)
    if _disputed_keys(round_):
        raise Problem("round.wrong_state", "Some cases have two different answers; decide on those first.")
    changed: dict[int, object] = {}
    present_keys = (
        set(Case.objects.of(round_.dataset.head).values_list("pk", flat=True)) if round_.dataset.head else set()
    )
    items = list(answered_items(round_))
    for item in items:
        answer = settled_answer(item)
        # A case that was changed or removed in the meantime is left alone.
        if item.case_id in present_keys and answer != item.case.expected:
            changed[item.case_id] = _case_with_answer(item.case, answer)
    if not items:
        raise Problem("round.wrong_state", "No case has all its answers yet.")
    loaded = _change_cases(actor, round_.dataset, changed, f"Annotated: {round_.title}"[:500])
    locked.state, locked.result = RoundState.APPLIED, loaded.version
    locked.save(update_fields=["state", "result"])
    kappa = agreement(round_).kappa
    after = {"changed": len(changed), "kappa": kappa and round(kappa, 3)}
    audit.record(actor, "annotation.get_applied_round", loaded.version, after=after)
    return loaded


@transaction.atomic
def close(actor: Actor, round_: AnnotationRound) -> AnnotationRound:
    """End a round without using its answers; they stay readable."""
    actor.require(Right.EDIT)
    locked = _locked_open(round_)
    locked.state = RoundState.CLOSED
    locked.save(update_fields=["state"])
    audit.record(actor, "annotation.closed", locked)
    return locked


def _change_cases(actor: Actor, dataset: Dataset, changed: Mapping[int, object], message: str) -> IngestResult:
    """Change the cases at once; a round has no more cases than one change may have."""
    dataset.refresh_from_db()
    return datasets.change(actor, dataset, changed=changed, message=message)


def _annotator(actor: Actor, round_: AnnotationRound) -> User:
    actor.require(Right.EDIT)
    if actor.user is None:
        raise Problem("annotation.not_yours", "Only users can annotate, not keys.")
    _require_open(round_)
    return actor.user


def _require_open(round_: AnnotationRound) -> None:
    if round_.state != RoundState.OPEN:
        raise Problem("round.wrong_state", f"This round is {RoundState(round_.state).label.lower()}.")


def _locked_open(round_: AnnotationRound) -> AnnotationRound:
    locked = AnnotationRound.objects.select_for_update().get(pk=round_.pk)
    _require_open(locked)
    return locked


def _disputed_keys(round_: AnnotationRound) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT annotation.item_id FROM evaluations_annotation annotation
            JOIN evaluations_annotationitem item ON item.id = annotation.item_id
            WHERE item.round_id = %s
              AND item.decided IS NULL
            GROUP BY annotation.item_id HAVING count(DISTINCT annotation.expected) > 1
            """,
            [round_.pk],
        )
        return [key for (key,) in cursor.fetchall()]


def _case_with_answer(case: Case, answer: Any) -> dict[str, Any]:
    """Return a case with its new answer. Its label follows the answer, and it keeps its split."""
    document = {name: value for name, value in datasets.case_as_dict(case).items() if name in MEMBERS}
    document["expected"] = answer
    document.pop("label", None)
    if not case.is_placed:
        document.pop("split", None)
    return document


def _answer_key(label: str, expected: object) -> str:
    return label or str(expected)
