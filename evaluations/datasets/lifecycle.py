"""Datasets: names for cases, and what is done to them."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import Count
from django.utils import timezone

from core.errors import Fault, Problem
from core.references import HashPrefix, Latest, Number, is_prompt_name, parse_selector, quoted
from evaluations.datasets import ingest
from evaluations.datasets.cases import label_of, read_case
from evaluations.datasets.formats import fits_columns
from evaluations.datasets.ingest import Change, Loaded
from evaluations.datasets.row import Row
from evaluations.datasets.splits import DEFAULT_SEED, DEFAULT_SHARES, LARGEST_SEED, Group, checked_shares, folds
from evaluations.models import Case, Dataset, DatasetVersion
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.models import Project

MAX_DESCRIPTION = 20_000
# More than these come as a file, which is read by a worker.
MOST_AT_ONCE = 2_000
MOST_IN_FOLDS = 10_000
MOST_COLUMNS = 200
BATCH = 2_000


def named(project: Project, name: str) -> Dataset:
    """The project's dataset of that name, or `dataset.not_found`."""
    found = Dataset.objects.filter(project=project, name=name).select_related("head").first()
    if found is None:
        raise Problem("dataset.not_found", f"There is no dataset {quoted(name)} in {project.slug}.")
    found.project = project
    return found


def selected(project: Project, name: str, selector: str) -> DatasetVersion:
    """A version by number, `latest`, or the start of its hash; `dataset.unknown_selector` where there is none."""
    dataset = named(project, name)
    match parse_selector(selector):
        case Number(value):
            found = dataset.versions.filter(number=value).first()
        case Latest():
            found = dataset.head
        case HashPrefix(value):
            found = dataset.versions.filter(content_hash__startswith=value).first()
        case _:
            found = None
    if found is None:
        raise Problem("dataset.unknown_selector", f"{name} has no version {quoted(selector)}.")
    found.dataset = dataset
    return found


@transaction.atomic
def create(
    actor: Actor,
    *,
    name: str,
    description: str = "",
    seed: int = DEFAULT_SEED,
    shares: Mapping[str, object] | None = None,
) -> Dataset:
    """A dataset without cases; `seed` and `shares` say how its cases will be dealt to the sides."""
    actor.require(Right.EDIT)
    if not is_prompt_name(name):
        rule = "lower-case letters and digits in words joined by . - or _, at most 200 characters"
        raise Problem("dataset.invalid_name", f"A dataset's name is {rule}; {quoted(name)} is not.")
    _check_description(description)
    dealing = {"seed": _checked_seed(seed), "shares": checked_shares(DEFAULT_SHARES if shares is None else shares)}
    try:
        with transaction.atomic():
            made = Dataset.objects.create(
                project=actor.project, name=name, description=description, created_by_name=actor.name, **dealing
            )
    except IntegrityError:
        raise Problem("dataset.name_taken", f"There is a dataset {quoted(name)} already.") from None
    audit.record(actor, "dataset.created", made, after={"description": description, **dealing})
    return made


@transaction.atomic
def describe(actor: Actor, dataset: Dataset, *, description: str) -> Dataset:
    actor.require(Right.EDIT)
    _check_description(description)
    locked = ingest.lock(dataset)
    if locked.description != description:
        before = {"description": locked.description}
        locked.description = description
        locked.save(update_fields=["description"])
        audit.record(actor, "dataset.described", locked, before=before, after={"description": description})
    return locked


@transaction.atomic
def archive(actor: Actor, dataset: Dataset) -> Dataset:
    """Take a dataset out of use; nothing is deleted."""
    actor.require(Right.EDIT)
    locked = ingest.lock(dataset)
    if not locked.archived_at:
        locked.archived_at = timezone.now()
        locked.save(update_fields=["archived_at"])
        audit.record(actor, "dataset.archived", locked)
    return locked


@transaction.atomic
def restore(actor: Actor, dataset: Dataset) -> Dataset:
    actor.require(Right.EDIT)
    locked = ingest.lock(dataset)
    if locked.archived_at:
        locked.archived_at = None
        locked.save(update_fields=["archived_at"])
        audit.record(actor, "dataset.restored", locked)
    return locked


