"""The playground: a prompt tried as it stands, against a real server, while somebody looks on."""

import threading
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from core.errors import Problem
from evaluations import tasks
from evaluations.models import CaseProposal, Dataset, PlaygroundAnswer, PlaygroundRun, PlaygroundState, ProviderModel
from evaluations.playground import adherence
from evaluations.playground import lifecycle as playground
from evaluations.playground.lifecycle import Input, PlaygroundSettings
from evaluations.providers import configuration as providers
from evaluations.providers.chat import Completion
from registry.examples import example_sets
from registry.models import PromptVersion
from registry.prompts import drafts, versions
from tests.conftest import ApiFor, Stage
from tests.evaluations.conftest import routing
from tests.evaluations.runs.test_pages import client_of, text
from tests.sandbox import Running

TICKET = {"ticket": "I was charged two times this month"}
PLACE = "/p/paper/prompts/support.route/playground/"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluations.providers.retries.FIRST_PAUSE_SECONDS", 0.01)


@pytest.fixture
def large(stage: Stage, model: ProviderModel) -> ProviderModel:
    return providers.add_model(stage.ada, model.provider, "sandbox-large")


def tried(playground_run: PlaygroundRun) -> PlaygroundRun:
    tasks.ask_playground(playground_run.pk)
    return playground.playground_runs_with_related().get(pk=playground_run.pk)


def only_answer(playground_run: PlaygroundRun) -> PlaygroundAnswer:
    (answer,) = tried(playground_run).answers.all()
    return answer


def test_what_is_not_committed_is_tried_by_two_models_side_by_side(
    stage: Stage, model: ProviderModel, large: ProviderModel, sandbox: Running
):
    prompt = stage.prompt("support.route")

    done = tried(playground.start(stage.edith, prompt, PlaygroundSettings(routing(), [Input(TICKET)], [model, large])))

    assert (done.state, done.version) == (PlaygroundState.DONE, None)
    first, second = done.answers.all()
    assert [answer.model.name for answer in (first, second)] == ["sandbox-small", "sandbox-large"]
    assert first.output == "billing"
    assert first.request["messages"][-1] == {"role": "user", "content": TICKET["ticket"]}
    assert first.time_to_first_token_ms is not None
    assert 0 < first.time_to_first_token_ms <= first.latency_ms
    assert first.tokens_in > 0
    assert first.cost_usd is not None
    assert second.cost_usd is None, "Nobody has said what it costs."
    assert not prompt.versions.exists()
    assert len(sandbox.calls()) == 2


@pytest.mark.usefixtures("sandbox")
def test_what_a_commit_would_refuse_is_not_tried(stage: Stage, model: ProviderModel):
    prompt = stage.prompt("support.route")
    broken = routing(messages=[{"role": "user", "content": "{{ ticket"}])

    with pytest.raises(Problem) as refusal:
        playground.start(stage.edith, prompt, PlaygroundSettings(broken, [Input(TICKET)], [model]))

    assert refusal.value.code == "template.syntax"
    assert not PlaygroundRun.objects.exists()


@pytest.mark.usefixtures("sandbox")
def test_a_missing_value_is_told_where_the_answer_would_be(stage: Stage, version: PromptVersion, model: ProviderModel):
    answer = only_answer(
        playground.start(stage.edith, version.prompt, PlaygroundSettings(version, [Input({})], [model]))
    )

    assert answer.state == PlaygroundState.FAILED
    assert "ticket" in answer.error_detail


def test_a_provider_that_fails_says_so_beside_one_that_does_not(
    stage: Stage, version: PromptVersion, model: ProviderModel, sandbox: Running
):
    sandbox.fault("unauthorized", count=1)

    done = tried(
        playground.start(stage.edith, version.prompt, PlaygroundSettings(version, [Input(TICKET)] * 2, [model]))
    )

    assert sorted(answer.state for answer in done.answers.all()) == [PlaygroundState.DONE, PlaygroundState.FAILED]
    (failed,) = (answer for answer in done.answers.all() if answer.error)
    assert (failed.error, failed.output) == ("call.not_allowed", "")


