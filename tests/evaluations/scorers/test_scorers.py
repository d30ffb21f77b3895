"""What each scorer says of an answer."""

import json
from typing import Any

import pytest

from core.errors import Problem
from evaluations.scorers import all_scorers
from evaluations.scorers import specs as scoring
from evaluations.scorers.base import Kind, Sample
from evaluations.scorers.judge import judge_variables, read_verdict
from tests.evaluations.judging import judge


class Nobody:
    """Nothing outside may be asked."""

    def similarity(self, first: str, second: str) -> float:
        return 1.0 if first == second else 0.1

    def ask(self, parameters: Any, variables: Any) -> str:
        raise AssertionError


def judged(scorer: Any, output: str, expected: Any = None, **sample: Any) -> scoring.AnswerScores:
    return judge(Sample(output=output, expected=expected, **sample), scoring.read_specs([scorer]), Nobody())


def value(scorer: Any, output: str, expected: Any = None, **sample: Any) -> float | None:
    scores = list(judged(scorer, output, expected, **sample).scores.values())
    return scores[0].value if scores else None


def spec_document(name: str, **parameters: Any) -> dict[str, Any]:
    return {"scorer": name, "parameters": parameters}


SCHEMA = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("scorer", "output", "expected", "score"),
    [
        ("exact", "yes", "yes", 1),
        ("exact", "Yes", "yes", 0),
        ("exact", '{"a": 1, "b": 2}', {"b": 2, "a": 1}, 1),
        ("exact", "1", True, 0),
        ("exact", "not json", {"a": 1}, 0),
        ("exact", "yes", None, None),
        ("normalised", " YES. ", "yes", 1),
        ("normalised", "no", "yes", 0),
        (spec_document("contains", texts=["Refund", "sorry"]), "a refund", None, 0.5),
        (spec_document("contains", texts=["Refund", "sorry"], need="any"), "a refund", None, 1),
        (spec_document("contains", texts=["Refund"], case_sensitive=True), "a refund", None, 0),
        ("contains", "It is billing.", "billing", 1),
        (spec_document("regex", pattern=r"^\d{3}$"), "123", None, 1),
        (spec_document("regex", pattern=r"^\d{3}$"), "1234", None, 0),
        ("numeric", "The total is 1,200.50", 1200.5, 1),
        ("numeric", "12", 10, 0),
        (spec_document("numeric", relative=0.2), "12", 10, 1),
        (spec_document("numeric", member="n"), '{"n": 3}', {"n": 3}, 1),
        ("numeric", "none", 3, 0),
        ("numeric", "3", "no number", None),
        ("json_valid", '{"a": 1}', None, 1),
        ("json_valid", '```json\n{"a": 1}\n```', None, 0),
        ("json_valid", "NaN", None, 0),
        (spec_document("json_valid", object=True), "[1]", None, 0),
        (spec_document("json_schema", schema=SCHEMA), '{"a": 1}', None, 1),
        (spec_document("json_schema", schema=SCHEMA), '{"a": "1"}', None, 0),
        ("json_schema", "{}", None, None),
        ("fields", '{"a": 1, "b": 2}', {"a": 1, "b": 3}, 0.5),
        ("fields", '{"a": 1, "c": 9}', {"a": 1}, pytest.approx(2 / 3)),
        (spec_document("fields", only_expected=True), '{"a": 1, "c": 9}', {"a": 1}, 1),
        (spec_document("fields", loose=True), '{"a": "Yes."}', {"a": "yes"}, 1),
        ("levenshtein", "kitten", "sitting", pytest.approx(1 - 3 / 7)),
        # Lin 2004, section 3.2: "police kill the gunman" against "police killed the gunman": 3 of 4 words.
        ("rouge_l", "police kill the gunman", "police killed the gunman", 0.75),
        ("rouge_l", "the gunman kill police", "police killed the gunman", 0.5),
        ("similarity", "same", "same", 1),
        ("similarity", "other", "same", pytest.approx(0.1)),
        ("similarity", "", "same", 0),
        ("refusal", "I’m sorry, but I can’t help with that.", None, 1),
        ("refusal", "Sorry to hear that! Here is how.", None, 0),
        ("length", "four", None, 4),
    ],
)
def test_scores(scorer: Any, output: str, expected: Any, score: Any):
    assert value(scorer, output, expected) == score


def test_labels_are_found_where_they_stand():
    assert value("label", '{"category": "Billing"}', label="billing") == 1
    assert value("label", "billing", label="billing") == 1
    assert value("label", "It is about an invoice, I think", label="billing") == 0
    assert value(spec_document("label", member="team"), '{"category": "x", "team": "billing"}', label="billing") == 1
    assert value("label", "billing") is None


