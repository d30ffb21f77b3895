"""The log of calls on pages and over REST: filters, one call beside the list, and what is made of calls."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from core.errors import Problem
from evaluations.datasets import lifecycle as datasets
from evaluations.models import CaseProposal
from inference.calls import cases, feedback, selection
from inference.calls import log as call_log
from inference.models import Call, CallText, Feedback
from registry.accounts.permissions import Actor
from registry.examples import example_sets
from registry.models import ExampleSetVersion, PromptVersion
from tests.conftest import ApiFor, Stage
from tests.inference.calls.conftest import call

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def edith(stage: Stage, client: Client) -> Client:
    client.force_login(stage.edith.user)
    return client


@pytest.fixture
def calls(stage: Stage, service: Actor, version: PromptVersion) -> list[Call]:
    """Three calls: one that was right, one that failed, one that was corrected and whose text is kept."""
    now = timezone.now()
    call_log.record(
        service,
        [
            call(1, id="right", at=now - timedelta(hours=30), score=0.9, subject="user-17", trace=TRACE, label="a"),
            call(2, id="failed", at=now - timedelta(minutes=30), error="timeout", environment="staging", label="b"),
            call(3, id="wrong", at=now - timedelta(minutes=20), format_ok=False, score=0.2, label="b"),
        ],
    )
    feedback.record(service, [{"call": "wrong", "name": "helpful", "boolean": False}])
    keep(version, "wrong", 'I was charged twice, and they said "no"')
    return list(Call.objects.order_by("at"))


def keep(version: PromptVersion, reference: str, question: str) -> None:
    CallText.objects.create(
        project=version.prompt.project,
        reference=reference,
        at=timezone.now(),
        variables={"ticket": question},
        messages=[{"role": "user", "content": f"Sort it: {question}"}],
        answer={"text": "shipping"},
    )


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["wrong", "failed", "right"]),
        ({"prompt": "support.triage", "version": "1"}, ["wrong", "failed", "right"]),
        ({"version": "2"}, []),
        ({"environment": "staging"}, ["failed"]),
        ({"state": "failed"}, ["failed"]),
        ({"state": "ok"}, ["wrong", "right"]),
        ({"error": "timeout"}, ["failed"]),
        ({"format_ok": "false"}, ["wrong"]),
        ({"max_score": "0.5"}, ["wrong"]),
        ({"label": "b"}, ["wrong", "failed"]),
        ({"subject": "user-17"}, ["right"]),
        ({"trace": TRACE}, ["right"]),
        ({"feedback": "low"}, ["wrong"]),
        ({"feedback": "none"}, ["failed", "right"]),
        ({"feedback": "corrected"}, []),
        ({"text": "CHARGED twice"}, ["wrong"]),
        ({"text": "moon"}, []),
        # Names of JSON's members are not said by anybody.
        ({"text": "content"}, []),
        ({"text": 'said "no"'}, ["wrong"]),
        ({"text": "shipping"}, ["wrong"]),
        ({"since": "24h"}, ["wrong", "failed"]),
        ({"until": "2020-01-01"}, []),
    ],
)
def test_filters_on_pages_and_over_rest(
    stage: Stage, edith: Client, api: Any, calls: list[Call], filters: dict[str, str], expected: list[str]
):
    listed = api.get("/api/v1/calls", filters).json()["results"]
    page = edith.get(f"/p/{stage.project.slug}/calls/", filters)

    assert [row["id"] for row in listed] == expected
    assert [row.reference for row in page.context["calls"]] == expected


@pytest.mark.parametrize(
    "filters",
    [{"version": "x"}, {"state": "x"}, {"max_score": "x"}, {"since": "x"}, {"feedback": "x"}, {"label": "x" * 201}],
)
def test_an_odd_filter_is_named_and_nothing_is_listed(
    stage: Stage, edith: Client, api: Any, calls: list[Call], filters: dict[str, str]
):
    answer = api.get("/api/v1/calls", filters)
    page = edith.get(f"/p/{stage.project.slug}/calls/", filters)

    assert (answer.status_code, page.status_code) == (400, 400)
    assert answer.json()["errors"][0]["pointer"] == f"?{next(iter(filters))}"
    assert page.context["calls"] == []
    assert edith.get(f"/p/{stage.project.slug}/calls/", {"before": "x"}).status_code == 400


def test_who_may_not_edit_does_not_search_texts(stage: Stage, api_for: ApiFor, client: Client, calls: list[Call]):
    client.force_login(stage.vera.user)

    assert api_for(stage.vera).get("/api/v1/calls", {"text": "charged"}).status_code == 403
    page = client.get(f"/p/{stage.project.slug}/calls/", {"call": "wrong"}).content.decode()
    assert "charged twice" not in page
    assert "Add feedback" not in page


def test_pages_of_many_calls_miss_none_and_show_none_twice(stage: Stage, service: Actor, version: PromptVersion):
    at = timezone.now() - timedelta(hours=1)
    call_log.record(
        service, [call(number, at=at if number < 60 else at + timedelta(seconds=number)) for number in range(130)]
    )

    seen: list[str] = []
    before = ""
    while True:
        calls_page = selection.page_of(selection.select(stage.edith, {}), before)
        seen += [row.reference for row in calls_page.rows]
        if not (before := calls_page.older):
            break
    assert len(seen) == len(set(seen)) == 130


def test_a_call_is_shown_with_its_text_and_gets_feedback(stage: Stage, edith: Client, calls: list[Call]):
    home = f"/p/{stage.project.slug}/calls/"
    page = edith.get(home, {"call": "wrong", "state": "ok"}).content.decode()
    assert "I was charged twice" in page
    assert "shipping" in page

    sent = edith.post(f"{home}wrong/feedback/?state=ok", {"kind": "correction", "name": "", "value": "billing"})
    assert sent["Location"] == f"{home}?state=ok&call=wrong"
    refused = edith.post(f"{home}wrong/feedback/", {"kind": "score", "name": "tone", "value": "7"})
    assert refused.status_code == 400
    assert 'value="tone"' in refused.content.decode()
    for odd in ({"kind": "moon"}, {"kind": "boolean", "value": "maybe"}, {"kind": "score", "value": "x"}):
        assert edith.post(f"{home}wrong/feedback/", odd).status_code == 400
    edith.post(f"{home}wrong/feedback/", {"kind": "boolean", "name": "useful", "value": "no"})

    no, correction = Feedback.objects.filter(source="person").order_by("-id")
    assert (no.kind, no.name, no.value) == ("boolean", "useful", 0.0)
    assert (correction.kind, correction.name, correction.text) == ("correction", "correction", "billing")
    assert "billing" in edith.get(home, {"call": "wrong"}).content.decode()
    assert edith.get(home, {"call": "no such"}).status_code == 404


def test_a_call_is_replayed_in_the_playground(stage: Stage, edith: Client, service: Actor):
    version = stage.commit(stage.prompt(), "Sort {{ ticket }}")
    call_log.record(service, [call(1, id="a"), call(2, id="b")])
    keep(version, "a", "I was charged twice")
    home = f"/p/{stage.project.slug}/calls/"

    answer = edith.post(f"{home}a/replay/")

    assert answer.status_code == 302
    assert "I was charged twice" in edith.get(answer["Location"]).content.decode()
    assert edith.post(f"{home}b/replay/")["Location"].startswith(home)


def test_chosen_calls_are_proposed_as_cases(stage: Stage, edith: Client, calls: list[Call]):
    datasets.create(stage.edith, name="tickets")
    home = f"/p/{stage.project.slug}/calls/"
    feedback.add(stage.edith, calls[2], kind="correction", name="answer", value="refunds")
    feedback.add(stage.edith, calls[2], kind="correction", name="answer", value="billing")

    answer = edith.post(f"{home}cases/", {"chosen": ["wrong", "right"], "dataset": "tickets"}, follow=True)

    (proposal,) = CaseProposal.objects.all()
    expected = {
        "variables": {"ticket": 'I was charged twice, and they said "no"'},
        "expected": "billing",
        "tags": ["live"],
    }
    assert proposal.document == expected
    assert "of 1 nothing is kept" in answer.content.decode()
    assert proposal.origin == "call wrong"
    assert edith.post(f"{home}cases/", {"dataset": "tickets"})["Location"] == f"{home}?"
    with pytest.raises(Problem, match="Nothing is kept"):
        cases.propose(stage.edith, calls[:1], datasets.get_dataset(stage.project, "tickets"))


def test_calls_with_other_variables_are_no_cases_of_a_dataset(stage: Stage, edith: Client, calls: list[Call]):
    tickets = datasets.create(stage.edith, name="tickets")
    datasets.change(stage.edith, tickets, added=[{"variables": {"question": "Why?"}, "expected": "b"}])

    with pytest.raises(Problem, match="other variables than these calls: question"):
        cases.propose(stage.edith, calls, tickets)
    assert not CaseProposal.objects.exists()


def test_a_corrected_call_becomes_an_example(stage: Stage, edith: Client, calls: list[Call]):
    example_sets.create(stage.edith, name="shots")
    address = f"/p/{stage.project.slug}/calls/wrong/example/"

    edith.post(address, {"set": "shots"})
    assert not ExampleSetVersion.objects.exists()
    assert "As an example" not in edith.get(f"/p/{stage.project.slug}/calls/?call=wrong").content.decode()
    feedback.add(stage.edith, calls[2], kind="correction", name="answer", value="billing")
    page = edith.get(f"/p/{stage.project.slug}/calls/?call=wrong").content.decode()
    assert "I was charged twice" in page
    assert "→ billing" in page
    edith.post(address, {"set": "shots"})

    (added,) = example_sets.version_shots(ExampleSetVersion.objects.get())
    assert added.as_dict() == {"input": 'I was charged twice, and they said "no"', "output": "billing"}