def test_what_is_tried_again_begins_again(stage: Stage, version: PromptVersion, model: ProviderModel, sandbox: Running):
    sandbox.fault("overloaded", count=2)

    answer = only_answer(
        playground.start(stage.edith, version.prompt, PlaygroundSettings(version, [Input(TICKET)], [model]))
    )

    assert (answer.state, answer.output) == (PlaygroundState.DONE, "billing")


@pytest.mark.django_db(transaction=True)
def test_pieces_are_seen_as_they_come_and_stopping_keeps_them(live_stage: Stage, settings: Any, tmp_path: Any):
    from tests.evaluations.conftest import make_model
    from tests.sandbox import running

    with running(tmp_path, settings.SANDBOX_KEY, time_scale=20.0) as slow:
        settings.SANDBOX_URL = slow.url
        model = make_model(live_stage)
        prompt = live_stage.prompt("support.route")
        long = routing(messages=[{"role": "user", "content": "Explain at length: {{ ticket }}"}])
        playground_run = playground.start(
            live_stage.edith, prompt, PlaygroundSettings(long, [Input({"ticket": "word " * 300})], [model])
        )
        worker = threading.Thread(target=work, args=[playground_run.pk])
        worker.start()
        try:
            answer = wait_for_text(playground_run)
            assert answer.state == PlaygroundState.RUNNING
            playground.cancel(live_stage.edith, playground_run)
        finally:
            worker.join(30)
        assert not worker.is_alive()
        stopped = playground.playground_runs_with_related().get(pk=playground_run.pk)
        assert stopped.state == PlaygroundState.CANCELLED
        (stopped_answer,) = stopped.answers.all()
        assert stopped_answer.state == PlaygroundState.CANCELLED
        assert stopped_answer.output.startswith(answer.output)


def work(key: int) -> None:
    """As a worker's thread does."""
    try:
        tasks.ask_playground(key)
    finally:
        connection.close()


def wait_for_text(playground_run: PlaygroundRun) -> PlaygroundAnswer:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        answer = PlaygroundAnswer.objects.get(playground_run=playground_run)
        if answer.output:
            return answer
        time.sleep(0.05)
    raise AssertionError("No piece was seen.")


def test_a_playground_run_whose_worker_died_ends_and_is_not_paid_twice(
    stage: Stage, version: PromptVersion, model: ProviderModel, sandbox: Running
):
    playground_run = playground.start(
        stage.edith, version.prompt, PlaygroundSettings(version, [Input(TICKET)], [model])
    )
    long_ago = timezone.now() - timedelta(minutes=2)
    PlaygroundRun.objects.filter(pk=playground_run.pk).update(state=PlaygroundState.RUNNING, heartbeat_at=long_ago)

    tasks.reconcile()
    tasks.ask_playground(playground_run.pk)

    lost = playground.playground_runs_with_related().get(pk=playground_run.pk)
    assert lost.state == PlaygroundState.FAILED
    assert lost.answers.get().error == "call.lost"
    assert sandbox.calls() == []


@pytest.mark.usefixtures("sandbox")
def test_examples_that_are_being_embedded_are_waited_for(
    stage: Stage, version: PromptVersion, model: ProviderModel, monkeypatch: pytest.MonkeyPatch
):
    render_request = versions.render_request
    refusals = iter([Problem("examples.not_embedded", "Not yet.")] * 2)

    def later(*arguments: Any) -> Any:
        for refusal in refusals:
            raise refusal
        return render_request(*arguments)

    monkeypatch.setattr(versions, "render_request", later)

    answer = only_answer(
        playground.start(stage.edith, version.prompt, PlaygroundSettings(version, [Input(TICKET)], [model]))
    )

    assert (answer.state, answer.output) == (PlaygroundState.DONE, "billing")


