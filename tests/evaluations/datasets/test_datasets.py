"""Datasets: versions, sides that stay, and what is refused."""

import itertools
import threading
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import Problem
from evaluations.datasets import ingest
from evaluations.datasets import lifecycle as datasets
from evaluations.datasets.files.formats import read_rows, write_jsonl
from evaluations.datasets.files.tables import write_csv
from evaluations.datasets.ingest import DatasetChange
from evaluations.datasets.row import Row
from evaluations.datasets.splits import DEFAULT_SPLIT_RATIOS, SPLITS, Group, assign_splits
from evaluations.models import Case, Dataset, DatasetVersion, Report
from registry.accounts.permissions import Actor
from registry.models import AuditEntry
from tests.conftest import Stage
from tests.evaluations.conftest import case, cases

SERIAL = itertools.count()


def sides(version: DatasetVersion) -> dict[int, str]:
    return dict(Case.objects.of(version).values_list("pk", "split"))


def head(stage: Stage, name: str = "support.tickets") -> DatasetVersion:
    version = datasets.get_dataset(stage.project, name).head
    assert version
    return version


def test_every_label_is_on_every_side(stage: Stage, tickets: Dataset):
    assert head(stage).sizes == {"train": 42, "validation": 9, "test": 9, "general": 0}
    assert datasets.labels_by_split(head(stage)) == {
        label: {"train": 14, "validation": 3, "test": 3} for label in ("billing", "how-to", "incident")
    }
    assert {report.kind for report in Report.objects.filter(version=head(stage))} == {"leakage", "readiness"}
    assert AuditEntry.objects.filter(action="dataset.committed").count() == 1


def test_no_case_changes_side_when_others_are_added(stage: Stage, tickets: Dataset):
    before = sides(head(stage))

    loaded = datasets.change(stage.edith, tickets, added=cases(90))

    assert (loaded.added, loaded.unchanged, loaded.version.size) == (30, 60, 90)
    assert (
        loaded.version.sizes == {"train": 63, "validation": 14, "test": 13, "general": 0}
        or sum(abs(loaded.version.sizes[name] - share * 0.9) for name, share in DEFAULT_SPLIT_RATIOS.items()) <= 4
    )
    after = sides(loaded.version)
    assert all(after[key] == side for key, side in before.items())


def test_a_group_stays_together_and_with_what_is_there(stage: Stage, tickets: Dataset):
    first = datasets.change(stage.edith, tickets, added=[case(f"thread {n}", "billing", group="t1") for n in range(4)])
    second = datasets.change(stage.edith, tickets, added=[case(f"late {n}", "incident", group="t1") for n in range(4)])

    split = Case.objects.of(second.version).filter(group_key="t1").values_list("split", flat=True)
    assert len(split) == 8
    assert len(set(split)) == 1
    assert first.version.number == 2


def test_a_case_may_say_its_side(stage: Stage, tickets: Dataset):
    loaded = datasets.change(stage.edith, tickets, added=[case("What is the capital?", split="general")])

    stored_case = Case.objects.of(loaded.version).get(split="general")
    assert stored_case.is_placed
    assert datasets.case_as_dict(stored_case)["split"] == "general"


def test_a_changed_case_stays_on_its_side_and_old_versions_keep_the_old_one(stage: Stage, tickets: Dataset):
    old = Case.objects.of(head(stage)).filter(split="test").first()
    assert old

    loaded = datasets.change(stage.edith, tickets, changed={old.pk: case("Something else", "billing")})

    assert (loaded.version.number, loaded.version.size) == (2, 60)
    new = Case.objects.of(loaded.version).get(variables={"ticket": "Something else"})
    assert (new.split, new.is_placed) == ("test", False)
    first = datasets.get_version(stage.project, "support.tickets", "1")
    assert Case.objects.of(first).filter(pk=old.pk).exists()
    assert not Case.objects.of(loaded.version).filter(pk=old.pk).exists()
    with pytest.raises(Problem) as refused:
        datasets.change(stage.edith, tickets, removed=[old.pk])
    assert refused.value.code == "cases.not_found"


def test_replacing_keeps_what_comes_again_where_it_stands(stage: Stage, tickets: Dataset, tmp_path: Path):
    before = sides(head(stage))
    path = tmp_path / "x.jsonl"
    path.write_text("".join(write_jsonl([*cases(2), *cases(1, start=999)])))

    loaded = ingest.load(stage.edith, tickets, read_rows(path, "jsonl"), DatasetChange(replace=True))

    assert (loaded.version.size, loaded.added, loaded.unchanged) == (3, 1, 2)
    assert all(before[key] == side for key, side in sides(loaded.version).items() if key in before)


def test_the_same_cases_again_are_the_same_version(stage: Stage, tickets: Dataset):
    again = datasets.change(stage.edith, tickets, added=cases(60))

    assert (again.created, again.version, again.unchanged) == (False, head(stage), 60)


