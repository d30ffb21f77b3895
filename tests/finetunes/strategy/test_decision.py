"""The engine: the published function to the letter, ours by its text, units that do not mix, answers with reasons."""

from math import inf, isnan, nan
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import Problem
from finetunes.strategy import costs, decision, evidence, policy, published_decision, signals
from finetunes.strategy.evidence import Figure, Origin
from finetunes.strategy.published_decision import Metrics
from finetunes.strategy.units import Quantity, UnitError, divide, parse_unit, quantity

PRICES = {"prompt_price": evidence.default_figure(14.5), "tuned_price": evidence.default_figure(5.2)}


def typed_inputs(**values: Any) -> dict[str, Figure]:
    return {**PRICES, **evidence.read_inputs(values)}


def exactly(**values: float) -> dict[str, Figure]:
    """Make inputs that are measured without uncertainty."""
    named = {"prompt_price": 14.5, "tuned_price": 5.2, **values}
    return {name: Figure(value, value, value, Origin.MEASURED) for name, value in named.items()}


def published(tokens: float, latency: float, errors: float, hours: float) -> str:
    """Compute the published function once more from its text, with JavaScript's division."""
    savings = (tokens / 1_000_000) * (14.50 - 5.20)
    cost = hours * 150
    third = savings / 3
    ratio = cost / third if third else (nan if not cost else inf if cost > 0 else -inf)
    if latency > 600 or errors > 0.05:
        return "fine-tune" if ratio <= 3 else "hybrid"
    return "prompt" if tokens < 5_000_000 else "hybrid"


GRID = [
    (tokens, latency, errors, hours)
    for tokens in (0, 1, 4_999_999, 5_000_000, 5_000_001, 48_387_096.774193548, 1e8, -1e6)
    for latency in (0, 599.9, 600, 600.1, 1e6)
    for errors in (0, 0.05, 0.0500001, 1)
    for hours in (0, 1, 3, 40, -1)
]


def test_the_published_function_is_reproduced_to_the_letter():
    other = {
        row: published(*row) for row in GRID if published_decision.recommend(Metrics(*row)).strategy != published(*row)
    }

    assert len(GRID) == 800
    assert other == {}


@pytest.mark.parametrize(
    ("metrics", "answer"),
    [
        (Metrics(0, 700, 0, 0), "hybrid"),  # no cost over no savings is no number, and that is not at most three
        (Metrics(0, 700, 0, 1), "hybrid"),  # never paid back
        (Metrics(-1e6, 700, 0, 1), "fine-tune"),  # negative savings make a negative ratio
        (Metrics(1e6, 700, 0, 0), "fine-tune"),
        (Metrics(0, 600, 0.05, 0), "prompt"),  # both edges are within
        (Metrics(5e6, 600, 0.05, 40), "hybrid"),
        # 150 dollars an hour for 9.3 dollars a million: exactly three by its formula, and the next hour is more.
        (Metrics(150 * 0.62 / 9.3 * 1e6, 700, 0, 0.62), "fine-tune"),
        (Metrics(1e7, 700, 0, 0.63), "hybrid"),
    ],
)
def test_its_corners(metrics: Metrics, answer: str):
    assert published_decision.recommend(metrics).strategy == answer


def test_a_reason_says_where_its_comment_and_its_formula_disagree():
    metrics = Metrics(1e7, 700, 0.01, 1)
    answer = published_decision.answer_as_dict(metrics)

    assert answer["strategy"] == "hybrid"
    assert answer["payback_months"] == pytest.approx(150 / 93)
    assert answer["ratio"] == pytest.approx(450 / 93)
    assert "its formula asks for one" in answer["reasons"][-1]
    ours = decision.recommend(
        exactly(monthly_tokens=1e7, latency_ms=700, format_error_rate=0.01, dev_cost_hours=1), policy.DEFAULT_POLICY
    )
    assert ours.strategy == "fine-tune"
    assert published_decision.answer_as_dict(Metrics(0, 1, 0, 0))["payback_months"] is None