@pytest.mark.usefixtures("sandbox")
def test_old_trials_are_forgotten(stage: Stage, version: PromptVersion, model: ProviderModel):
    old = tried(playground.start(stage.edith, version.prompt, PlaygroundSettings(version, [Input(TICKET)], [model])))
    new = tried(playground.start(stage.edith, version.prompt, PlaygroundSettings(version, [Input(TICKET)], [model])))
    with_age(old, days=8)

    assert playground.clear_old() == 1

    assert list(PlaygroundRun.objects.all()) == [new]


def with_age(playground_run: PlaygroundRun, *, days: int) -> None:
    """A playground run as old as that; its date cannot be changed, so a new row takes its place."""
    created = timezone.now() - timedelta(days=days)
    PlaygroundRun.objects.filter(pk=playground_run.pk).delete()
    playground_run.pk, playground_run.created_at = None, created
    playground_run.save(force_insert=True)


@pytest.mark.usefixtures("sandbox")
def test_an_answer_is_kept_as_a_case_and_as_an_example(
    stage: Stage, version: PromptVersion, model: ProviderModel, tickets: Dataset
):
    shots = example_sets.create(stage.edith, name="shots")
    answer = only_answer(
        playground.start(stage.edith, version.prompt, PlaygroundSettings(version, [Input(TICKET)], [model]))
    )

    assert playground.save_as_case(stage.edith, answer, tickets) == "a proposal for support.tickets"
    assert playground.save_as_example(stage.edith, answer, shots) == "an example of shots@1"

    # A model wrote it: it is no case before somebody has read it.
    assert tickets.versions.count() == 1
    proposal = CaseProposal.objects.get(dataset=tickets)
    assert proposal.document == {"variables": TICKET, "expected": "billing", "tags": ["playground"]}
    assert proposal.origin == "Playground of support.route, answered by sandbox/sandbox-small"
    shots.refresh_from_db()
    assert [(shot.input, shot.output) for shot in example_sets.version_shots(shots.head)] == [
        (TICKET["ticket"], "billing")
    ]
    assert PlaygroundAnswer.objects.get().saved_as == "a proposal for support.tickets, an example of shots@1"


@pytest.mark.usefixtures("sandbox")
def test_who_may_only_look_tries_nothing(stage: Stage, version: PromptVersion, model: ProviderModel, api_for: ApiFor):
    body = {"models": ["sandbox/sandbox-small"], "variables": TICKET}
    refused = api_for(stage.edith, scopes=["read"]).post(
        "/api/v1/prompts/support.route/playground-runs", body, format="json"
    )

    assert (refused.status_code, refused.json()["code"]) == (403, "access.denied")


@pytest.mark.usefixtures("sandbox")
def test_a_draft_that_was_tried_is_seen_by_who_tried_it_alone(
    stage: Stage, version: PromptVersion, model: ProviderModel, api_for: ApiFor
):
    own = playground.start(stage.edith, version.prompt, PlaygroundSettings(routing(), [Input(TICKET)], [model]))
    shared = playground.start(stage.edith, version.prompt, PlaygroundSettings(version, [Input(TICKET)], [model]))

    seen = {visible.pk for visible in playground.visible_playground_runs(stage.ada)}

    assert seen == {shared.pk}
    assert {visible.pk for visible in playground.visible_playground_runs(stage.edith)} == {own.pk, shared.pk}
    others = api_for(stage.ada)
    assert (
        others.get(f"/api/v1/prompts/support.route/playground-runs/{own.pk}").json()["code"]
        == "playground_run.not_found"
    )
    assert client_of(stage.ada).get(f"{PLACE}?playground_run={own.pk}").status_code == 404