def test_the_hash_pins_cases_and_sides_whatever_the_order(stage: Stage, tickets: Dataset):
    other = datasets.create(stage.edith, name="other")
    shuffled = datasets.change(stage.edith, other, added=cases(60)[::-1]).version
    third = datasets.create(stage.edith, name="third", seed=2)
    dealt_otherwise = datasets.change(stage.edith, third, added=cases(60)).version

    assert shuffled.content_hash == head(stage).content_hash
    assert dealt_otherwise.content_hash != head(stage).content_hash


def test_a_group_that_was_removed_comes_back_to_its_side(stage: Stage, tickets: Dataset):
    before = {case.input_hash: case.split for case in Case.objects.of(head(stage))}
    corrected = [{**document, "expected": {"category": "corrected"}} for document in cases(60)]
    rows = (Row(number, row) for number, row in enumerate(corrected))

    replaced = ingest.load(stage.edith, tickets, rows, DatasetChange(replace=True)).version

    assert replaced.size == 60
    assert all(before[case.input_hash] == case.split for case in Case.objects.of(replaced))


def test_an_export_comes_back_as_what_it_was(stage: Stage, tickets: Dataset, tmp_path: Path):
    odd = [case("placed", "a", split="general"), case("labelled", label="mine"), case("typed", expected=5, weight=2.5)]
    version = datasets.change(stage.edith, tickets, added=odd).version
    path = tmp_path / "x.jsonl"
    path.write_text("".join(write_jsonl(datasets.cases_as_dicts(version))), encoding="utf-8")

    same = ingest.load(stage.edith, tickets, read_rows(path, "jsonl"))
    elsewhere = ingest.load(stage.edith, datasets.create(stage.edith, name="copy", seed=7), read_rows(path, "jsonl"))

    assert (same.created, same.unchanged) == (False, 63)
    assert elsewhere.version.content_hash == version.content_hash


@pytest.mark.parametrize("name", ["late", "expected", "=HYPERLINK(1)", " spaced "])
def test_a_table_has_every_variable_whatever_its_name(stage: Stage, tickets: Dataset, tmp_path: Path, name: str):
    late = {"variables": {"ticket": "x", name: "kept"}, "tags": ["a;b", "c"]}
    version = datasets.change(stage.edith, tickets, added=[late, case("no answer", label="only")]).version
    path = tmp_path / "x.csv"
    written = "".join(write_csv(datasets.cases_as_dicts(version), datasets.table_columns(version)))
    path.write_text(written, encoding="utf-8", newline="")

    back = ingest.load(stage.edith, datasets.create(stage.edith, name="copy"), read_rows(path, "csv"))

    assert not written.startswith("=")
    assert back.version.content_hash == version.content_hash


def test_saving_a_case_unchanged_changes_nothing(stage: Stage, tickets: Dataset):
    first = Case.objects.order_by("id").first()
    assert first

    assert datasets.change(stage.edith, tickets, changed={first.pk: datasets.case_as_dict(first)}).created is False


def test_dealing_anew_is_a_version_of_its_own(stage: Stage, tickets: Dataset):
    placed = datasets.change(stage.edith, tickets, added=[case("stay", split="validation")]).version

    loaded = datasets.resplit(stage.edith, tickets, seed=9, split_ratios={"train": 50, "test": 50})

    assert loaded.version.number == placed.number + 1
    assert loaded.version.sizes["validation"] == 1
    assert loaded.version.sizes["train"] + loaded.version.sizes["test"] == 60
    assert sides(placed) != sides(loaded.version)
    assert AuditEntry.objects.get(action="dataset.resplit").before == {
        "seed": 1,
        "split_ratios": dict(DEFAULT_SPLIT_RATIOS),
    }


@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.sampled_from(["a", "b", ""]), st.sampled_from(["", "", "g1", "g2"])),
        min_size=1,
        max_size=60,
        unique_by=lambda row: row[0],
    ),
    st.integers(0, 5),
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_the_database_deals_as_the_rule_says(stage: Stage, rows: list[Any], seed: int):
    dataset = datasets.create(stage.edith, name=f"deal.{next(SERIAL)}", seed=seed)
    documents = [case(f"row {number}", label, **({"group": group} if group else {})) for number, label, group in rows]

    version = datasets.change(stage.edith, dataset, added=documents).version

    stored = list(Case.objects.of(version))
    label_of: dict[int, str] = {}
    size_of: dict[int, int] = {}
    for stored_case in stored:
        label_of[stored_case.group_hash] = min(
            label_of.get(stored_case.group_hash, stored_case.label), stored_case.label
        )
        size_of[stored_case.group_hash] = size_of.get(stored_case.group_hash, 0) + 1
    groups = [Group(key, label_of[key], size) for key, size in size_of.items()]
    assert {stored_case.group_hash: stored_case.split for stored_case in stored} == assign_splits(
        groups, seed, DEFAULT_SPLIT_RATIOS, {}
    )


