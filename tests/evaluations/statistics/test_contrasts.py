"""Two runs are compared like with like: a run is never better or worse than itself, whatever judged it."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluations.scorers.specs import Spec, read_specs, shared_specs, shared_weights
from evaluations.statistics.contrasts import Pair, are_alike
from evaluations.statistics.metrics import Answer, typical_calls_in_flight

NAMES = ("label", "json_schema", "length", "contains")
VALUES = st.floats(0, 1, allow_nan=False)
ANSWERS = st.lists(st.fixed_dictionaries(dict.fromkeys(NAMES, VALUES)), min_size=5, max_size=30)
SUBSETS = st.sets(st.sampled_from(NAMES))


def answers(rows: list[dict[str, float]], names: set[str]) -> list[Answer]:
    return [
        Answer(
            case=case,
            group=case,
            label="",
            tags=(),
            scores={name: {"value": row[name], "passed": True} for name in sorted(names)},
            quality=sum(row[name] for name in names) / len(names) if names else None,
            passed=True,
            failed=False,
            latency_ms=1.0,
            tokens_in=1,
            tokens_out=1,
            cost_usd=0.0,
        )
        for case, row in enumerate(rows)
    ]


def quality_of(first: list[Answer], second: list[Answer], weights: dict[str, float]) -> dict[str, Any] | None:
    quality: dict[str, Any] | None = Pair(first, second, weights=weights, margin=0.05, seed=1).report([])["quality"]
    return quality


@given(ANSWERS, SUBSETS, SUBSETS)
def test_a_run_is_never_better_or_worse_than_itself(
    rows: list[dict[str, float]], by_first: set[str], by_second: set[str]
):
    """The same answers, judged by any scorers on either side (faults.md C1)."""
    weights = dict.fromkeys(by_first & by_second, 1.0)

    quality = quality_of(answers(rows, by_first), answers(rows, by_second), weights)

    assert (quality is None) == (not weights)
    if quality:
        assert (quality["difference"], quality["wins"], quality["losses"]) == (0, 0, 0)
        assert quality["verdict"] not in {"better", "worse"}


@given(ANSWERS, ANSWERS)
def test_the_order_of_runs_turns_the_verdict_around_and_nothing_else(
    rows: list[dict[str, float]], others: list[dict[str, float]]
):
    weights = {"label": 1.0, "contains": 2.0}
    count = min(len(rows), len(others))
    first, second = answers(rows[:count], set(NAMES)), answers(others[:count], {"label", "contains"})

    forth, back = quality_of(first, second, weights), quality_of(second, first, weights)

    assert forth is not None
    assert back is not None
    assert abs(forth["difference"] + back["difference"]) < 1e-9
    assert (forth["wins"], forth["losses"]) == (back["losses"], back["wins"])
    turned = {"better": "worse", "worse": "better"}
    assert turned.get(forth["verdict"], forth["verdict"]) == back["verdict"]
    for low, high in (("low", "high"), ("high", "low")):
        assert (forth[low] is None) == (back[high] is None)
        assert forth[low] is None or forth[low] == pytest.approx(-back[high], abs=1e-9)


@given(ANSWERS, ANSWERS)
def test_the_same_differences_have_the_same_interval_whatever_their_name(
    rows: list[dict[str, float]], others: list[dict[str, float]]
):
    """Quality by one scorer is that scorer's figure."""
    count = min(len(rows), len(others))
    first, second = answers(rows[:count], {"contains"}), answers(others[:count], {"contains"})

    report = Pair(first, second, weights={"contains": 1.0}, margin=0.05, seed=1).report([spec()])

    (figure,) = (figure for figure in report["figures"] if figure["name"] == "contains")
    names = ("low", "high", "difference", "wins", "losses", "ties")
    assert {name: figure[name] for name in names} == {name: report["quality"][name] for name in names}


def test_a_scorer_that_judged_one_side_of_a_case_does_not_count_there():
    rows = [dict.fromkeys(NAMES, 1.0) for _ in range(6)]
    first, second = answers(rows, {"label", "contains"}), answers(rows, {"label", "contains"})
    only_label = {"label": {"value": 0.0, "passed": False}}
    second[0] = replace(second[0], scores=only_label)

    report = Pair(first, second, weights={"label": 1.0, "contains": 1.0}, margin=0.05, seed=1).report([])

    assert report["worse"] == [{"case": 0, "baseline": 1.0, "candidate": 0.0}]


def spec(**members: Any) -> Spec:
    (read,) = read_specs([{"scorer": "contains", "parameters": {"texts": ["a"]}, **members}])
    return read


def test_scorers_are_shared_where_they_judge_alike():
    texts = {"parameters": {"texts": ["b"]}}
    assert shared_weights([spec()], [spec()]) == {"contains": 1.0}
    assert shared_weights([spec(weight=1)], [spec(weight=3)]) == shared_weights([spec(weight=3)], [spec(weight=1)])
    assert shared_weights([spec()], [spec(**texts)]) == {}
    assert shared_weights([spec()], [spec(negate=True)]) == {}
    assert shared_weights([spec()], [spec(weight=0)]) == {}
    assert [row.name for row in shared_specs([spec()], [spec(weight=0)])] == ["contains"]


def measured(calls: list[int | None], latency_ms: float | None = 1.0) -> list[Answer]:
    (answer,) = answers([dict.fromkeys(NAMES, 1.0)], set(NAMES))
    return [
        replace(answer, case=case, group=case, calls_in_flight=number, latency_ms=latency_ms)
        for case, number in enumerate(calls)
    ]


@pytest.mark.parametrize(
    ("calls", "typical"),
    [
        # One moment when another run ends says nothing of the others.
        ([1] * 39 + [40], 1),
        ([1] * 36 + [40] * 4, 40),
        ([8], 8),
        ([], None),
        # A part that was measured before calls were counted is not told as the whole.
        ([4] * 9 + [None], None),
    ],
)
def test_the_calls_in_flight_of_a_run_are_those_of_nearly_all_answers(calls: list[int | None], typical: int | None):
    assert typical_calls_in_flight(measured(calls)) == typical


def test_answers_that_were_not_measured_do_not_count():
    assert typical_calls_in_flight([*measured([2, 2]), *measured([None], latency_ms=None)]) == 2


@pytest.mark.parametrize(
    ("first", "second", "alike"),
    [(4, 4, True), (4, 6, True), (6, 4, True), (1, 2, False), (None, None, True), (None, 4, False)],
)
def test_latencies_are_compared_where_calls_in_flight_are_alike(first: int | None, second: int | None, alike: bool):
    assert are_alike(first, second) == alike
    pair = Pair(measured([first] * 20), measured([second] * 20), weights={}, margin=0.05, seed=1)

    report = pair.report([])

    assert report["latency_compared"] == alike
    assert [figure["name"] for figure in report["figures"]] == (["latency", "cost"] if alike else ["cost"])
    assert report["calls_in_flight"] == [first, second]