@pytest.mark.usefixtures("sandbox", "version", "model")
def test_over_rest(stage: Stage, tickets: Dataset, api_for: ApiFor):
    client = api_for(stage.edith)
    body = {"models": ["sandbox/sandbox-small"], "dataset": "support.tickets", "count": 3, "split": "train"}

    response = client.post("/api/v1/prompts/support.route/playground-runs", body, format="json")

    assert response.status_code == 201, response.json()
    assert response.json()["state"] == "pending"
    tasks.ask_playground(response.json()["id"])
    done = client.get(response["Location"].removeprefix("http://testserver")).json()
    assert [answer["state"] for answer in done["answers"]] == ["done"] * 3
    assert all(answer["case"] and answer["is_simulation"] for answer in done["answers"])
    save = f"{response['Location']}/answers/{done['answers'][0]['id']}/keep"
    assert client.post(save, {}, format="json").json()["code"] == "request.invalid"
    response = client.post(save, {"dataset": "support.tickets"}, format="json")
    assert response.json()["saved_as"].startswith("a proposal for support.tickets")
    assert client.get("/api/v1/prompts/support.route/playground-runs").json()["results"][0]["id"] == done["id"]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"models": []}, "/models"),
        ({"dataset": "support.tickets", "variables": {}, "cases": [10**9]}, "/cases"),
        ({"dataset": "support.tickets", "variables": {}, "split": "left"}, "/split"),
        ({"dataset": "support.tickets"}, "/variables"),
        ({"parameters": {"messages": []}}, "/parameters/messages"),
    ],
)
@pytest.mark.usefixtures("sandbox", "version", "model", "tickets")
def test_unfitting_requests_are_refused_with_a_pointer(
    stage: Stage, api_for: ApiFor, change: dict[str, Any], pointer: str
):
    body = {"models": ["sandbox/sandbox-small"], "variables": TICKET, **change}

    refused = api_for(stage.edith).post("/api/v1/prompts/support.route/playground-runs", body, format="json")

    assert refused.status_code == 400
    assert refused.json()["errors"][0]["pointer"] == pointer


# --- Pages -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def edith(stage: Stage) -> Client:
    return client_of(stage.edith)


@pytest.mark.usefixtures("sandbox", "model", "tickets")
def test_the_page_tries_typed_values_and_shows_what_changed(edith: Client, version: PromptVersion):
    form = {"at": "1", "models": ["sandbox/sandbox-small", "", ""], "on": "values", "variable:ticket": TICKET["ticket"]}

    started = edith.post(PLACE, form)

    playground_run = PlaygroundRun.objects.get()
    assert started["Location"] == f"{PLACE}?playground_run={playground_run.pk}&at=1"
    assert "waiting for a worker" in text(edith.get(started["Location"]))
    tasks.ask_playground(playground_run.pk)
    now = text(edith.get(f"{PLACE}{playground_run.pk}/wait/?seen=0"))
    assert 'hx-swap-oob="true"' in now
    assert "billing" in now
    later = text(edith.get(f"{PLACE}{playground_run.pk}/wait/?seen={time.time() + 60}"))
    assert "billing" not in later
    whole = text(edith.get(started["Location"]))
    assert "A simulation." in whole
    assert TICKET["ticket"] in whole
    assert version.number == 1


@pytest.mark.usefixtures("sandbox", "model", "version")
def test_the_editor_tries_the_draft_with_its_sample_values(edith: Client, stage: Stage, version: PromptVersion):
    changed = routing(model={"name": "sandbox-large", "temperature": 0})
    drafts.save(stage.edith, version.prompt, document=changed, revision=0)
    drafts.save_samples(stage.edith, version.prompt, TICKET)
    assert ">Run<" in text(edith.get(f"{PLACE}panel/"))
    form = {"at": "draft", "values": "samples", "models": "sandbox/sandbox-small", "on": "values"}

    response = edith.post(PLACE, form, headers={"HX-Request": "true"})

    assert 'id="answer-' in text(response)
    playground_run = PlaygroundRun.objects.get()
    assert playground_run.version is None
    assert playground_run.content["model"]["name"] == "sandbox-large"
    assert only_answer(playground_run).output == "billing"


