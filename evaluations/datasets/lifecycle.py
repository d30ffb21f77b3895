"""Datasets: create, change, archive and re-split them, and read their cases."""

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
from evaluations.datasets.files.tables import fits_columns
from evaluations.datasets.image_values import with_addresses
from evaluations.datasets.ingest import DatasetChange, IngestResult
from evaluations.datasets.row import Row
from evaluations.datasets.splits import (
    DEFAULT_SEED,
    DEFAULT_SPLIT_RATIOS,
    MAX_SEED,
    Group,
    assign_folds,
    checked_split_ratios,
)
from evaluations.datasets.staging import staging_table
from evaluations.models import Case, Dataset, DatasetVersion
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.images import lookup as images
from registry.models import Project

MAX_DESCRIPTION = 20_000
# More than these come as a file, which is read by a worker.
MAX_AT_ONCE = 2_000
MAX_CASES_IN_FOLDS = 10_000
MAX_COLUMNS = 200
BATCH = 2_000


def get_dataset(project: Project, name: str) -> Dataset:
    """Return the project's dataset of that name, or raise `dataset.not_found`."""
    dataset = Dataset.objects.filter(project=project, name=name).select_related("head").first()
    if dataset is None:
        raise Problem("dataset.not_found", f"There is no dataset {quoted(name)} in {project.slug}.")
    dataset.project = project
    return dataset


def get_version(project: Project, name: str, selector: str) -> DatasetVersion:
    """Return a version by number, `latest`, or the start of its hash, or raise `dataset.unknown_selector`."""
    dataset = get_dataset(project, name)
    match parse_selector(selector):
        case Number(value):
            version = dataset.versions.filter(number=value).first()
        case Latest():
            version = dataset.head
        case HashPrefix(value):
            version = dataset.versions.filter(content_hash__startswith=value).first()
        case _:
            version = None
    if version is None:
        raise Problem("dataset.unknown_selector", f"{name} has no version {quoted(selector)}.")
    version.dataset = dataset
    return version


@transaction.atomic
def create(
    actor: Actor,
    *,
    name: str,
    description: str = "",
    seed: int = DEFAULT_SEED,
    split_ratios: Mapping[str, object] | None = None,
) -> Dataset:
    """Create a dataset without cases; `seed` and `split_ratios` say how its cases will be assigned to splits."""
    actor.require(Right.EDIT)
    if not is_prompt_name(name):
        rule = "lower-case letters and digits in words joined by . - or _, at most 200 characters"
        raise Problem("dataset.invalid_name", f"A dataset's name is {rule}; {quoted(name)} is not.")
    _check_description(description)
    ratios = checked_split_ratios(DEFAULT_SPLIT_RATIOS if split_ratios is None else split_ratios)
    split_settings = {"seed": _checked_seed(seed), "split_ratios": ratios}
    try:
        with transaction.atomic():
            dataset = Dataset.objects.create(
                project=actor.project, name=name, description=description, created_by_name=actor.name, **split_settings
            )
    except IntegrityError:
        raise Problem("dataset.name_taken", f"There is a dataset {quoted(name)} already.") from None
    audit.record(actor, "dataset.created", dataset, after={"description": description, **split_settings})
    return dataset


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
    """Archive a dataset; nothing is deleted."""
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
) -> IngestResult:
    """Create the next version with cases added, removed or changed (by their keys). A changed case keeps its split.

    Raises `cases.invalid` with the index of each bad case among those added, then those changed.
    """
    actor.require(Right.EDIT)
    changed = changed or {}
    if len(added) + len(changed) > MAX_AT_ONCE or len(removed) > MAX_AT_ONCE:
        sentence = f"At most {MAX_AT_ONCE:,} cases at once; import a file for more."
        raise Problem("cases.too_many", sentence)
    existing = Case.objects.filter(pk__in=changed, dataset=dataset).in_bulk()
    changed = {
        key: document
        for key, document in changed.items()
        if key not in existing or not _is_same(existing[key], document)
    }
    documents = [*added, *changed.values()]
    first_row = len(added)
    split_of_row = {first_row + index: existing[key].split for index, key in enumerate(changed) if key in existing}
    change_set = DatasetChange(
        removed=[*removed, *changed],
        split_of_row=split_of_row,
        message=message,
        expected_latest=expected_latest,
    )
    rows = (Row(index, document) for index, document in enumerate(documents))
    try:
        return ingest.load(actor, dataset, rows, change_set)
    except Problem as problem:
        raise _by_index(problem) from None


