"""Subjects of an experiment are served their arm, from the cache as fast as anybody, and by the step of now."""

import json
from typing import Any

import pytest

from inference.experiments import runs
from registry.accounts import api_keys
from registry.accounts.permissions import actor_for_command_line
from registry.promotions import workflow
from tests.conftest import Stage
from tests.inference.experiments.conftest import Lab
from tests.registry.delivery.door import FETCH, Answer, Door

pytestmark = pytest.mark.usefixtures("one_connection")
SUBJECTS = [f"user {number} ü" for number in range(60)]


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.fixture
def token(stage: Stage) -> str:
    return api_keys.issue(actor_for_command_line(stage.project), name="service", scopes=["read"])[1]


def ask(door: Door, token: str, subject: str, **headers: str) -> Answer:
    from urllib.parse import quote_plus

    return door.get(f"{FETCH}?subject={quote_plus(subject)}", token, **headers)


def test_subjects_cost_an_entry_an_arm_and_a_warm_fetch_no_query(
    lab: Lab, door: Door, token: str, django_assert_num_queries: Any
):
    run = lab.start()
    split = lab.split(run)
    for subject in SUBJECTS[:20]:
        ask(door, token, subject)
    warmed = door.django_calls

    with django_assert_num_queries(0):
        answers = {subject: ask(door, token, subject) for subject in SUBJECTS}

    # One for what assigns, and at most one for each arm.
    assert warmed <= 3
    assert len(door.cache) == 3
    for subject, answer in answers.items():
        document = json.loads(answer.body)
        arm = split.arm_of(subject)
        assert document["experiment"] == {"run": run.pk, "step": 1, "arm": arm}
        assert f"v{document['number']}" == arm
    assert {answer.headers["ETag"] for answer in answers.values()} == {
        f'"{lab.live.content_hash};{run.pk}.1.v1"',
        f'"{lab.arm.content_hash};{run.pk}.1.v2"',
    }


def test_the_tag_of_an_arm_is_confirmed_for_that_arm_alone(lab: Lab, door: Door, token: str):
    split = lab.split(lab.start())
    subject = next(each for each in SUBJECTS if split.arm_of(each) == "v2")
    other = next(each for each in SUBJECTS if split.arm_of(each) == "v1")
    tag = ask(door, token, subject).headers["ETag"]

    assert ask(door, token, subject, if_none_match=tag).status == 304
    assert ask(door, token, other, if_none_match=tag).status == 200


def test_who_names_nobody_gets_what_is_live_as_before(lab: Lab, door: Door, token: str):
    lab.start()
    plain, nobody = door.get(FETCH, token), ask(door, token, "")

    for answer in (plain, nobody):
        assert json.loads(answer.body)["number"] == 1
        assert "experiment" not in json.loads(answer.body)
        assert answer.headers["ETag"] == f'"{lab.live.content_hash}"'
    # A version by its number is that version, whoever asks.
    fixed = door.get("/api/v1/prompts/support.triage/versions/1?subject=anybody", token)
    assert "immutable" in fixed.headers["Cache-Control"]


def test_without_an_experiment_a_subject_changes_nothing(lab: Lab, door: Door, token: str):
    answers = [ask(door, token, subject) for subject in SUBJECTS]
    assert {answer.headers["ETag"] for answer in answers} == {f'"{lab.live.content_hash}"'}
    assert door.django_calls == 1


def test_a_stopped_arm_and_an_ended_run_are_served_no_more(lab: Lab, door: Door, token: str, stage: Stage):
    run = lab.start()
    subject = next(each for each in SUBJECTS if lab.split(run).arm_of(each) == "v2")
    assert json.loads(ask(door, token, subject).body)["number"] == 2

    runs.stop_arm(stage.edith, run, "v2", reason="Odd answers.")
    # As the listener does, when the notification comes.
    door.cache.invalidate(stage.project.pk)

    document = json.loads(ask(door, token, subject).body)
    assert (document["number"], "experiment" in document) == (1, False)


def test_a_stale_answer_is_the_subjects_own(lab: Lab, door: Door, token: str, stage: Stage):
    run = lab.start()
    subject = next(each for each in SUBJECTS if lab.split(run).arm_of(each) == "v2")
    ask(door, token, subject)
    door.cache.invalidate(stage.project.pk)
    door._inner = lambda _environ, start: (start("503 Service Unavailable", []), [b""])[1]

    answer = ask(door, token, subject)

    assert answer.status == 200
    assert "X-Cuebook-Stale" in answer.headers
    assert json.loads(answer.body)["experiment"]["arm"] == "v2"


def test_a_snapshot_has_what_assigns_where_it_is_asked_for(lab: Lab, door: Door, token: str, stage: Stage):
    path = "/api/v1/environments/production/snapshot"
    before = door.get(f"{path}?experiments=1", token)
    assert before.headers["ETag"] == door.get(path, token).headers["ETag"]

    run = lab.start(ramp=[10, 100])
    door.cache.invalidate(stage.project.pk)
    document, plain = (json.loads(door.get(f"{path}{query}", token).body) for query in ("?experiments=1", ""))

    assert "experiments" not in plain
    experiment = document["experiments"]["support.triage"]
    assert experiment["challengers"] == [{"arm": "v2", "weight": 500, "hash": lab.arm.content_hash}]
    assert (experiment["run"], experiment["baseline"]["hash"]) == (run.pk, lab.live.content_hash)
    assert set(document["arms"]) == {lab.live.content_hash, lab.arm.content_hash}
    since = door.get(f"{path}?experiments=1", token).headers["ETag"].strip('"')
    runs.step(stage.edith, run, reason="")
    door.cache.invalidate(stage.project.pk)
    changed = json.loads(door.get(f"{path}?experiments=1&since={since}", token).body)
    assert changed["experiments"]["support.triage"]["challengers"][0]["weight"] == 5_000
    # The holder of the experiment itself is live as well.
    assert changed["prompts"] == {}
    workflow.apply(stage.edith, lab.arm_promotion)
    door.cache.invalidate(stage.project.pk)
    assert "experiments" not in json.loads(door.get(f"{path}?experiments=1", token).body)