def test_every_scorer_bears_any_answer():
    """No answer of a model ends a run."""
    outputs = ["", "{", "null", "[" * 5_000, "\x00\ud800", "9" * 5_000, '{"a": {"b": []}}', "a" * 100_000]
    parameters = {"pattern": r"(a+)+$", "prompt": "x@latest"}
    for name, scorer in all_scorers().items():
        if scorer.asks_model:
            continue
        needed = {parameter.name: parameters[parameter.name] for parameter in scorer.parameters if parameter.required}
        for output in outputs:
            for expected in (None, "", "x", 1, {"a": 1}, [1]):
                score = value(spec_document(name, **needed), output, expected, label="x", latency_ms=1.0, cost_usd=0.1)
                assert score is None or scorer.kind == Kind.MEASURE or 0 <= score <= 1, (name, output[:20])


def test_measures_pass_up_to_their_limit():
    assert judged({"scorer": "latency", "threshold": 100}, "x", latency_ms=100.0).passed
    assert not judged({"scorer": "latency", "threshold": 100}, "x", latency_ms=101.0).passed
    assert judged("latency", "x", latency_ms=1.0).quality is None, "milliseconds are no quality"


def test_weights_thresholds_and_not():
    specs = scoring.read_specs(
        [
            {"scorer": "exact", "weight": 3},
            {"scorer": "refusal", "negate": True, "weight": 1},
            {"scorer": "levenshtein", "weight": 0, "threshold": 0.2},
        ]
    )
    scores = judge(Sample(output="no", expected="yes"), specs, Nobody())
    assert scores.scores["refusal"].value == 1
    assert scores.quality == pytest.approx((3 * 0 + 1 * 1) / 4)
    assert scores.passed is False


def test_the_format_is_no_part_of_quality():
    """A model that gives one well-formed answer to everything is not half right."""
    specs = scoring.read_specs(["label", "json_schema", "json_valid", "latency"])
    sample = Sample(output='{"category": "incident"}', expected={"category": "billing"}, label="billing", schema={})

    scores = judge(sample, specs, Nobody())

    assert (scores.scores["json_schema"].value, scores.scores["label"].value) == (1, 0)
    assert scores.quality == 0
    assert [spec.name for spec in scoring.quality_specs(specs)] == ["label"]
    # Where nothing else is judged, it is all that there is.
    alone = scoring.read_specs(["json_valid"])
    assert judge(sample, alone, Nobody()).quality == 1
    # Two runs are compared by what is a quality in both.
    assert scoring.shared_weights(specs, scoring.read_specs(["label", "json_schema"])) == {"label": 1}
    assert scoring.shared_weights(specs, scoring.read_specs(["json_schema"])) == {}


def test_no_answer_fails_what_it_could_have_passed():
    specs = scoring.read_specs(["exact", "json_valid", "latency"])
    missed = scoring.scores_of_failure(specs, Sample(output="", expected=None))
    assert set(missed.scores) == {"json_valid"}
    assert (missed.quality, missed.passed) == (0.0, False)


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ("exact", "/scorers"),
        ([{"scorer": "exact", "weight": -1}], "/scorers/0/weight"),
        ([{"scorer": "exact", "threshold": 2}], "/scorers/0/threshold"),
        ([{"scorer": "exact", "negate": "yes"}], "/scorers/0/negate"),
        ([{"scorer": "exact", "nonsense": 1}], "/scorers/0/nonsense"),
        (["exact", "exact"], "/scorers/1/name"),
        ([spec_document("contains", texts="x")], "/scorers/0/parameters/texts"),
        ([spec_document("contains", need="most")], "/scorers/0/parameters/need"),
        ([spec_document("regex")], "/scorers/0/parameters/pattern"),
        ([spec_document("json_schema", schema={"type": "nonsense"})], "/scorers/0/parameters/schema"),
        ([spec_document("numeric", absolute=-1)], "/scorers/0/parameters/absolute"),
        ([{"scorer": "exact"}] * 60, "/scorers"),
    ],
)
def test_scorers_with_faults_are_refused_at_their_place(document: Any, pointer: str):
    with pytest.raises(Problem) as refused:
        scoring.read_specs(document)
    assert refused.value.code == "scorers.invalid"
    assert pointer in [fault.pointer for fault in refused.value.faults]