@transaction.atomic
def change(
    actor: Actor,
    dataset: Dataset,
    *,
    added: Sequence[object] = (),
    removed: Sequence[int] = (),
    changed: Mapping[int, object] | None = None,
    message: str = "",
    expected_latest: str | None = None,
) -> Loaded:
    """The next version, with some cases added, removed, or changed (by their keys). A changed case stays on its side.

    Raises `cases.invalid` with the index of each bad case among those added, then those changed.
    """
    actor.require(Right.EDIT)
    changed = changed or {}
    if len(added) + len(changed) > MOST_AT_ONCE or len(removed) > MOST_AT_ONCE:
        sentence = f"At most {MOST_AT_ONCE:,} cases at once; import a file for more."
        raise Problem("cases.too_many", sentence)
    there = Case.objects.filter(pk__in=changed, dataset=dataset).in_bulk()
    changed = {key: one for key, one in changed.items() if key not in there or not _is_same(there[key], one)}
    documents = [*added, *changed.values()]
    sides = {key: one.split for key, one in there.items()}
    places = {len(added) + index: sides[key] for index, key in enumerate(changed) if key in sides}
    asked = Change(
        removed=[*removed, *changed],
        stay=places,
        message=message,
        expected_latest=expected_latest,
    )
    rows = (Row(index, document) for index, document in enumerate(documents))
    try:
        return ingest.load(actor, dataset, rows, asked)
    except Problem as problem:
        raise _by_index(problem) from None


@transaction.atomic
def deal_by(actor: Actor, dataset: Dataset, *, seed: int, shares: Mapping[str, object]) -> Dataset:
    """Say how the first cases will be dealt; `dataset.already_dealt` once there are some (see `resplit`)."""
    actor.require(Right.EDIT)
    locked = ingest.lock(dataset)
    if locked.head is not None:
        raise Problem("dataset.already_dealt", f"{locked.name} has cases; dealing them anew makes a new version.")
    before = {"seed": locked.seed, "shares": locked.shares}
    locked.seed, locked.shares = _checked_seed(seed), checked_shares(shares)
    locked.save(update_fields=["seed", "shares"])
    audit.record(actor, "dataset.described", locked, before=before, after={"seed": seed, "shares": locked.shares})
    return locked


@transaction.atomic
def resplit(actor: Actor, dataset: Dataset, *, seed: int, shares: Mapping[str, object], message: str = "") -> Loaded:
    """Deal every case anew: the one way in which cases change sides, and so a version of its own. Results on the old
    sides cannot be compared with those on the new ones."""
    actor.require(Right.EDIT)
    locked = ingest.lock(dataset)
    if locked.archived_at:
        raise Problem("dataset.archived", f"{locked.name} is archived; restore it to change it.")
    before = {"seed": locked.seed, "shares": locked.shares}
    locked.seed, locked.shares = _checked_seed(seed), checked_shares(shares)
    locked.save(update_fields=["seed", "shares"])
    if locked.head is None:
        raise Problem("dataset.no_cases", f"{locked.name} has no cases to deal.")
    ingest.create_staging()
    try:
        staged = ingest.stage_again(locked, locked.shares)
        everything = list(Case.objects.of(locked.head).values_list("pk", flat=True))
        asked = Change(removed=everything, message=message or "Dealt anew", is_dealt_anew=True)
        loaded = ingest.apply(actor, locked, asked, added=staged)
    finally:
        ingest.drop_staging()
    after = {"seed": locked.seed, "shares": locked.shares}
    audit.record(actor, "dataset.resplit", loaded.version, before=before, after=after)
    return loaded


def _is_same(case: Case, changed: object) -> bool:
    """Whether a changed case is as it was; then nothing is to be done."""
    found = read_case(changed, [])
    return found is not None and found.digest == bytes(case.digest)


def document(case: Case) -> dict[str, Any]:
    """A case as it is exported, and as it is imported again."""
    found: dict[str, Any] = {"variables": case.variables}
    if case.expected is not None:
        found["expected"] = case.expected
    if case.label and case.label != label_of(case.expected):
        found["label"] = case.label
    if case.tags:
        found["tags"] = case.tags
    if case.group_key:
        found["group"] = case.group_key
    if case.weight != 1:
        found["weight"] = case.weight
    found["split"] = case.split
    if not case.is_placed:
        # It comes back to this side without being the other case that says so itself.
        found["dealt"] = True
    return found