def test_units_do_not_mix():
    dollars, euros, hours = quantity(5, "USD"), quantity(5, "EUR"), quantity(2, "hour")
    for act in (lambda: dollars + euros, lambda: dollars - hours, lambda: dollars < euros, lambda: dollars >= hours):
        with pytest.raises(UnitError):
            act()
    with pytest.raises(UnitError):
        dollars.to("EUR")
    with pytest.raises(UnitError):
        (quantity(14.5, "EUR/Mtoken") - quantity(5.2, "USD/Mtoken")).to("USD/Mtoken")
    assert (quantity(3, "hour") * quantity(150, "USD/hour")).to("USD") == 450
    assert (quantity(450, "USD") / quantity(150, "USD/month")).to("month") == 3
    assert str(quantity(3, "USD/month")) == "3 USD/month"
    assert parse_unit("a*b/b") == {"a": 1}


@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_a_quotient_is_as_ieee_has_it(value: float, by: float):
    quotient = divide(value, by)

    if by:
        assert quotient == value / by
    else:
        assert isnan(quotient) if not value else abs(quotient) == inf
    assert Quantity(value, parse_unit("USD")) / 1.0 == Quantity(value, parse_unit("USD"))


numbers = st.floats(0, 1e9)
MORE = st.fixed_dictionaries(
    {
        "latency_ms": st.floats(0, 5_000),
        "format_error_rate": st.floats(0, 1),
        "dev_cost_hours": st.floats(0, 500),
        "prompt_price": st.floats(0, 100),
        "tuned_price": st.floats(0, 100),
        "prompt_tokens": st.floats(0, 10_000),
        "examples": st.floats(0, 50),
        "clean_examples": st.floats(0, 500),
        "base_months_left": st.floats(0, 60),
        "dynamic_knowledge": st.sampled_from([0.0, 1.0]),
        "complex_reasoning": st.sampled_from([0.0, 1.0]),
        "consistent_style": st.sampled_from([0.0, 1.0]),
        "quality_change": st.floats(-1, 1),
    }
)


@given(numbers, numbers, MORE)
@settings(max_examples=300)
def test_more_volume_never_makes_tuning_less_attractive(first: float, second: float, more: dict[str, float]):
    low, high = sorted((first, second))
    if more["prompt_price"] < more["tuned_price"]:
        # Where a tuned model is dearer, more volume only loses more.
        more = {**more, "prompt_price": more["tuned_price"], "tuned_price": more["prompt_price"]}

    answers = [
        decision.decide(exactly(monthly_tokens=tokens, **more), policy.DEFAULT_POLICY)[0] for tokens in (low, high)
    ]

    assert decision.TUNING[answers[0]] <= decision.TUNING[answers[1]]
    totals = [
        costs.total_cost("prompt", inputs, policy.DEFAULT_POLICY)
        - costs.total_cost("fine-tune", inputs, policy.DEFAULT_POLICY)
        for inputs in (exactly(monthly_tokens=tokens, **more) for tokens in (low, high))
    ]
    assert totals[0].value <= totals[1].value + 1e-6


@given(numbers, MORE)
@settings(max_examples=40, deadline=None)
def test_the_same_evidence_is_the_same_answer_and_it_changes_where_the_sensitivity_says(
    tokens: float, more: dict[str, float]
):
    inputs = exactly(monthly_tokens=tokens, **more)
    first, second = (decision.recommend(inputs, policy.DEFAULT_POLICY) for _ in range(2))

    assert first.as_dict() == second.as_dict()
    assert first.confidence == (0.0 if first.strategy == decision.UNKNOWN else decision.MAX_CONFIDENCE)
    assert (
        decision.recommend(evidence.inputs_from_dict(evidence.inputs_as_dict(inputs)), policy.DEFAULT_POLICY).as_dict()
        == first.as_dict()
    )
    for change in first.sensitivity:
        moved = {**inputs, change.name: Figure(change.value, change.value, change.value, Origin.MEASURED)}
        assert decision.decide(moved, policy.DEFAULT_POLICY)[0] == change.answer != first.strategy


