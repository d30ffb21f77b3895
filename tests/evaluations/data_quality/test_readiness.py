"""Is the data good enough?"""

import time
from typing import Any

import pytest

from evaluations.data_quality.readiness import BROKEN, PII, Survey, histogram, passes_luhn, report


def survey_of(texts: list[str], labels: str = "abc", expected: Any = "x") -> Survey:
    survey = Survey()
    for key, text in enumerate(texts):
        label = labels[key % len(labels)] if labels else ""
        survey.add(key, {"t": text}, expected, label, "test" if key % 7 == 0 else "train")
    return survey


def troubles(survey: Survey, repeated: int = 0, contradictory: int = 0) -> dict[str, Any]:
    return {
        trouble["key"]: trouble
        for trouble in report(survey, repeated=repeated, contradictory=contradictory)["troubles"]
    }


PLAIN = [f"This is an ordinary ticket with the number {'ABCDEFGH'[n % 8]} in it" for n in range(300)]


def test_good_data_has_nothing_to_fix():
    document = report(survey_of(PLAIN), repeated=0, contradictory=0)

    assert (document["score"], document["troubles"]) == (100, [])


def test_the_gravest_comes_first():
    document = report(survey_of([*PLAIN[:100], "Mail me at bob@corp.org"], expected=None), repeated=5, contradictory=2)

    points = [trouble["points"] for trouble in document["troubles"]]
    assert points == sorted(points, reverse=True)
    assert document["troubles"][0]["key"] == "unanswered"
    assert document["score"] == max(0, 100 - sum(points))


def test_few_cases_rare_labels_and_contradictions():
    assert troubles(survey_of(PLAIN[:30]))["volume"]["points"] == 40
    assert "20 more" in troubles(survey_of(PLAIN[:30]))["volume"]["advice"]
    assert "rare (1)" in troubles(with_a_rare_label())["balance"]["advice"]
    assert troubles(survey_of(PLAIN), contradictory=3)["contradictions"]["count"] == 3


def with_a_rare_label() -> Survey:
    survey = survey_of(PLAIN, labels="ab")
    survey.add(999, {"t": PLAIN[0]}, "x", "rare")
    return survey


def test_a_label_that_nothing_measures_is_named():
    survey = survey_of(PLAIN)
    for key in range(20):
        survey.add(1_000 + key, {"t": PLAIN[key]}, "x", "unseen", "train")

    assert "unseen" in troubles(survey)["untested"]["advice"]


def test_outliers_are_named():
    trouble = troubles(survey_of([*PLAIN, "x" * 20_000]))["lengths"]

    assert trouble["count"] == 1
    assert trouble["examples"][0] == {"case": 300, "text": "20,000 characters"}


@pytest.mark.parametrize("text", ["caf\u00c3\u00a9", "it\u00e2\u20ac\u2122s", "a\ufffdb", "a\x07b"])
def test_broken_characters(text: str):
    assert BROKEN.search(text)
    assert troubles(survey_of([*PLAIN, text]))["encoding"]["count"] == 1


@pytest.mark.parametrize("text", ["café", "naïve Ärger", "日本語", "5 € – “quoted”", "tab\tand\nline"])
def test_characters_that_are_meant(text: str):
    assert not BROKEN.search(text)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("e-mail", "write to bob.miller@corp.co.uk please"),
        ("phone", "call +49 170 123 4567"),
        ("phone", "invoice 123 4567, call 0555 123 4567"),
        ("phone", "07911123456"),
        ("phone", "mobile +4917612345678"),
        ("phone", "(555) 123-4567"),
        ("card", "it is 4111 1111 1111 1111"),
        ("card", "Order 1234567890123, card 4111 1111 1111 1111"),
        ("key", "sk-proj-abcdefghijklmnop1234"),
        ("IBAN", "DE89 3704 0044 0532 0130 00"),
    ],
)
def test_personal_data_is_seen(kind: str, text: str):
    assert PII[kind].search(text)
    assert kind in report(survey_of([*PLAIN, text]), repeated=0, contradictory=0)["pii"]


@pytest.mark.parametrize(
    "text",
    [
        "someone@example.com",
        "invoice 2025-0417",
        "order 4111111111111112",
        "version 1.2.3",
        f"image:40x30:{'a' * 20}4111111111111111{'b' * 28}",
    ],
)
def test_what_only_looks_like_it_is_not(text: str):
    assert not report(survey_of([*PLAIN, text]), repeated=0, contradictory=0)["pii"]


def test_luhn():
    assert passes_luhn("4111-1111-1111-1111")
    assert not passes_luhn("4111-1111-1111-1112")


@pytest.mark.parametrize("text", ["1 " * 30_000, "a" * 100_000 + "@", "A0" * 50_000, "+1 (0" * 20_000, "-" * 100_000])
def test_a_text_made_to_cost_much_costs_little(text: str):
    start = time.process_time()
    survey_of([text])
    base = time.process_time()
    survey_of(["plain words " * (len(text) // 12)])

    # Beside an ordinary text of the same length; a regular expression that backtracks would take minutes.
    assert base - start < 100 * (time.process_time() - base) + 2


def test_the_bars_hold_every_length():
    bars = histogram([1, 5, 10, 1_000])

    assert sum(bar["count"] for bar in bars) == 4
    assert histogram([]) == []
    assert sum(bar["count"] for bar in histogram([0, 0])) == 2