def test_bad_cases_are_named_and_nothing_is_added(stage: Stage, tickets: Dataset):
    with pytest.raises(Problem) as refused:
        datasets.change(
            stage.edith, tickets, added=[case("fine"), {"variables": {}}, {"variables": {"a": "b"}, "x": 1}]
        )

    assert refused.value.code == "cases.invalid"
    assert [fault.pointer for fault in refused.value.faults] == ["/1/variables", "/2/x"]
    assert refused.value.detail.startswith("Case 2, variables:")
    assert Case.objects.count() == 60
    assert datasets.change(stage.edith, tickets, added=[case("fine")]).added == 1


def test_a_file_with_a_bad_row_adds_nothing_unless_it_is_left_out(stage: Stage, tickets: Dataset, tmp_path: Path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"variables": {"a": "1"}}\n{"variables": 7}\n{"variables": {"a": "2"}}\n{oops\n')

    with pytest.raises(Problem) as refused:
        ingest.load(stage.edith, tickets, read_rows(path, "jsonl"))
    assert refused.value.detail.startswith("Line 2, variables:")
    assert [fault.pointer for fault in refused.value.faults] == ["/lines/2/variables", "/lines/4"]
    assert Case.objects.count() == 60

    left_out: list[int] = []
    loaded = ingest.load(
        stage.edith, tickets, read_rows(path, "jsonl"), reject=lambda row, _: left_out.append(row.line)
    )
    assert (loaded.read, loaded.added, loaded.bad, left_out) == (4, 2, 2, [2, 4])


def test_a_file_of_nothing_but_bad_rows_stops_early(stage: Stage, tickets: Dataset, tmp_path: Path):
    path = tmp_path / "x.jsonl"
    path.write_text("x\n" * 100_000)

    with pytest.raises(Problem) as refused:
        ingest.load(stage.edith, tickets, read_rows(path, "jsonl"))
    assert len(refused.value.faults) == 50


def test_special_characters_survive(stage: Stage, tickets: Dataset):
    nasty = 'a\ttab, a "quote", a \\ backslash, \\N, \\x41, a\nline, € 日本 \x7f'
    datasets.change(stage.edith, tickets, added=[case(nasty, tags=['a,"b"\\', "{c}"], group="g\t\\")])

    stored_case = Case.objects.of(head(stage)).get(group_key="g\t\\")
    assert stored_case.variables == {"ticket": nasty}
    assert stored_case.tags == ['a,"b"\\', "{c}"]


def test_two_changes_at_once_are_two_versions(live_stage: Stage):
    dataset = datasets.create(live_stage.edith, name="race")
    datasets.change(live_stage.edith, dataset, added=cases(10))
    barrier = threading.Barrier(3)
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            barrier.wait()
            datasets.change(live_stage.edith, dataset, added=cases(20, start=100 * number))
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[number]) for number in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not failures
    assert [version.size for version in dataset.versions.order_by("number")] == [10, 30, 50, 70]


def test_folds_hold_every_case_once(stage: Stage, tickets: Dataset):
    datasets.change(stage.edith, tickets, added=[case("elsewhere", split="general")])

    folds = datasets.case_folds(head(stage), 5)

    assert [len(fold) for fold in folds] == [12] * 5
    assert {key for fold in folds for key in fold} == set(
        Case.objects.of(head(stage)).exclude(split="general").values_list("pk", flat=True)
    )


def test_an_archived_dataset_takes_nothing_in(stage: Stage, tickets: Dataset):
    datasets.archive(stage.edith, tickets)

    for act in (
        lambda: datasets.change(stage.edith, tickets, added=cases(70)),
        lambda: datasets.resplit(stage.edith, tickets, seed=2, split_ratios=dict(DEFAULT_SPLIT_RATIOS)),
    ):
        with pytest.raises(Problem) as refused:
            act()
        assert refused.value.code == "dataset.archived"
    datasets.restore(stage.edith, tickets)
    assert datasets.change(stage.edith, tickets, added=cases(70)).added == 10


def test_what_would_leave_nothing_is_refused(stage: Stage, tickets: Dataset):
    with pytest.raises(Problem) as refused:
        datasets.change(stage.edith, tickets, removed=list(sides(head(stage))))
    assert refused.value.code == "dataset.no_cases"


def test_a_viewer_changes_nothing_and_an_outsider_sees_nothing(stage: Stage, tickets: Dataset, otis: Actor):
    for act in (
        lambda: datasets.create(stage.vera, name="x"),
        lambda: datasets.change(stage.vera, tickets, added=cases(1)),
        lambda: datasets.resplit(stage.vera, tickets, seed=1, split_ratios=dict(DEFAULT_SPLIT_RATIOS)),
        lambda: datasets.archive(stage.vera, tickets),
    ):
        with pytest.raises(Problem) as refused:
            act()
        assert refused.value.code == "access.denied"
    with pytest.raises(Problem) as refused:
        datasets.get_dataset(otis.project, "support.tickets")
    assert refused.value.code == "dataset.not_found"


def test_all_sides_are_named(stage: Stage, tickets: Dataset):
    assert set(head(stage).sizes) == set(SPLITS)