@pytest.mark.parametrize(
    ("inputs", "answer", "reason"),
    [
        ({}, "not-enough-evidence", "measured"),
        ({"monthly_tokens": 1e7}, "not-enough-evidence", "measured"),
        ({"monthly_tokens": 5e5, "latency_ms": 100}, "prompt", "within bounds"),
        ({"monthly_tokens": 5e5, "latency_ms": 100, "prompt_tokens": 3_000}, "trim", "bloated"),
        ({"monthly_tokens": 5e8, "latency_ms": 900, "dev_cost_hours": 24}, "fine-tune", "pays back"),
        ({"monthly_tokens": 3e7, "latency_ms": 900, "dev_cost_hours": 24}, "hybrid", "does not pay back"),
        ({"monthly_tokens": 5e6, "latency_ms": 900, "dev_cost_hours": 24}, "prompt", "Measure a faster model"),
        (
            {"monthly_tokens": 5e6, "latency_ms": 900, "dev_cost_hours": 24, "tuned_latency_ms": 300},
            *("hybrid", "the price of staying within bounds"),
        ),
        ({"monthly_tokens": 5e6, "latency_ms": 9, "format_error_rate": 0.2}, "prompt", "JSON Schema"),
        ({"monthly_tokens": 5e6, "latency_ms": 9, "quality": 0.33}, "prompt", "Pick the examples"),
        (
            {"monthly_tokens": 5e6, "latency_ms": 9, "quality": 0.33, "examples_picked": True},
            *("prompt", "Compare clearer wordings"),
        ),
        ({"monthly_tokens": 5e8, "latency_ms": 100, "dev_cost_hours": 24}, "fine-tune", "high volume"),
        ({"monthly_tokens": 6e6, "latency_ms": 100, "dev_cost_hours": 1}, "prompt", "2.7 months"),
        ({"monthly_tokens": 6e6, "latency_ms": 100, "dev_cost_hours": 0.5}, "hybrid", "keeps 50% of that"),
        ({"monthly_tokens": 5e8, "latency_ms": 900, "dynamic_knowledge": True}, "hybrid", "looked up"),
        ({"monthly_tokens": 5e5, "latency_ms": 900, "dynamic_knowledge": True}, "retrieval", "looked up"),
        ({"monthly_tokens": 5e8, "latency_ms": 100, "complex_reasoning": True}, "prompt", "Reasoning"),
        ({"monthly_tokens": 5e8, "latency_ms": 900, "clean_examples": 12}, "prompt", "collect 38 more"),
        ({"monthly_tokens": 5e8, "latency_ms": 900, "base_months_left": 1.5}, "prompt", "1.5 months"),
        ({"monthly_tokens": 5e8, "latency_ms": 900, "tuned_price": 20}, "prompt", "never paid back"),
        ({"monthly_tokens": 0, "latency_ms": 900}, "prompt", "Nothing is saved"),
        ({"monthly_tokens": 0, "latency_ms": 900, "dev_cost_hours": 0}, "fine-tune", "nothing to pay back"),
    ],
)
def test_answers_and_their_reasons(inputs: dict[str, Any], answer: str, reason: str):
    recommendation = decision.recommend(typed_inputs(**inputs), policy.DEFAULT_POLICY)

    assert recommendation.strategy == answer
    assert reason in " ".join(recommendation.reasons)
    assert (recommendation.confidence == 0) == (answer == "not-enough-evidence")


def test_what_was_measured_worse_is_not_tuned():
    worse = evidence.measured_figure(-0.1, -0.15, -0.05, source="comparison 1")
    recommendation = decision.recommend(
        {**typed_inputs(monthly_tokens=5e8, latency_ms=900), "quality_change": worse}, policy.DEFAULT_POLICY
    )

    assert recommendation.strategy == "prompt"
    assert "worse" in " ".join(recommendation.reasons)


