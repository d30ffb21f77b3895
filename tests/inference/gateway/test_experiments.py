"""Experiments in the inference service: a subject's calls are answered by their arm, and recorded as its part."""

from typing import Any

import pytest

from inference.configs import lifecycle as configs
from inference.experiments import figures, lifecycle, runs, serving
from inference.models import ExperimentRun
from registry.models import Prompt, PromptVersion
from registry.promotions import workflow
from registry.prompts import versions
from tests.conftest import Stage
from tests.evaluations.conftest import routing
from tests.inference.experiments.conftest import approve_arm
from tests.inference.gateway.conftest import TICKET, GatewayProcess, recorded, until


def start(stage: Stage, prompt: Prompt, arm: PromptVersion, ramp: list[int]) -> ExperimentRun:
    approve_arm(stage, arm)
    document = {
        "prompt": prompt.name,
        "baseline": f"{prompt.name}@production",
        "arms": [{"version": f"{prompt.name}@{arm.number}", "weight": 50}],
        "primary": {"metric": "cost"},
        "ramp": ramp,
    }
    lifecycle.commit(stage.edith, "shorter", document)
    experiment = lifecycle.get_experiment(stage.project, "shorter")
    promotion = lifecycle.propose(stage.edith, experiment, stage.environment("production"))
    workflow.approve(stage.rhea, promotion)
    return runs.running(release=workflow.apply(stage.edith, promotion)).get()


def ask(gateway: GatewayProcess, model: str, subject: str) -> Any:
    own = {"cuebook": {"subject": subject}} if subject else {}
    return gateway.client.chat.completions.with_raw_response.create(
        model=model, messages=[{"role": "user", "content": TICKET}], extra_body=own
    ).headers


def is_served(gateway: GatewayProcess, model: str) -> bool:
    """Wait until the service has heard of the experiment, with a call of the subject `first`."""
    return until(lambda: str("X-Cuebook-Arm" in ask(gateway, model, "first")), "True")


@pytest.fixture
def arm(live: PromptVersion, live_stage: Stage) -> PromptVersion:
    return versions.commit(
        live_stage.edith, live.prompt, content=routing(model={"name": "sandbox-small", "max_tokens": 9}), message="b"
    ).version


def test_each_subject_has_their_arm_and_the_record_says_so(
    live: PromptVersion, arm: PromptVersion, gateway: GatewayProcess, live_stage: Stage
):
    run = start(live_stage, live.prompt, arm, [100])
    split = serving.split_of(run)
    subjects = [f"user-{number}" for number in range(30)]
    assert until(
        lambda: ("X-Cuebook-Arm" in ask(gateway, "prompt:support.route", "first") and "served") or "", "served"
    )

    answers = {subject: ask(gateway, "prompt:support.route", subject) for subject in subjects}

    assert {s: headers["X-Cuebook-Arm"] for s, headers in answers.items()} == {s: split.arm_of(s) for s in subjects}
    numbers = {"v1": "support.route@1", "v2": "support.route@2"}
    assert all(headers["X-Cuebook-Version"] == numbers[headers["X-Cuebook-Arm"]] for headers in answers.values())
    calls = [call for call in recorded(31) if call.subject in answers]
    assert {(call.subject, call.arm) for call in calls} == {(s, split.arm_of(s)) for s in subjects}
    assert {(call.experiment_run, call.experiment_step, call.environment) for call in calls} == {
        (run.pk, 1, "production")
    }
    read = figures.read(run)
    assert read.baseline.subjects + read.arms[0].subjects == 31
    # A version by its number is that version.
    assert "X-Cuebook-Arm" not in ask(gateway, "prompt:support.route@1", "user-1")


def test_without_a_subject_each_call_is_assigned_by_itself(
    live: PromptVersion, arm: PromptVersion, gateway: GatewayProcess, live_stage: Stage
):
    start(live_stage, live.prompt, arm, [100])
    assert until(
        lambda: ("X-Cuebook-Arm" in ask(gateway, "prompt:support.route", "first") and "served") or "", "served"
    )
    arms = {ask(gateway, "prompt:support.route", "")["X-Cuebook-Arm"] for _ in range(20)}
    assert arms == {"v1", "v2"}


def test_configs_of_a_task_are_arms_like_versions(
    live: PromptVersion, arm: PromptVersion, gateway: GatewayProcess, live_stage: Stage
):
    record = {"strategy": "prompt", "model": "sandbox/sandbox-small", "prompt": "support.route@1", "input": "ticket"}
    config, first = configs.commit(live_stage.edith, "triage", record)
    live_stage.release(first.version)
    _, second = configs.commit(live_stage.edith, "triage", {**record, "max_tokens": 5})
    run = start(live_stage, config.holder, second.version, [100])
    assert is_served(gateway, "task:triage")

    subjects = [f"user-{number}" for number in range(12)]
    arms = {subject: ask(gateway, "task:triage", subject)["X-Cuebook-Arm"] for subject in subjects}

    assert arms == {subject: serving.split_of(run).arm_of(subject) for subject in subjects}
    calls = {call.subject: call for call in recorded(13)}
    hashes = {"v1": first.version.content_hash, "v2": second.version.content_hash}
    assert all(calls[subject].config_hash == hashes[name] for subject, name in arms.items())


def test_a_stopped_arm_answers_no_more_within_moments(
    live: PromptVersion, arm: PromptVersion, gateway: GatewayProcess, live_stage: Stage
):
    run = start(live_stage, live.prompt, arm, [100])
    subject = next(f"u{n}" for n in range(100) if serving.split_of(run).arm_of(f"u{n}") == "v2")
    assert until(lambda: ask(gateway, "prompt:support.route", subject).get("X-Cuebook-Arm", ""), "v2")

    runs.stop_arm(live_stage.edith, run, "v2", reason="Odd answers.")

    assert until(lambda: ask(gateway, "prompt:support.route", subject)["X-Cuebook-Version"], "support.route@1")
