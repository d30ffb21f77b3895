"""Rounds of annotation: people fill in or correct expected outputs, one or two a case, and see how far they agree."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from core.errors import Fault, Problem
from core.json_values import plain
from evaluations.datasets import lifecycle as datasets
from evaluations.datasets.cases import MEMBERS, label_of
from evaluations.datasets.ingest import Loaded
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

MOST_ITEMS = 2_000
MOST_LABELS = 30
LONGEST_NOTE = 1_000
# Who looks at a case has it for themselves for so long.
HELD = timedelta(minutes=10)


@dataclass(frozen=True)
class Progress:
    """How far a round is: cases that have all their annotations, and those whose two annotators disagree."""

    cases: int
    done: int
    mine: int
    disputed: int
    agreement: Agreement


def find(dataset: Dataset, key: int) -> AnnotationRound:
    found = AnnotationRound.objects.filter(dataset=dataset, pk=key).select_related("version", "result").first()
    if found is None:
        raise Problem("round.not_found", f"{dataset.name} has no round {key}.")
    found.dataset = dataset
    return found


def applied(project: Project, key: int) -> AnnotationRound:
    """The project's round with this number, whose answers are in use; `round.not_found` or `round.wrong_state`."""
    found = AnnotationRound.objects.filter(dataset__project=project, pk=key).first()
    if found is None:
        raise Problem("round.not_found", f"There is no round {key}.")
    if found.state != RoundState.APPLIED:
        raise Problem("round.wrong_state", f"Round {key} is {RoundState(found.state).label.lower()}; apply it first.")
    return found


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
    """Choose cases of the newest version to annotate: of one side or all, with or without an answer, `most` of them."""
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
    # In the order of their groups' hashes: a sample that nobody chose.
    chosen = list(cases.order_by("group_hash", "id").values_list("pk", flat=True)[:most])
    if not chosen:
        raise Problem("dataset.no_cases", "No case is left to annotate with these choices.")
    made = AnnotationRound.objects.create(
        dataset=dataset,
        version=dataset.head,
        title=title.strip(),
        annotators=annotators,
        labels=names,
        label_member=label_member.strip(),
        created_by_name=actor.name,
    )
    AnnotationItem.objects.bulk_create(AnnotationItem(round=made, case_id=key) for key in chosen)
    after = {"cases": len(chosen), "annotators": annotators}
    audit.record(actor, "annotation.opened", made, after=after)
    return made


def _round_faults(
    title: str, annotators: int, labels: Sequence[str], member: str, split: str, most: int
) -> list[Fault]:
    faults = []
    if not 1 <= len(title.strip()) <= 200:
        faults.append(Fault("/title", "length", "Give it a title of 1 to 200 characters."))
    if annotators not in (1, 2):
        faults.append(Fault("/annotators", "range", "One or two people look at each case."))
    if len(labels) > MOST_LABELS or any(len(label) > 100 for label in labels):
        faults.append(Fault("/labels", "count", f"At most {MOST_LABELS} labels of 1 to 100 characters."))
    if len(member) > 100:
        faults.append(Fault("/label_member", "length", "Must have at most 100 characters."))
    if split and split not in Split.values:
        faults.append(Fault("/split", "choice", f"Must be one of: {', '.join(Split.values)}."))
    if not 1 <= most <= MOST_ITEMS:
        faults.append(Fault("/most", "range", f"From 1 to {MOST_ITEMS:,} cases."))
    return faults


