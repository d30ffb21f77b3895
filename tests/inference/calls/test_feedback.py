"""Feedback: counted once, for its call, whenever it comes."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from core.errors import Problem
from inference.calls import feedback
from inference.calls import log as call_log
from inference.models import Call, Feedback, UsageRollup
from inference.usage import rollups
from inference.usage.stats import SEPARATOR, UsageStats, sum_usage
from registry.accounts import permissions
from registry.accounts.permissions import Actor
from registry.models import AuditEntry, PromptVersion
from tests.conftest import ApiFor, Stage
from tests.inference.calls.conftest import call

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def total() -> UsageStats:
    return sum_usage(map(rollups.usage_in, UsageRollup.objects.all()))


def test_several_values_of_a_call_change_its_figures(service: Actor, version: PromptVersion):
    call_log.record(service, [call(1), call(2)])
    sent: list[dict[str, Any]] = [
        {"call": "call-1", "name": "helpful", "boolean": True, "source": "subject"},
        {"call": "call-2", "name": "helpful", "boolean": False, "source": "subject"},
        {"call": "call-1", "name": "tone", "score": 0.25, "source": "judge"},
        {"call": "call-1", "name": "topic", "label": "billing"},
        {"call": "call-1", "comment": "Too long"},
        {"call": "call-1", "correction": "billing"},
    ]
    sent = [{**value, "id": f"f-{place}"} for place, value in enumerate(sent)]

    first, again = feedback.record(service, sent), feedback.record(service, sent)

    assert (first.recorded, first.waiting, again.recorded, again.repeated) == (6, 0, 0, 6)
    stats = total()
    assert stats.calls == 2
    helpful = stats.feedback_mean("helpful")
    assert helpful
    assert (helpful.value, helpful.n) == (0.5, 2)
    assert stats.feedback["tone"] == (1, 0.25, 0.0625)
    assert stats.feedback_labels == {f"topic{SEPARATOR}billing": 1}
    assert [row.kind for row in feedback.feedback_of(version.prompt.project, ["call-1"])["call-1"]] == [
        *("boolean", "score", "label", "comment", "correction")
    ]


def test_late_feedback_counts_in_usage_that_is_merged_long_since(service: Actor, version: PromptVersion):
    call_log.record(service, [call(1, at=timezone.now() - timedelta(hours=40))])
    rollups.merge(timezone.now() + timedelta(days=120))
    (day,) = UsageRollup.objects.all()

    feedback.record(service, [{"call": "call-1", "score": 0.5}])
    rollups.merge(timezone.now() + timedelta(days=120))

    (same_day,) = UsageRollup.objects.all()
    assert (same_day.start, same_day.minutes) == (day.start, day.minutes)
    assert rollups.usage_in(same_day).feedback == {"score": (1, 0.5, 0.25)}


@pytest.mark.parametrize(
    "named_by",
    [{"call": "call-1"}, {"trace": TRACE}, {"subject": "user-17", "prompt": "support.triage"}],
)
def test_a_call_is_found_by_its_id_its_trace_or_its_subject_and_waited_for(
    service: Actor, version: PromptVersion, named_by: dict[str, str]
):
    result = feedback.record(service, [{**named_by, "id": "f", "score": 1}])
    assert (result.recorded, result.waiting) == (1, 1)
    assert Feedback.objects.get().call_at is None
    assert total().calls == 0

    at = timezone.now() - timedelta(minutes=1)
    call_log.record(service, [call(1, trace=TRACE, subject="user-17", at=at), call(2)])

    row = Feedback.objects.get()
    assert (row.call, row.version, row.environment) == ("call-1", version, "production")
    assert total().feedback == {"score": (1, 1.0, 1.0)}


def test_a_busy_subject_hides_no_others_call(service: Actor, version: PromptVersion):
    at = timezone.now() - timedelta(minutes=30)
    busy = [call(number, id=f"busy-{number}", subject="job", at=at + timedelta(seconds=1)) for number in range(30)]
    call_log.record(service, [call(1, id="quiet", subject="user-17", at=at), *busy])
    of_prompt = {"prompt": "support.triage", "score": 1}

    values = [{**of_prompt, "id": "a", "subject": "user-17"}, {**of_prompt, "id": "b", "subject": "job"}]
    values.append({**of_prompt, "id": "c", "subject": "job", "prompt": "support.other"})
    result = feedback.record(service, values)

    assert result.waiting == 1
    calls = dict(Feedback.objects.order_by("reference").values_list("reference", "call"))
    assert calls == {"a": "quiet", "b": "busy-29", "c": ""}


def test_a_subjects_call_is_the_newest_within_the_time(stage: Stage, service: Actor, version: PromptVersion):
    now = timezone.now()
    own = {"subject": "user-17"}
    minutes = {"old": 90, "older": 30, "newer": 20, "later": -2}
    calls = [call(1, id=name, at=now - timedelta(minutes=back), **own) for name, back in minutes.items()]
    call_log.record(service, [*calls, call(2, id="another", subject="user-18")])

    of_subject = {**own, "prompt": "support.triage"}
    feedback.record(service, [{**of_subject, "id": "a", "score": 1}])
    feedback.record(service, [{**of_subject, "id": "b", "score": 1, "at": now - timedelta(minutes=25)}])
    feedback.record(service, [{**of_subject, "id": "c", "score": 1, "within_seconds": 600}])

    assert dict(Feedback.objects.values_list("reference", "call")) == {"a": "newer", "b": "older", "c": ""}


def test_feedback_and_its_call_that_come_at_once_find_each_other(live_stage: Stage):
    version = live_stage.commit(live_stage.prompt(), "Sort it.")
    actor = permissions.actor_for_command_line(live_stage.project)
    start = threading.Barrier(2)

    def run(work: Any) -> None:
        for number in range(25):
            start.wait()
            work(number)
        connection.close()

    def say(number: int) -> None:
        feedback.record(actor, [{"call": f"call-{number}", "id": f"f-{number}", "score": 1}])

    def make(number: int) -> None:
        call_log.record(actor, [call(number, prompt=str(version))])

    threads = [threading.Thread(target=run, args=(work,)) for work in (say, make)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not Feedback.objects.filter(call_at=None).exists()
    assert total().feedback == {"score": (25, 25.0, 25.0)}


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        ({"call": "a"}, "/feedback/0"),
        ({"call": "a", "score": 1, "boolean": True}, "/feedback/0"),
        ({"score": 1}, "/feedback/0"),
        ({"subject": "a", "score": 1}, "/feedback/0"),
        ({"call": "a", "trace": TRACE, "score": 1}, "/feedback/0"),
        ({"call": "a", "score": 2}, "/feedback/0/score"),
        ({"call": "a", "score": 1, "speed": 3}, "/feedback/0/speed"),
        ({"call": "a", "score": 1, "source": "moon"}, "/feedback/0/source"),
        ({"call": "a", "score": 1, "at": "2099-01-01"}, "/feedback/0/at"),
        ("good", "/feedback/0"),
    ],
)
def test_a_faulty_value_is_refused_with_its_place(service: Actor, version: PromptVersion, value: Any, pointer: str):
    with pytest.raises(Problem) as refused:
        feedback.record(service, [value, {"call": "b", "score": 1}])
    assert pointer in {fault.pointer for fault in refused.value.faults}
    assert not Feedback.objects.exists()


def test_postgresql_refuses_to_change_feedback(service: Actor, version: PromptVersion):
    call_log.record(service, [call(1), call(2)])
    feedback.record(service, [{"call": "call-1", "score": 1}])
    for change in ({"value": 0.5}, {"name": "x"}, {"text": "x"}, {"call": "call-2"}, {"call_at": timezone.now()}):
        with pytest.raises(DatabaseError, match="never change"), transaction.atomic():
            Feedback.objects.update(**change)


def test_feedback_over_rest(stage: Stage, api_for: ApiFor, service: Actor, version: PromptVersion):
    call_log.record(service, [call(1)])
    reporting = api_for(stage.edith, scopes=["observe"])

    answer = reporting.post("/api/v1/feedback", {"feedback": [{"call": "call-1", "name": "helpful", "boolean": True}]})

    assert (answer.status_code, answer.json()) == (202, {"recorded": 1, "repeated": 0, "waiting": 0})
    assert reporting.post("/api/v1/feedback", {"values": []}).json()["code"] == "request.invalid"
    reader = api_for(stage.edith, scopes=["read"])
    assert reader.post("/api/v1/feedback", {"feedback": [{"call": "x", "score": 1}]}).status_code == 403
    (listed,) = reader.get("/api/v1/feedback", {"call": "call-1"}).json()["results"]
    assert (listed["name"], listed["value"], listed["version"], listed["waits"]) == (
        *("helpful", 1.0, "support.triage@1", False),
    )
    (own,) = reader.get("/api/v1/calls/call-1").json()["feedback"]
    assert own["by_name"].startswith("key ")


def test_a_member_says_what_they_think_of_a_call(stage: Stage, service: Actor, version: PromptVersion):
    call_log.record(service, [call(1)])

    feedback.add(stage.edith, Call.objects.get(), kind="correction", name="answer", value="billing")

    row = Feedback.objects.get()
    assert (row.source, row.by_name, row.text) == ("person", stage.edith.name, "billing")
    assert AuditEntry.objects.latest("id").action == "feedback.added"
    with pytest.raises(Problem, match="may not"):
        feedback.add(stage.vera, Call.objects.get(), kind="score", name="x", value=1)