def documents(version: DatasetVersion, *, split: str = "") -> Iterator[dict[str, Any]]:
    """Every case of a version, or of one of its sides, one after the other."""
    cases = Case.objects.of(version).order_by("id")
    cases = cases.filter(split=split) if split else cases
    return (document(case) for case in cases.iterator(chunk_size=BATCH))


def pretty(value: Any) -> str:
    """An answer as people read it."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def variable_names(version: DatasetVersion, sample: int = 1_000) -> list[str]:
    """The variables that the first cases have, most usual first."""
    counted: dict[str, int] = {}
    for variables in Case.objects.of(version).order_by("id").values_list("variables", flat=True)[:sample]:
        for name in variables:
            counted[name] = counted.get(name, 0) + 1
    return sorted(counted, key=lambda name: (-counted[name], name))


def table_columns(version: DatasetVersion) -> list[str] | None:
    """The variables that are columns of an exported table; None where they have to be written as JSON, because one of
    them is no text or has a name that a table cannot have."""
    there, values = Case.objects.of(version).values("variables").query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT member.key, bool_and(jsonb_typeof(member.value) = 'string') "  # noqa: S608 - our own query
            f"FROM ({there}) there, jsonb_each(there.variables) member GROUP BY 1 ORDER BY count(*) DESC, 1",
            values,
        )
        found = cursor.fetchall()
    names = [name for name, _ in found]
    is_plain = all(are_texts and fits_columns(name) for name, are_texts in found)
    return names if is_plain and len(names) <= MOST_COLUMNS else None


def labels_by_split(version: DatasetVersion) -> dict[str, dict[str, int]]:
    """How many cases each label has on each side."""
    rows = Case.objects.of(version).values("label", "split").annotate(count=Count("pk")).order_by("label")
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        found.setdefault(row["label"], {})[row["split"]] = row["count"]
    return found


def in_folds(version: DatasetVersion, count: int) -> list[list[int]]:
    """The keys of a version's cases in `count` folds; cases of `general` are in none."""
    cases = Case.objects.of(version).exclude(split="general").order_by("id")
    rows = list(cases.values_list("pk", "group_hash", "label")[: MOST_IN_FOLDS + 1])
    if len(rows) > MOST_IN_FOLDS:
        sentence = f"Folds are for small datasets, of at most {MOST_IN_FOLDS:,} cases; this one has a test split."
        raise Problem("cases.too_many", sentence)
    fold_of = folds(_groups(rows), count, version.seed)
    found: list[list[int]] = [[] for _ in range(count)]
    for key, group, _ in rows:
        found[fold_of[group]].append(key)
    return found


def _groups(rows: Iterable[tuple[int, int, str]]) -> list[Group]:
    label_of: dict[int, str] = {}
    sizes: dict[int, int] = {}
    for _, group, label in rows:
        label_of[group] = min(label_of.get(group, label), label)
        sizes[group] = sizes.get(group, 0) + 1
    return [Group(group, label_of[group], size) for group, size in sizes.items()]


def _checked_seed(seed: object) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= LARGEST_SEED:
        fault = Fault("/seed", "range", f"Must be a whole number from 0 to {LARGEST_SEED}.")
        raise Problem("request.invalid", fault.message, faults=[fault])
    return seed


def _check_description(description: str) -> None:
    if len(description) > MAX_DESCRIPTION:
        fault = Fault("/description", "too_long", f"Must have at most {MAX_DESCRIPTION:,} characters.")
        raise Problem("request.invalid", fault.message, faults=[fault])


def _by_index(problem: Problem) -> Problem:
    """Faults of cases that came in a list are named by their index there."""
    if problem.code != "cases.invalid":
        return problem
    faults = [Fault(fault.pointer.removeprefix("/lines"), fault.code, fault.message) for fault in problem.faults]
    _, index, *members = faults[0].pointer.split("/")
    more = f" ({len(faults) - 1} more)" if len(faults) > 1 else ""
    sentence = f"Case {int(index) + 1}{', ' + '/'.join(members) if members else ''}: {faults[0].message}{more}"
    return Problem("cases.invalid", sentence, faults=faults)