@transaction.atomic
def next_item(actor: Actor, round_: AnnotationRound, *, skip: Sequence[int] = ()) -> AnnotationItem | None:
    """The next case for a person, held for some minutes; None where nothing is left for them.

    First what they hold already, then what nobody holds. What others hold comes last, and only where it needs two
    answers anyway: one person's open page must not keep the other from working.
    """
    user = _annotator(actor, round_)
    now = timezone.now()
    mine = Annotation.objects.filter(by=user, item__round=round_).values("item")
    waiting = round_.items.filter(given__lt=round_.annotators).exclude(pk__in=mine).exclude(pk__in=list(skip))
    held = Q(held_until__gte=now)
    choices = [
        waiting.filter(held, held_by=user).order_by("id"),
        waiting.exclude(held).order_by("-given", "id"),
        waiting.filter(given=0).order_by("id") if round_.annotators == 2 else waiting.none(),
    ]
    for rows in choices:
        item = rows.select_for_update(skip_locked=True, of=("self",)).first()
        if item is not None:
            item.held_by, item.held_until = user, now + HELD
            item.save(update_fields=["held_by", "held_until"])
            return item
    return None


def held_by_others(round_: AnnotationRound, user: User | None) -> list[str]:
    """Who else has a case of the round open just now."""
    held = round_.items.filter(held_until__gte=timezone.now(), held_by__isnull=False).exclude(held_by=user)
    return sorted(set(held.values_list("held_by__username", flat=True)))


@transaction.atomic
def annotate(actor: Actor, round_: AnnotationRound, item_key: int, *, expected: object, note: str = "") -> Annotation:
    """Say what a good answer to a case is. Saying it again corrects oneself while the round is open."""
    user = _annotator(actor, round_)
    answer = _checked(expected, note)
    item = _locked_item(round_, item_key)
    is_mine = Annotation.objects.filter(item=item, by=user).exists()
    if not is_mine and item.given >= round_.annotators:
        raise Problem("annotation.not_yours", "Others have annotated this case meanwhile; take the next one.")
    values = {"expected": answer, "label": label_of(answer), "note": note, "by_name": user.username}
    made, _ = Annotation.objects.update_or_create(item=item, by=user, defaults=values)
    item.given += not is_mine
    item.held_by = item.held_until = None
    item.save(update_fields=["given", "held_by", "held_until"])
    return made


@transaction.atomic
def take_back(actor: Actor, round_: AnnotationRound, item_key: int) -> AnnotationItem:
    """Undo one's own answer: the case is one's own again."""
    user = _annotator(actor, round_)
    item = _locked_item(round_, item_key)
    if not Annotation.objects.filter(item=item, by=user).delete()[0]:
        raise Problem("annotation.not_yours", "You have not annotated this case.")
    item.given -= 1
    item.held_by, item.held_until = user, timezone.now() + HELD
    item.save(update_fields=["given", "held_by", "held_until"])
    return item


@transaction.atomic
def decide(actor: Actor, round_: AnnotationRound, item_key: int, *, expected: object) -> AnnotationItem:
    """Settle a case that was answered differently. What the two said stays, and so does how far they agree."""
    user = _annotator(actor, round_)
    answer = _checked(expected, "")
    item = _locked_item(round_, item_key)
    item.decided, item.decided_by_name = answer, user.username
    item.save(update_fields=["decided", "decided_by_name"])
    return item


def _checked(expected: object, note: str) -> Any:
    faults: list[Fault] = []
    answer = plain(expected, faults)
    if answer in (None, "", {}, []):
        faults.append(Fault("/expected", "required", "Give an answer, or skip the case."))
    if len(note) > LONGEST_NOTE:
        faults.append(Fault("/note", "too_long", f"Must have at most {LONGEST_NOTE:,} characters."))
    if faults:
        raise Problem("annotation.invalid", faults[0].message, faults=faults)
    return answer


def _locked_item(round_: AnnotationRound, item_key: int) -> AnnotationItem:
    """The item's row is the lock: two people never make a third annotation of a case that needs two."""
    rows = AnnotationItem.objects.select_for_update(of=("self",)).select_related("round")
    item = rows.filter(round=round_, pk=item_key).first()
    if item is None:
        raise Problem("annotation.not_yours", "This case is not in the round.")
    # As it is now: the round may have ended since its page was opened.
    _require_open(item.round)
    return item


def disputed(round_: AnnotationRound) -> QuerySet[AnnotationItem]:
    """Cases that two people answered differently, and nobody has decided."""
    return round_.items.filter(pk__in=_disputed_keys(round_)).order_by("id").prefetch_related("annotations")