def test_every_row_of_the_matrix_is_a_signal_that_says_which_way_it_pulls():
    low = {
        signal.key: signal
        for signal in signals.all_signals(typed_inputs(monthly_tokens=5e5, latency_ms=100), policy.DEFAULT_POLICY)
    }
    everything = {
        **{"monthly_tokens": 2e7, "latency_ms": 900, "format_error_rate": 0.2, "strict_format": True},
        **{"dynamic_knowledge": True, "complex_reasoning": True, "consistent_style": True, "prompt_tokens": 4_000},
    }
    high = {signal.key: signal for signal in signals.all_signals(typed_inputs(**everything), policy.DEFAULT_POLICY)}

    assert set(low) == set(high) == set(signals.SIGNALS)
    assert (low["volume"].pulls, high["volume"].pulls) == ("prompt", "fine-tune")
    assert high["format"].pulls == high["latency"].pulls == high["style"].pulls == "fine-tune"
    assert (high["knowledge"].pulls, high["reasoning"].pulls, high["bloat"].pulls) == ("retrieval", "prompt", "trim")
    assert not low["format"].is_known
    assert decision.conflicts(list(high.values()))
    assert all(0 <= signal.strength <= 1 for signal in (*low.values(), *high.values()))


def test_doubt_in_the_inputs_is_doubt_in_the_answer():
    sure = exactly(monthly_tokens=4e6, latency_ms=900, dev_cost_hours=0.1)
    near = {**sure, "latency_ms": evidence.measured_figure(605, 560, 650, source="run 1")}

    assert decision.recommend(sure, policy.DEFAULT_POLICY).confidence == decision.MAX_CONFIDENCE
    assert 0.4 < decision.recommend(near, policy.DEFAULT_POLICY).confidence < 0.8


def test_a_tuned_model_as_good_as_the_prompt_is_no_doubt():
    sure = exactly(monthly_tokens=5e8, latency_ms=900, dev_cost_hours=24)
    same = evidence.measured_figure(0.0, -0.03, 0.03, source="comparison 1")

    assert decision.recommend({**sure, "quality_change": same}, policy.DEFAULT_POLICY).confidence > 0.98


def test_measurements_that_contradict_each_other_are_named_and_are_doubt():
    """A run without a format error beside live calls with seven in a hundred."""
    run = evidence.measured_figure(0.0, 0.0, 0.01, source="run 4")
    live = evidence.measured_figure(0.07, 0.06, 0.08, source="2,000 live calls")
    sure = exactly(monthly_tokens=5e8, latency_ms=100, dev_cost_hours=24)

    reconciled = evidence.reconcile(live, run, "format_error_rate")
    alone, contradicted = (
        decision.recommend({**sure, "format_error_rate": figure}, policy.DEFAULT_POLICY)
        for figure in (live, reconciled)
    )

    assert (reconciled.value, reconciled.low, reconciled.high) == (0.07, 0.0, 0.08)
    assert "run 4 and 2,000 live calls" in contradicted.as_dict()["conflicts"][0]
    assert alone.as_dict()["conflicts"] == []
    assert contradicted.confidence <= alone.confidence
    assert evidence.reconcile(live, evidence.measured_figure(0.05, 0.03, 0.07, source="run 5"), "latency_ms") == live
    stored = evidence.inputs_from_dict(evidence.inputs_as_dict({"format_error_rate": reconciled}))
    assert stored["format_error_rate"].conflict == reconciled.conflict


def test_nothing_that_is_wrong_two_times_in_three_is_sure():
    """Quality is looked at as such, and not only as a difference."""
    wrong = {
        **exactly(monthly_tokens=5e8, latency_ms=100, dev_cost_hours=24),
        "quality": Figure(0.33, 0.2, 0.46, Origin.MEASURED),
    }
    better = evidence.measured_figure(0.33, 0.2, 0.4, source="comparison 1")
    signal = signals.accuracy(wrong, policy.DEFAULT_POLICY)

    assert (signal.pulls, signal.strength > 0.5) == ("prompt", True)
    assert signals.accuracy({**wrong, "quality_change": better}, policy.DEFAULT_POLICY).pulls == "fine-tune"
    assert "quality" in decision.recommend(wrong, policy.DEFAULT_POLICY).reasons[0]
    assert decision.recommend(wrong, policy.DEFAULT_POLICY).as_dict()["conflicts"]