@transaction.atomic
def configure_splits(actor: Actor, dataset: Dataset, *, seed: int, split_ratios: Mapping[str, object]) -> Dataset:
    """Set how the first cases will be split; `dataset.already_split` once there are some (see `resplit`)."""
    actor.require(Right.EDIT)
    locked = ingest.lock(dataset)
    if locked.head is not None:
        raise Problem("dataset.already_split", f"{locked.name} has cases; re-splitting them creates a new version.")
    before = {"seed": locked.seed, "split_ratios": locked.split_ratios}
    locked.seed, locked.split_ratios = _checked_seed(seed), checked_split_ratios(split_ratios)
    locked.save(update_fields=["seed", "split_ratios"])
    audit.record(
        actor, "dataset.described", locked, before=before, after={"seed": seed, "split_ratios": locked.split_ratios}
    )
    return locked


@transaction.atomic
def resplit(
    actor: Actor, dataset: Dataset, *, seed: int, split_ratios: Mapping[str, object], message: str = ""
) -> IngestResult:
    """Assign every case to a split again: the only way in which cases change splits, and so a version of its own.
    Results on the old splits cannot be compared with those on the new ones."""
    actor.require(Right.EDIT)
    locked = ingest.lock(dataset)
    if locked.archived_at:
        raise Problem("dataset.archived", f"{locked.name} is archived; restore it to change it.")
    before = {"seed": locked.seed, "split_ratios": locked.split_ratios}
    locked.seed, locked.split_ratios = _checked_seed(seed), checked_split_ratios(split_ratios)
    locked.save(update_fields=["seed", "split_ratios"])
    if locked.head is None:
        raise Problem("dataset.no_cases", f"{locked.name} has no cases to re-split.")
    with staging_table():
        staged = ingest.stage_for_resplit(locked)
        everything = list(Case.objects.of(locked.head).values_list("pk", flat=True))
        change_set = DatasetChange(removed=everything, message=message or "Re-split", is_resplit=True)
        loaded = ingest.apply(actor, locked, change_set, added=staged)
    after = {"seed": locked.seed, "split_ratios": locked.split_ratios}
    audit.record(actor, "dataset.resplit", loaded.version, before=before, after=after)
    return loaded


def _is_same(case: Case, changed: object) -> bool:
    """Return whether a changed case is as it was, so that nothing has to be done."""
    new_case = read_case(with_addresses(changed, {}), [])
    return new_case is not None and new_case.digest == bytes(case.digest)


def case_as_dict(case: Case) -> dict[str, Any]:
    """Return a case as it is exported, and can be imported again."""
    members: dict[str, Any] = {"variables": case.variables}
    if case.expected is not None:
        members["expected"] = case.expected
    if case.label and case.label != label_of(case.expected):
        members["label"] = case.label
    if case.tags:
        members["tags"] = case.tags
    if case.group_key:
        members["group"] = case.group_key
    if case.weight != 1:
        members["weight"] = case.weight
    members["split"] = case.split
    if not case.is_placed:
        # An import assigns it to this split without making it a case that demands it.
        members["dealt"] = True
    return members


def cases_as_dicts(version: DatasetVersion, *, split: str = "", with_images: bool = False) -> Iterator[dict[str, Any]]:
    """Iterate over the cases of a version, or of one of its splits; `with_images` has the data of uploaded images in
    place of their addresses, which mean nothing elsewhere."""
    cases = Case.objects.of(version).order_by("id")
    cases = cases.filter(split=split) if split else cases
    for case in cases.iterator(chunk_size=BATCH):
        members = case_as_dict(case)
        if with_images:
            members["variables"] = images.written_out(version.dataset.project_id, members["variables"])
        yield members