def answered(round_: AnnotationRound) -> QuerySet[AnnotationItem]:
    """Cases that have all the answers they need."""
    rows = round_.items.filter(given__gte=round_.annotators).order_by("id")
    return rows.select_related("case").prefetch_related("annotations")


def settled(item: AnnotationItem) -> Any:
    """What a case that has all its answers is to expect: what was decided, else what was said."""
    return item.decided if item.decided is not None else item.annotations.all()[0].expected


def progress(round_: AnnotationRound, user: User | None = None) -> Progress:
    rows = list(round_.items.values_list("pk", "given"))
    done = sum(given >= round_.annotators for _, given in rows)
    mine = Annotation.objects.filter(item__round=round_, by=user).count() if user else 0
    return Progress(len(rows), done, mine, len(_disputed_keys(round_)), agreement(round_))


def agreement(round_: AnnotationRound) -> Agreement:
    """How far the two annotators of each case agree, before anybody decided."""
    pairs: dict[int, list[str]] = {}
    rows = Annotation.objects.filter(item__round=round_).order_by("item", "created_at", "id")
    for item, label, expected in rows.values_list("item", "label", "expected"):
        pairs.setdefault(item, []).append(_said(label, expected))
    return cohen([(said[0], said[1]) for said in pairs.values() if len(said) >= 2])


@transaction.atomic
def apply(actor: Actor, round_: AnnotationRound) -> Loaded:
    """Make the dataset's next version with the answers that were given. `round.wrong_state` while some are disputed."""
    actor.require(Right.EDIT)
    locked = _locked_open(round_)
    if _disputed_keys(round_):
        raise Problem("round.wrong_state", "Two people answered some cases differently; decide on those first.")
    changed: dict[int, object] = {}
    there = set(Case.objects.of(round_.dataset.head).values_list("pk", flat=True)) if round_.dataset.head else set()
    items = list(answered(round_))
    for item in items:
        answer = settled(item)
        # A case that somebody changed or removed meanwhile keeps what they did.
        if item.case_id in there and answer != item.case.expected:
            changed[item.case_id] = _answered(item.case, answer)
    if not items:
        raise Problem("round.wrong_state", "No case has all its answers yet.")
    loaded = _in_parts(actor, round_.dataset, changed, f"Annotated: {round_.title}"[:500])
    locked.state, locked.result = RoundState.APPLIED, loaded.version
    locked.save(update_fields=["state", "result"])
    kappa = agreement(round_).kappa
    after = {"changed": len(changed), "kappa": kappa and round(kappa, 3)}
    audit.record(actor, "annotation.applied", loaded.version, after=after)
    return loaded


@transaction.atomic
def close(actor: Actor, round_: AnnotationRound) -> AnnotationRound:
    """End a round without using its answers; they stay to be looked at."""
    actor.require(Right.EDIT)
    locked = _locked_open(round_)
    locked.state = RoundState.CLOSED
    locked.save(update_fields=["state"])
    audit.record(actor, "annotation.closed", locked)
    return locked


def _in_parts(actor: Actor, dataset: Dataset, changed: Mapping[int, object], message: str) -> Loaded:
    """One change; a round has no more cases than one change may have."""
    dataset.refresh_from_db()
    return datasets.change(actor, dataset, changed=changed, message=message)


def _annotator(actor: Actor, round_: AnnotationRound) -> User:
    actor.require(Right.EDIT)
    if actor.user is None:
        raise Problem("annotation.not_yours", "A person annotates, not a key.")
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


def _answered(case: Case, answer: Any) -> dict[str, Any]:
    """A case with its new answer. Its label follows the answer, and it stays where it stands."""
    document = {name: value for name, value in datasets.document(case).items() if name in MEMBERS}
    document["expected"] = answer
    document.pop("label", None)
    if not case.is_placed:
        document.pop("split", None)
    return document


def _said(label: str, expected: object) -> str:
    return label or str(expected)