def test_a_judge_that_compares_does_not_know_who_is_who():
    sample = Sample(output="ours", expected="theirs")
    assert judge_variables(sample, is_first=True)["first"] == "ours"
    assert judge_variables(sample, is_first=False)["first"] == "theirs"
    assert read_verdict('{"better": "first"}', compares=True, is_first=True).value == 1
    assert read_verdict('{"better": "first"}', compares=True, is_first=False).value == 0
    assert read_verdict('{"better": "tie"}', compares=True, is_first=False).value == 0.5
    assert read_verdict('{"score": 0.3, "reason": "short"}', compares=False, is_first=True).note == "short"
    for nonsense in ("", "yes", "[]", '{"score": 7}', '{"score": true}', '{"better": "me"}'):
        for compares in (True, False):
            score = read_verdict(nonsense, compares=compares, is_first=True)
            assert (score.value, score.details.get("unread")) == (0.0, True)


DEEP = "[" * 500 + "]" * 500


@pytest.mark.parametrize("scorer", ["json_schema", "fields", "label", "numeric", "exact", "json_valid"])
@pytest.mark.parametrize("output", [DEEP, '{"t": 1' + "0" * 400 + "}", '{"label": "\\u0000"}', '{"label": "\\ud800"}'])
def test_no_answer_is_so_odd_that_a_run_breaks_over_it(scorer: str, output: str):
    sample = Sample(output=output, expected={"label": "a", "t": 1}, schema={"type": "object"})

    judged = judge(sample, scoring.read_specs([scorer]))

    document = json.dumps({name: score.as_dict() for name, score in judged.scores.items()}, ensure_ascii=False)
    assert "\0" not in document
    document.encode()


@pytest.mark.parametrize("negate", [False, True])
@pytest.mark.parametrize(
    ("scorer", "output"),
    [
        ({"scorer": "regex", "parameters": {"pattern": "(a|aa)+$"}}, "a" * 60 + "b"),
        ({"scorer": "json_schema", "parameters": {"schema": {"$ref": "https://example.com/x"}}}, "1"),
    ],
)
def test_what_cannot_be_judged_fails_also_where_it_is_inverted(scorer: Any, output: str, negate: bool):
    scores = judged({**scorer, "negate": negate}, output)

    assert scores.passed is False
    assert [score.value for score in scores.scores.values()] == [0.0]
    assert next(iter(scores.scores.values())).note


LOOKUP = {"name": "lookup", "arguments": '{"order": "7", "now": true}'}


@pytest.mark.parametrize(
    ("expected", "calls", "parameters", "score"),
    [
        ({"tool_calls": [{"name": "lookup", "arguments": {"now": True, "order": "7"}}]}, [LOOKUP], {}, 1),
        # As a training line has them.
        ({"tool_calls": [{"id": "1", "type": "function", "function": LOOKUP}]}, [LOOKUP], {}, 1),
        ({"tool_calls": [{"name": "lookup", "arguments": {"order": "8"}}]}, [LOOKUP], {}, 0),
        ({"tool_calls": [{"name": "lookup", "arguments": {"order": "8"}}]}, [LOOKUP], {"names_only": True}, 1),
        ({"tool_calls": [{"name": "lookup", "arguments": "{oops"}]}, [LOOKUP], {"names_only": True}, 1),
        ({"tool_calls": [{"name": "now", "arguments": "[]"}]}, [{"name": "now", "arguments": "{}"}], {}, 0),
        ({"tool_calls": [LOOKUP, {"name": "cancel", "arguments": {}}]}, [LOOKUP], {}, 2 / 3),
        ({"tool_calls": [LOOKUP]}, [LOOKUP, LOOKUP], {}, 2 / 3),
        ({"tool_calls": [LOOKUP]}, None, {}, 0),
        ({"tool_calls": []}, None, {}, 1),
        ({"tool_calls": [{"name": "now"}]}, [{"name": "now", "arguments": "{}"}], {}, 1),
        ({"tool_calls": [{"name": "now", "arguments": None}]}, [{"name": "now", "arguments": ""}], {}, 1),
        ({"tool_calls": [{"name": "f", "arguments": {"a": 1}}]}, [{"name": "f", "arguments": '{"a": true}'}], {}, 0),
        ({"tool_calls": [{"name": "f", "arguments": {"a": 1}}]}, [{"name": "f", "arguments": '{"a": 1.0}'}], {}, 1),
        ({"tool_calls": []}, [LOOKUP], {}, 0),
        ({"tool_calls": [LOOKUP]}, [{"name": "lookup", "arguments": "{no JSON"}], {}, 0),
        ("billing", [LOOKUP], {}, None),
        (None, [LOOKUP], {}, None),
    ],
)
def test_calls_of_tools(expected: Any, calls: Any, parameters: Any, score: float | None):
    result = value(spec_document("tool_calls", **parameters), "", expected, tool_calls=calls)

    assert result == (None if score is None else pytest.approx(score))
