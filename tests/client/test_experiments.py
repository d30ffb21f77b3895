"""Subjects through the client: assigned in memory, as the registry assigns them."""

import json

import pytest
from cuebook import Cuebook

from inference.experiments import lifecycle, runs, serving
from inference.models import ExperimentRun
from registry.models import PromptVersion
from registry.promotions import workflow
from tests.client.conftest import TRIAGE, Service
from tests.inference.experiments.conftest import approve_arm

SUBJECTS = [f"user-{number}" for number in range(200)]


@pytest.fixture
def arm(service: Service) -> PromptVersion:
    service.release("v1")
    messages = [{"role": "system", "content": "v2"}, TRIAGE["messages"][1]]
    version = service.commit({**TRIAGE, "messages": messages})
    approve_arm(service.stage, version)
    return version


def start(service: Service) -> ExperimentRun:
    stage = service.stage
    document = {
        "prompt": "support.triage",
        "baseline": "support.triage@production",
        "arms": [{"version": "support.triage@2", "weight": 50}],
        "primary": {"metric": "score"},
        "ramp": [10, 100],
    }
    lifecycle.commit(stage.edith, "shorter", document)
    experiment = lifecycle.get_experiment(stage.project, "shorter")
    promotion = lifecycle.propose(stage.edith, experiment, stage.environment("production"))
    workflow.approve(stage.rhea, promotion)
    return runs.running(release=workflow.apply(stage.edith, promotion)).get()


def arms_of(client: Cuebook) -> dict[str, object]:
    prompts = {subject: client.get("support.triage", subject=subject) for subject in SUBJECTS}
    return {subject: prompt.experiment and prompt.experiment["arm"] for subject, prompt in prompts.items()}


@pytest.mark.usefixtures("arm")
def test_the_client_assigns_as_the_registry_does(service: Service):
    run = start(service)
    client = service.client()
    assert client.get("support.triage").number == 1
    asked_before = len(service.gate.requests)

    split = serving.split_of(run)
    assert arms_of(client) == {subject: split.arm_of(subject) for subject in SUBJECTS}

    assert len(service.gate.requests) == asked_before
    challenger = next(subject for subject in SUBJECTS if split.arm_of(subject) == "v2")
    prompt = client.get("support.triage", subject=challenger)
    assert (prompt.number, prompt.experiment) == (2, {"run": run.pk, "step": 1, "arm": "v2"})
    assert prompt.render(ticket="Hello")["messages"][0]["content"] == "v2"
    assert prompt is client.get("support.triage@production", subject=challenger)
    # Another version than the environment's own is what was asked for.
    assert client.get("support.triage@1", subject=challenger).experiment is None
    assert client.get("support.triage").experiment is None


@pytest.mark.usefixtures("arm")
def test_steps_stops_and_the_end_arrive_with_a_refresh(service: Service):
    client = service.client()
    assert set(arms_of(client).values()) == {None}
    run = start(service)
    client.refresh()
    few = sum(arm == "v2" for arm in arms_of(client).values())
    runs.step(service.stage.edith, run, reason="")
    client.refresh()
    many = sum(arm == "v2" for arm in arms_of(client).values())
    assert 0 < few < 30 < many
    runs.end(service.stage.edith, run, reason="Enough.")
    client.refresh()
    assert set(arms_of(client).values()) == {None}
    assert service.errors == []


@pytest.mark.usefixtures("arm")
def test_the_copy_on_disk_assigns_too(service: Service):
    start(service)
    first = service.client()
    before = arms_of(first)
    first.close()
    service.gate.close()

    assert arms_of(service.client(timeout=0.5)) == before
    assert "v2" in before.values()


@pytest.mark.usefixtures("arm")
def test_what_was_changed_on_the_way_is_not_used(service: Service):
    start(service)

    def other_weights(body: bytes) -> bytes:
        document = json.loads(body)
        document["experiments"]["support.triage"]["challengers"][0]["weight"] = 9_000
        return json.dumps(document).encode()

    service.gate.change = other_weights
    client = service.client(cache_dir=None)
    with pytest.raises(Exception, match="tag"):
        client.refresh()


@pytest.mark.usefixtures("arm")
def test_a_registry_from_before_experiments_is_asked_without_them(service: Service):
    refused = {"Content-Type": "application/problem+json"}
    problem = b"""{"code": "request.invalid", "status": 400, "title": "", "detail": "There is none.",
        "errors": [{"pointer": "?experiments", "code": "unknown", "message": ""}]}"""
    forward = service.gate._forward
    service.gate._forward = lambda request: (  # type: ignore[method-assign]
        (400, refused, problem) if "experiments" in request.path else forward(request)
    )
    client = service.client()

    assert client.get("support.triage", subject="user-1").number == 1
    client.refresh()
    assert [request.partition("?")[2] for request in service.gate.requests][:2] == ["experiments=1", ""]
    assert sum("experiments" in request for request in service.gate.requests) == 1


@pytest.mark.usefixtures("arm")
def test_a_subject_that_is_no_text_is_refused_always(service: Service):
    client = service.client()
    for _ in range(2):
        with pytest.raises(TypeError, match="subject is a text"):
            client.get("support.triage", subject=17)  # type: ignore[arg-type]
        assert client.get("support.triage", subject="half \ud800").number in (1, 2)
        if not service.stage.project.experiments.exists():
            start(service)
        client.refresh()
