"""Rounds of annotation: the queue, two people a case, and what comes of it."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from core.errors import Problem
from evaluations.curation import annotation
from evaluations.datasets import lifecycle as datasets
from evaluations.models import Annotation, AnnotationItem, AnnotationRound, Case, Dataset
from registry.models import AuditEntry
from tests.conftest import Stage
from tests.evaluations.conftest import case


def opened(stage: Stage, dataset: Dataset, **options: Any) -> AnnotationRound:
    return annotation.open_round(stage.edith, dataset, title="Round", most=4, **options)


def item(round_: AnnotationRound, number: int) -> int:
    return int(round_.items.order_by("id")[number].pk)


def answer(label: str) -> dict[str, str]:
    return {"category": label}


def test_one_person_a_case_corrects_what_is_there(stage: Stage, tickets: Dataset):
    round_ = opened(stage, tickets)
    case_id = round_.items.get(pk=item(round_, 0)).case_id
    before = Case.objects.get(pk=case_id)

    for number in range(4):
        annotation.annotate(stage.rhea, round_, item(round_, number), expected=answer("corrected"))
    loaded = annotation.apply(stage.edith, round_)

    assert annotation.progress(round_).done == 4
    assert Case.objects.of(loaded.version).filter(label="corrected").count() == 4
    new = Case.objects.of(loaded.version).get(variables=before.variables)
    assert (new.split, new.expected) == (before.split, answer("corrected"))
    assert AuditEntry.objects.get(action="annotation.get_applied_round").after["changed"] == 4
    with pytest.raises(Problem) as refused:
        annotation.annotate(stage.rhea, round_, item(round_, 0), expected="x")
    assert refused.value.code == "round.wrong_state"


def test_two_people_agree_or_somebody_decides_and_kappa_stays(stage: Stage, tickets: Dataset):
    round_ = opened(stage, tickets, annotators=2)
    for number, (first, second) in enumerate([("a", "a"), ("b", "b"), ("a", "b"), ("b", "b")]):
        annotation.annotate(stage.edith, round_, item(round_, number), expected=answer(first))
        annotation.annotate(stage.rhea, round_, item(round_, number), expected=answer(second))

    before = annotation.agreement(round_)
    assert (before.cases, before.agreed) == (4, 3)
    assert before.kappa == pytest.approx(0.5)
    assert [disputed.pk for disputed in annotation.disputed_items(round_)] == [item(round_, 2)]
    with pytest.raises(Problem, match="decide"):
        annotation.apply(stage.edith, round_)

    # One of the two decides against what they said themselves.
    annotation.decide(stage.edith, round_, item(round_, 2), expected=answer("b"))

    assert annotation.agreement(round_) == before
    assert set(Annotation.objects.filter(item=item(round_, 2)).values_list("label", flat=True)) == {"a", "b"}
    loaded = annotation.apply(stage.edith, round_)
    assert Case.objects.of(loaded.version).filter(label="b").count() == 3


def test_only_cases_with_all_their_answers_are_used(stage: Stage, tickets: Dataset):
    round_ = opened(stage, tickets, annotators=2)
    annotation.annotate(stage.edith, round_, item(round_, 0), expected=answer("a"))
    with pytest.raises(Problem) as refused:
        annotation.apply(stage.edith, round_)
    assert refused.value.code == "round.wrong_state"

    annotation.annotate(stage.rhea, round_, item(round_, 0), expected=answer("a"))
    loaded = annotation.apply(stage.edith, round_)
    assert Case.objects.of(loaded.version).filter(label="a").count() == 1


def test_everybody_gets_another_case_and_nobody_one_twice(stage: Stage, tickets: Dataset):
    round_ = opened(stage, tickets)

    mine = annotation.next_item(stage.edith, round_)
    again = annotation.next_item(stage.edith, round_)
    theirs = annotation.next_item(stage.rhea, round_)
    assert mine and again and theirs  # noqa: PT018 - for the type checker
    assert mine == again != theirs

    for number in range(4):
        annotation.annotate(stage.edith, round_, item(round_, number), expected="x")
    assert annotation.next_item(stage.edith, round_) is None
    assert annotation.next_item(stage.rhea, round_) is None


def test_an_open_page_of_one_does_not_keep_the_other_from_working(stage: Stage, tickets: Dataset):
    round_ = opened(stage, tickets, annotators=2)
    for number in range(1, 4):
        annotation.annotate(stage.edith, round_, item(round_, number), expected="x")
    reserved = annotation.next_item(stage.rhea, round_)
    AnnotationItem.objects.filter(pk=item(round_, 0)).update(
        held_by=stage.rhea.user, held_until=timezone.now() + timedelta(minutes=5)
    )

    assert reserved
    assert annotation.next_item(stage.edith, round_) == AnnotationItem.objects.get(pk=item(round_, 0))


def test_what_is_held_too_long_is_free_again(stage: Stage, tickets: Dataset):
    round_ = annotation.open_round(stage.edith, tickets, title="One", most=1)
    annotation.next_item(stage.edith, round_)
    assert annotation.next_item(stage.rhea, round_) is None
    assert annotation.held_by_others(round_, stage.rhea.user) == ["edith"]

    AnnotationItem.objects.update(held_until=timezone.now() - timedelta(seconds=1))
    assert annotation.next_item(stage.rhea, round_)


def test_a_skipped_case_goes_to_the_next(stage: Stage, tickets: Dataset):
    round_ = opened(stage, tickets)
    first = annotation.next_item(stage.edith, round_)
    assert first

    assert annotation.next_item(stage.edith, round_, skip=[first.pk]) != first


def test_one_can_take_ones_own_answer_back(stage: Stage, tickets: Dataset):
    round_ = opened(stage, tickets)
    annotation.annotate(stage.edith, round_, item(round_, 0), expected="oops")

    annotation.undo(stage.edith, round_, item(round_, 0))

    assert annotation.progress(round_).done == 0
    with pytest.raises(Problem) as refused:
        annotation.undo(stage.rhea, round_, item(round_, 0))
    assert refused.value.code == "annotation.not_yours"


def test_a_case_never_gets_an_answer_too_many(live_stage: Stage):
    dataset = datasets.create(live_stage.edith, name="race")
    datasets.change(live_stage.edith, dataset, added=[case("one", "a")])
    round_ = annotation.open_round(
        live_stage.edith, datasets.get_dataset(live_stage.project, "race"), title="R", annotators=2
    )
    key = item(round_, 0)
    barrier = threading.Barrier(4)
    refusals: list[str] = []

    def run(actor: Any) -> None:
        barrier.wait()
        try:
            annotation.annotate(actor, round_, key, expected="x")
        except Problem as problem:
            refusals.append(problem.code)
        finally:
            connection.close()

    people = (live_stage.edith, live_stage.rhea, live_stage.ralf, live_stage.ada)
    threads = [threading.Thread(target=run, args=[actor]) for actor in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert Annotation.objects.count() == 2
    assert refusals == ["annotation.not_yours"] * 2


def test_what_changed_meanwhile_is_left_as_it_is(stage: Stage, tickets: Dataset):
    round_ = opened(stage, tickets)
    key = round_.items.get(pk=item(round_, 0)).case_id
    for number in range(4):
        annotation.annotate(stage.edith, round_, item(round_, number), expected=answer("new"))
    datasets.change(stage.rhea, tickets, changed={key: case("rewritten", "mine")})

    loaded = annotation.apply(
        stage.edith, annotation.get_round(datasets.get_dataset(stage.project, tickets.name), round_.pk)
    )

    assert Case.objects.of(loaded.version).filter(label="mine").count() == 1
    assert Case.objects.of(loaded.version).filter(label="new").count() == 3


@pytest.mark.parametrize(
    "options",
    [
        {"title": " "},
        {"annotators": 3},
        {"labels": [str(number) for number in range(31)]},
        {"split": "dev"},
        {"most": 0},
        {"most": 5_000},
    ],
)
def test_a_round_has_rules(stage: Stage, tickets: Dataset, options: dict[str, Any]):
    with pytest.raises(Problem) as refused:
        annotation.open_round(stage.edith, tickets, **{"title": "x", **options})
    assert refused.value.code == "round.invalid"


def test_nothing_to_annotate_is_said(stage: Stage, tickets: Dataset):
    with pytest.raises(Problem) as refused:
        annotation.open_round(stage.edith, tickets, title="x", only_unanswered=True)
    assert refused.value.code == "dataset.no_cases"


def test_viewers_and_empty_answers_are_refused(stage: Stage, tickets: Dataset):
    round_ = opened(stage, tickets)

    with pytest.raises(Problem) as refused:
        annotation.next_item(stage.vera, round_)
    assert refused.value.code == "access.denied"
    for nothing in (None, "", {}, "\0"):
        with pytest.raises(Problem) as refused:
            annotation.annotate(stage.edith, round_, item(round_, 0), expected=nothing)
        assert refused.value.code == "annotation.invalid"


def test_a_closed_round_keeps_its_answers(stage: Stage, tickets: Dataset):
    round_ = opened(stage, tickets)
    annotation.annotate(stage.edith, round_, item(round_, 0), expected="x")

    annotation.close(stage.edith, round_)

    assert Annotation.objects.count() == 1
    with pytest.raises(Problem) as refused:
        annotation.apply(stage.edith, round_)
    assert refused.value.code == "round.wrong_state"