def test_a_thousand_calls_cost_what_their_tokens_do():
    inputs = exactly(monthly_tokens=1e6, tokens_per_call=400, retrieval_price=16)
    by_call = decision.recommend(inputs, policy.DEFAULT_POLICY).as_dict()["cost_per_1000_calls_usd"]

    assert by_call["prompt"] == pytest.approx(14.5 * 0.4)
    assert by_call["fine-tune"] == pytest.approx(5.2 * 0.4)
    assert by_call["hybrid"] == pytest.approx((14.5 + 5.2) / 2 * 0.4)
    assert costs.costs_per_1000_calls(exactly(monthly_tokens=1e6), policy.DEFAULT_POLICY) is None


def test_totals_have_ranges_and_cross_where_tuning_begins_to_pay():
    inputs = {**exactly(dev_cost_hours=24), "monthly_tokens": evidence.measured_figure(1e8, 8e7, 1.2e8, source="calls")}
    ranges = costs.total_cost_ranges(inputs, policy.DEFAULT_POLICY)

    assert ranges["prompt"] == {
        "value": pytest.approx(6 * 100 * 14.5 + 6 * 150),
        "low": pytest.approx(6 * 80 * 14.5 + 6 * 150),
        "high": pytest.approx(6 * 120 * 14.5 + 6 * 150),
    }
    assert ranges["fine-tune"]["value"] == pytest.approx(6 * 100 * 5.2 + 24 * 150 + 6 * 8 * 150)
    lines = costs.totals_over_volume(inputs, policy.DEFAULT_POLICY, [0, 1e9], ["prompt", "fine-tune"])
    assert lines["prompt"][0][1] < lines["fine-tune"][0][1]
    assert lines["prompt"][1][1] > lines["fine-tune"][1][1]
    even = costs.tuning_costs(inputs, policy.DEFAULT_POLICY).break_even
    assert even is not None
    assert even.to("token/month") == pytest.approx(24 * 150 / 3 / 9.3 * 1e6)


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"hourly_rate": -1}, "/hourly_rate"),
        ({"format_error_rate": 1.1}, "/format_error_rate"),
        ({"hourly_rate": "150"}, "/hourly_rate"),
        ({"speed": 1}, "/speed"),
        ({"low_volume": 9e6}, "/low_volume"),
        ({"horizon_months": 0}, "/horizon_months"),
    ],
)
def test_a_policy_with_faults_is_refused(members: dict[str, Any], pointer: str):
    with pytest.raises(Problem) as refusal:
        policy.read_policy(members)
    assert refusal.value.faults[0].pointer == pointer


@pytest.mark.parametrize(
    "inputs",
    [{"speed": 1}, {"latency_ms": -1}, {"latency_ms": True}, {"dynamic_knowledge": 1}, {"format_error_rate": 2}],
)
def test_inputs_with_faults_are_refused(inputs: dict[str, Any]):
    with pytest.raises(Problem, match=r"Must be|Inputs are"):
        evidence.read_inputs(inputs)


def test_the_policy_has_the_published_numbers():
    numbers = policy.DEFAULT_POLICY
    assert (numbers.token_cutoff, numbers.latency_sla_ms, numbers.format_error_rate) == (5_000_000, 600, 0.05)
    assert (numbers.prompt_price, numbers.tuned_price, numbers.hourly_rate) == (14.50, 5.20, 150)
    assert (numbers.payback_months, numbers.horizon_months) == (3, 6)
    assert (numbers.bloat_tokens, numbers.bloat_examples) == (2_000, 5)
    assert (numbers.low_volume, numbers.high_volume, numbers.latency_sensitive_ms) == (1e6, 1e7, 500)
    assert set(policy.TITLES) == set(numbers.as_dict())
