"""Looking for leaks, and what follows from them."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from core.errors import Problem
from evaluations.data_quality import reports
from evaluations.data_quality.leakage import LeakageSearch
from evaluations.datasets import lifecycle as datasets
from evaluations.models import Dataset, DatasetVersion, Finding, Report, ReportKind, ReportState
from registry.examples import example_sets
from registry.models import AuditEntry
from tests.conftest import Stage
from tests.evaluations.conftest import case

LONG = (
    "Since the update of last night the export of our regional sales dashboard stops after the first page, and the "
    "log has nothing but a timeout of the storage service at three in the morning, although nobody changed anything"
)


def looked_at(stage: Stage, rows: list[dict[str, Any]], name: str = "leaky") -> Report:
    dataset = datasets.create(stage.edith, name=name)
    version = datasets.change(stage.edith, dataset, added=rows).version
    return report_on(version)


def report_on(version: DatasetVersion) -> Report:
    report = Report.objects.filter(version=version, kind="leakage", state="pending").get()
    reports.make_report(report)
    report.refresh_from_db()
    assert (report.state, report.error) == (ReportState.DONE, "")
    return report


def kinds(report: Report) -> dict[str, int]:
    return {kind: count for kind, count in report.result["counts"].items() if count}


def test_no_two_inputs_of_the_tickets_are_the_same(stage: Stage, tickets: Dataset):
    assert tickets.head
    report = report_on(tickets.head)

    # Tickets that differ in a number alone are nearly the same, and it says so; none of them is the same.
    assert "exact" not in kinds(report)
    assert reports.leakage_status(tickets.head).blocks_fine_tuning is bool(report.result["leaked"])


@pytest.mark.parametrize(
    ("train", "kind"),
    [
        (LONG.upper() + "!!", "exact"),
        (LONG.replace("nobody", "no one"), "near"),
        (f"Dear team, I write again. {LONG}. Thank you in advance for looking into it!", "contained"),
        ("Our regional dashboard export breaks off", None),
    ],
)
def test_a_test_case_that_training_shows_is_found(stage: Stage, train: str, kind: str | None):
    report = looked_at(stage, [case(train, "a", split="train"), case(LONG, "a", split="test")])

    assert kinds(report) == ({kind: 1} if kind else {})
    if kind:
        (finding,) = Finding.objects.filter(report=report)
        assert (finding.held_out.split, finding.other and finding.other.split) == ("test", "train")
        assert finding.is_leak
        assert report.result["leaked_cases"] == [finding.held_out_id]
        assert reports.leaked_cases(report.version) == {finding.held_out_id}


@pytest.mark.parametrize("text", ["ERR_EXPORT_4107", "pivot", "Wo ist die Rechnung?", "ダッシュボードが表示されません"])
def test_short_texts_and_other_scripts_are_found_too(stage: Stage, text: str):
    assert kinds(looked_at(stage, [case(text, split="train"), case(f"{text}!", split="test")])) == {"exact": 1}


def test_one_changed_word_in_a_short_text_is_nearly_the_same(stage: Stage):
    rows = [
        case("Please cancel our subscription at the end of this month, thanks", split="train"),
        case("Please cancel our subscription at the end of this month, thx", split="test"),
    ]

    assert sum(kinds(looked_at(stage, rows)).values()) == 1


def test_the_same_in_other_words_is_found_by_meaning(stage: Stage):
    rows = [
        case("How can I change my password?", split="train"),
        case("How do I change my password?", split="test"),
    ]

    counts = kinds(looked_at(stage, rows))

    assert counts in ({"meaning": 1}, {"near": 1})


def test_examples_that_show_test_cases_are_leaks(stage: Stage):
    example_set = example_sets.create(stage.edith, name="shots")
    example_sets.commit(
        stage.edith, example_set, examples=[{"input": LONG, "output": "x"}, {"input": "other", "output": "y"}]
    )

    report = looked_at(stage, [case(LONG, "a", split="test"), case("quite something else", "a", split="train")])

    (finding,) = Finding.objects.filter(report=report)
    assert (finding.example_set and finding.example_set.example_set.name, finding.position) == ("shots", 1)
    assert finding.is_leak
    assert report.result["sets"] == ["shots@1"]


def test_training_that_shows_validation_is_told_and_does_not_block(stage: Stage):
    report = looked_at(stage, [case(LONG, "a", split="train"), case(LONG, "a", split="validation")])

    assert kinds(report) == {"exact": 1}
    assert report.result["is_clean"]


def test_contradictions_are_told_with_both_rows(stage: Stage):
    rows = [case("The export hangs", "a", split="train"), case("the export hangs", "b", split="train")]

    report = looked_at(stage, rows)

    assert kinds(report) == {"contradiction": 1}
    (finding,) = Finding.objects.filter(report=report)
    assert {finding.held_out.label, finding.other and finding.other.label} == {"a", "b"}


def test_a_leak_blocks_fine_tuning_until_an_admin_allows_it(stage: Stage):
    report = looked_at(stage, [case(LONG, "a", split="train"), case(LONG, "a", split="test")])
    version = report.version

    with pytest.raises(Problem) as refused:
        reports.require_no_leaks(version)
    assert (refused.value.code, refused.value.members["leaked"]) == ("leakage.found", 1)
    with pytest.raises(Problem) as refused:
        reports.override_leakage(stage.edith, version, reason="Because")
    assert refused.value.code == "access.denied"
    with pytest.raises(Problem) as refused:
        reports.override_leakage(stage.ada, version, reason="  ")
    assert refused.value.code == "promotion.reason_required"

    reports.override_leakage(stage.ada, version, reason="Known, and left in for comparison")

    reports.require_no_leaks(version)
    assert "Known" in reports.leakage_status(version).reason
    assert AuditEntry.objects.get(action="leakage.overridden").after["leaked"] == 1
    # Another look finds it again, and needs another decision.
    report_on(reports.request_report(stage.edith, version, ReportKind.LEAKAGE).version)
    assert reports.leakage_status(version).blocks_fine_tuning


def test_nobody_has_looked_blocks_as_well(stage: Stage, tickets: Dataset):
    assert tickets.head
    with pytest.raises(Problem) as refused:
        reports.require_no_leaks(tickets.head)
    assert refused.value.code == "leakage.unknown"
    with pytest.raises(Problem) as refused:
        reports.override_leakage(stage.ada, tickets.head, reason="x")
    assert refused.value.code == "leakage.unknown"


def test_nothing_to_override_is_said(stage: Stage):
    report = looked_at(stage, [case("a b c", split="train"), case("d e f", split="test")])

    with pytest.raises(Problem) as refused:
        reports.override_leakage(stage.ada, report.version, reason="x")
    assert refused.value.code == "leakage.nothing_to_override"


def test_a_report_is_made_once_and_a_dead_workers_one_again(stage: Stage, tickets: Dataset):
    assert tickets.head
    report = Report.objects.get(version=tickets.head, kind="readiness")
    Report.objects.filter(pk=report.pk).update(state="running", heartbeat_at="2020-01-01T00:00Z")

    assert report in reports.claimable_reports()
    reports.make_report(report)
    reports.make_report(report)
    report.refresh_from_db()
    assert (report.state, report.result["size"]) == ("done", 60)
    assert reports.request_report(stage.edith, tickets.head, ReportKind.READINESS).pk != report.pk


def test_readiness_counts_copies_and_contradictions(stage: Stage):
    rows = [case("same", "a"), case("SAME", "b"), case("same!", "a"), case("other", "a")]
    version = datasets.change(stage.edith, datasets.create(stage.edith, name="x"), added=rows).version
    report = Report.objects.get(version=version, kind="readiness")
    reports.make_report(report)
    report.refresh_from_db()

    counts = {trouble["key"]: trouble["count"] for trouble in report.result["troubles"]}
    assert (counts["duplicates"], counts["contradictions"]) == (2, 3)


@pytest.mark.parametrize("text", ["👍", "?!", "...", "{}"])
def test_texts_without_words_break_nothing(stage: Stage, text: str):
    report = looked_at(
        stage, [case("a real ticket", split="train"), case(text, split="train"), case(text, split="test")]
    )

    assert kinds(report) == {"exact": 1}


@pytest.mark.parametrize(
    ("test_text", "train_text"),
    [
        (
            "where is my order 4711?",
            "Hello there, I would like to know where is my order 4711, and why it takes so long",
        ),
        (
            "ダッシュボードが昨日から表示されません",
            "お世話になっております。ダッシュボードが昨日から表示されませんので、確認をお願いいたします。急いでいます。",
        ),
    ],
)
def test_a_short_text_inside_a_long_one_is_found(stage: Stage, test_text: str, train_text: str):
    assert sum(kinds(looked_at(stage, [case(train_text, split="train"), case(test_text, split="test")])).values()) == 1


@pytest.mark.parametrize(
    ("first", "second"), [("1+1", "1-1"), ("What is C++?", "What is C#?"), ("दिन", "दीन"), ("👍", "👎")]
)
def test_signs_that_mean_something_make_another_text(stage: Stage, first: str, second: str):
    assert kinds(looked_at(stage, [case(first, "a", split="train"), case(second, "b", split="train")])) == {}


def test_what_is_live_is_looked_at_and_not_only_the_newest(stage: Stage):
    example_set = example_sets.create(stage.edith, name="shots")
    old = example_sets.commit(stage.edith, example_set, examples=[{"input": LONG, "output": "x"}]).version
    prompt = stage.prompt()
    live = {"set": old.content_hash, "select": "first", "k": 1}
    stage.release(stage.commit(prompt, "x", examples=live))
    stage.commit(prompt, "without")
    example_sets.commit(stage.edith, example_set, examples=[{"input": "other", "output": "x"}])

    report = looked_at(stage, [case(LONG, split="test"), case("something else", split="train")])

    assert report.result["sets"] == ["shots@1", "shots@2"]
    assert report.result["leaked"] == 1


def test_very_long_texts_are_compared_in_bounded_memory(stage: Stage):
    long = " ".join(f"word{number * 7919 % 5003}" for number in range(20_000))

    report = looked_at(stage, [case(long, split="train"), case(long + " end", split="test")])

    assert report.result["leaked"] == 1


def test_a_report_that_breaks_says_so_and_is_not_tried_for_ever(stage: Stage, tickets: Dataset, monkeypatch: Any):
    def broken(_: Any) -> Any:
        raise RuntimeError("a bug")

    report = Report.objects.get(version=tickets.head, kind="readiness")
    monkeypatch.setattr(reports, "_readiness", broken)
    reports.make_report(report)

    report.refresh_from_db()
    assert (report.state, "our side" in report.error) == ("failed", True)
    assert report not in reports.claimable_reports()


def test_a_thousand_copies_do_not_make_a_million_findings(stage: Stage):
    rows = [case(LONG, "a", split="train", group=f"{n}") for n in range(600)]
    rows += [case(LONG, "a", split="test", group=f"t{n}") for n in range(600)]

    report = looked_at(stage, rows)

    assert report.result["leaked"] == 600
    assert Finding.objects.filter(report=report).count() <= 3_000


def test_a_report_that_a_newer_version_replaces_stops(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    dataset = datasets.create(stage.edith, name="leaky")
    first = datasets.change(stage.edith, dataset, added=[case(LONG, "a", split="train")]).version
    running = Report.objects.get(version=first, kind="leakage")
    plain = LeakageSearch._same_inputs

    def commit_meanwhile(search: LeakageSearch) -> None:
        plain(search)
        datasets.change(stage.edith, dataset, added=[case(f"Another {search._report.pk}", "b", split="train")])
        Report.objects.filter(pk=search._report.pk).update(created_at=timezone.now() - timedelta(minutes=1))
        search._report.refresh_from_db()

    monkeypatch.setattr(LeakageSearch, "_same_inputs", commit_meanwhile)
    reports.make_report(running)
    running.refresh_from_db()

    assert (running.state, running.error) == ("failed", "Version 2 was created while this report was made.")
    # The next one is made, though a third version comes meanwhile: some report has to be.
    second = Report.objects.get(version__dataset=dataset, version__number=2, kind="leakage")
    reports.make_report(second)
    second.refresh_from_db()
    assert second.state == "done"
    monkeypatch.undo()
    # What is asked for of an old version afterwards is made.
    asked_for = reports.request_report(stage.edith, first, ReportKind.LEAKAGE)
    reports.make_report(asked_for)
    asked_for.refresh_from_db()
    assert asked_for.state == "done"


def test_who_waits_for_a_report_sees_what_comes_first(stage: Stage, client: Client):
    for name in ("one", "two"):
        datasets.change(stage.edith, datasets.create(stage.edith, name=name), added=[case(LONG, "a", split="train")])
    client.force_login(stage.edith.user)  # type: ignore[arg-type]

    page = client.get("/p/paper/datasets/two/reports/leakage/panel/").content.decode()

    before = Report.objects.filter(
        state="pending", pk__lt=Report.objects.get(version__dataset__name="two", kind="leakage").pk
    ).count()
    assert before >= 2
    assert f"{before} reports come first" in " ".join(page.split())