@pytest.mark.usefixtures("sandbox", "model", "version")
def test_what_cannot_be_tried_is_said_and_nothing_typed_is_lost(edith: Client, stage: Stage, version: PromptVersion):
    listed = {"tags": {"type": "array", "required": True}, "ticket": {"type": "string"}}
    content = routing(variables=listed, messages=[{"role": "user", "content": "{{ ticket }} {{ tags | join }}"}])
    versions.commit(stage.edith, version.prompt, content=content, message="tags")
    form = {"models": "sandbox/sandbox-small", "on": "values", "variable:tags": "a, b", "variable:ticket": "Down"}

    refused = edith.post(PLACE, form)

    assert refused.status_code == 400
    assert "Must be a JSON value of type array." in text(refused)
    assert "a, b</textarea>" in text(refused)
    part = edith.post(PLACE, form, headers={"HX-Request": "true"})
    assert "Must be a JSON value of type array." in text(part)
    assert not PlaygroundRun.objects.exists()


@pytest.mark.usefixtures("sandbox", "model")
def test_a_click_keeps_an_answer_and_says_where(edith: Client, version: PromptVersion, tickets: Dataset):
    edith.post(PLACE, {"at": "1", "models": "sandbox/sandbox-small", "on": "cases", "dataset": "support.tickets"})
    playground_run = PlaygroundRun.objects.get()
    answer = only_answer(playground_run)
    assert answer.case is not None
    assert answer.is_expected is False, "A text, where an object with a category is expected."

    save = f"{PLACE}{playground_run.pk}/answers/{answer.pk}/save/"
    refused = edith.post(save, {"as": "example", "example_set": "none"}, headers={"HX-Request": "true"})
    response = edith.post(save, {"as": "case", "keep_in": "support.tickets"}, headers={"HX-Request": "true"})

    assert "There is no example set" in text(refused)
    assert "a proposal for support.tickets" in text(response)
    # Nobody has accepted it yet.
    assert tickets.versions.count() == version.prompt.playground_runs.count() == 1


# --- Faults of answers -----------------------------------------------------------------------------------------------

SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["a", "b"]}, "why": {"type": "string"}},
    "required": ["label", "why"],
}
TOOLS = [{"type": "function", "function": {"name": "lookup", "parameters": {"type": "object", "required": ["id"]}}}]


def violations(schema: Mapping[str, Any], texts: Sequence[str]) -> list[list[str]]:
    return versions.renderer_pool().violations(schema, texts, limit=10)


@pytest.mark.parametrize(
    ("content", "answer", "expected"),
    [
        ({}, {"text": "anything"}, []),
        ({"response": {"format": "json_object"}}, {"text": "[1]"}, ["The answer is JSON, but not an object."]),
        ({"response": {"format": "json_object"}}, {"text": "{"}, ["The answer is not JSON."]),
        ({"response": {"format": "json_schema", "schema": SCHEMA}}, {"text": '{"label": "a", "why": ""}'}, []),
        ({"response": {"format": "json_object"}}, {"text": "", "refusal": "No."}, []),
        ({"tools": TOOLS}, {"tool_calls": [{"name": "lookup", "arguments": '{"id": 1}'}]}, []),
        (
            {"tools": TOOLS},
            {"tool_calls": [{"name": "lookup", "arguments": "{"}]},
            ["The arguments for lookup are not JSON."],
        ),
        (
            {"tools": TOOLS},
            {"tool_calls": [{"name": "remove", "arguments": ""}]},
            ["It calls remove, which the prompt does not offer."],
        ),
        (
            {},
            {"text": "The", "finish_reason": "length"},
            ["Cut off: it reached the maximum length."],
        ),
    ],
)
def test_where_an_answer_is_not_what_was_asked_for(content: Any, answer: dict[str, Any], expected: list[str]):
    assert adherence.find_faults(content, Completion(**{"text": "", **answer}), violations) == expected


def test_every_fault_against_a_schema_is_told():
    faults = adherence.find_faults(
        {"response": {"format": "json_schema", "schema": SCHEMA}}, Completion('{"label": "c"}'), violations
    )

    assert len(faults) == 2
    assert any(fault.startswith("label: ") for fault in faults)
    call = {"name": "lookup", "arguments": "{}"}
    assert adherence.find_faults({"tools": TOOLS}, Completion("", tool_calls=[call]), violations) != []