def pretty_json(value: Any) -> str:
    """Format an answer for users."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def variable_names(version: DatasetVersion, sample: int = 1_000) -> list[str]:
    """Return the variables of the first cases, the most frequent first."""
    counted: dict[str, int] = {}
    for variables in Case.objects.of(version).order_by("id").values_list("variables", flat=True)[:sample]:
        for name in variables:
            counted[name] = counted.get(name, 0) + 1
    return sorted(counted, key=lambda name: (-counted[name], name))


def table_columns(version: DatasetVersion) -> list[str] | None:
    """Return the variables that become columns of an exported table; None where they have to be written as JSON,
    because one of them is not text or has a name that a table cannot have."""
    query, values = Case.objects.of(version).values("variables").query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT member.key, bool_and(jsonb_typeof(member.value) = 'string') "  # noqa: S608 - our own query
            f"FROM ({query}) existing, jsonb_each(existing.variables) member GROUP BY 1 ORDER BY count(*) DESC, 1",
            values,
        )
        columns = cursor.fetchall()
    names = [name for name, _ in columns]
    is_plain = all(are_texts and fits_columns(name) for name, are_texts in columns)
    return names if is_plain and len(names) <= MAX_COLUMNS else None


def labels_by_split(version: DatasetVersion) -> dict[str, dict[str, int]]:
    """Count the cases of each label by split."""
    rows = Case.objects.of(version).values("label", "split").annotate(count=Count("pk")).order_by("label")
    counts: dict[str, dict[str, int]] = {}
    for row in rows:
        counts.setdefault(row["label"], {})[row["split"]] = row["count"]
    return counts


def case_folds(version: DatasetVersion, count: int) -> list[list[int]]:
    """Return the keys of a version's cases in `count` folds; cases of `general` are in none."""
    cases = Case.objects.of(version).exclude(split="general").order_by("id")
    rows = list(cases.values_list("pk", "group_hash", "label")[: MAX_CASES_IN_FOLDS + 1])
    if len(rows) > MAX_CASES_IN_FOLDS:
        sentence = f"Folds are for small datasets, of at most {MAX_CASES_IN_FOLDS:,} cases; this one has a test split."
        raise Problem("cases.too_many", sentence)
    fold_of = assign_folds(_groups(rows), count, version.seed)
    fold_keys: list[list[int]] = [[] for _ in range(count)]
    for key, group, _ in rows:
        fold_keys[fold_of[group]].append(key)
    return fold_keys


def _groups(rows: Iterable[tuple[int, int, str]]) -> list[Group]:
    label_of: dict[int, str] = {}
    sizes: dict[int, int] = {}
    for _, group, label in rows:
        label_of[group] = min(label_of.get(group, label), label)
        sizes[group] = sizes.get(group, 0) + 1
    return [Group(group, label_of[group], size) for group, size in sizes.items()]


def _checked_seed(seed: object) -> int:
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        fault = Fault("/seed", "range", f"Must be a whole number from 0 to {MAX_SEED}.")
        raise Problem("request.invalid", fault.message, faults=[fault])
    return seed


def _check_description(description: str) -> None:
    if len(description) > MAX_DESCRIPTION:
        fault = Fault("/description", "too_long", f"Must have at most {MAX_DESCRIPTION:,} characters.")
        raise Problem("request.invalid", fault.message, faults=[fault])


def _by_index(problem: Problem) -> Problem:
    """Name the faults of cases in a list by their index there."""
    if problem.code != "cases.invalid":
        return problem
    faults = [Fault(fault.pointer.removeprefix("/lines"), fault.code, fault.message) for fault in problem.faults]
    _, index, *members = faults[0].pointer.split("/")
    more = f" ({len(faults) - 1} more)" if len(faults) > 1 else ""
    sentence = f"Case {int(index) + 1}{', ' + '/'.join(members) if members else ''}: {faults[0].message}{more}"
    return Problem("cases.invalid", sentence, faults=faults)
