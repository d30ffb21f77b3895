"""From a recommendation to the call that is routed by it: tuned, promoted by two people, served."""

import json
from pathlib import Path
from typing import Any

import pytest

from evaluations.models import ProviderModel
from finetunes.jobs import lifecycle as jobs
from finetunes.jobs import tuned_models
from finetunes.models import FineTune
from finetunes.strategy import config_proposals
from inference.configs import lifecycle as configs
from registry.accounts import api_keys, permissions
from registry.models import PromptVersion
from registry.promotions import workflow
from tests.conftest import Stage
from tests.finetunes.conftest import until
from tests.finetunes.strategy.test_inference_configs import certain
from tests.inference.gateway.conftest import gateway_process, recorded
from tests.sandbox import Running

QUESTION: Any = {"model": "task:routing", "messages": [{"role": "user", "content": "charged invoice 17 dddd"}]}


@pytest.fixture
def stage(live_stage: Stage) -> Stage:
    """The service is a process of its own: it sees what is committed."""
    return live_stage


def test_what_is_recommended_is_what_answers(
    stage: Stage, job: FineTune, base: ProviderModel, sandbox: Running, version: PromptVersion, tmp_path: Path
):
    production = stage.environment("production")
    stage.release(version)
    now = {"strategy": "prompt", "model": "sandbox/sandbox-small", "prompt": "support.route@1", "input": "ticket"}
    config, first = configs.commit(stage.edith, "routing", {**now, "timeout_seconds": 60, "repair": True})
    stage.release(first.version)
    _, token = api_keys.issue(permissions.actor_for_command_line(stage.project), name="service", scopes=["infer"])
    with gateway_process(tmp_path / "spool", token, SANDBOX_URL=sandbox.url) as gateway:
        before = gateway.client.chat.completions.with_raw_response.create(**QUESTION)
        assert before.headers["X-Cuebook-Route"] == "prompt"

        done = until(jobs.submit(stage.edith, job), lambda row: row.is_over)
        tuned = tuned_models.tuned_model_of_job(done)
        assert tuned
        tuned_models.publish(stage.edith, tuned, production)
        promotion = config_proposals.propose_from(stage.edith, config, certain(stage, version, "hybrid"), production)
        assert promotion is not None
        still = gateway.client.chat.completions.with_raw_response.create(**QUESTION)
        assert still.headers["X-Cuebook-Route"] == "prompt"
        workflow.approve(stage.rhea, promotion)
        workflow.apply(stage.edith, workflow.get_promotion(stage.project, promotion.pk))
        after = gateway.client.chat.completions.with_raw_response.create(**QUESTION)

        assert after.headers["X-Cuebook-Route"] == "hybrid"
        assert json.loads(after.parse().choices[0].message.content or "") == {"category": "billing"}
        # What is no part of a strategy stays: the question, the time, the repair.
        record = configs.read_config_version(promotion.version).record
        assert (record.input, record.timeout_seconds, record.repair) == ("ticket", 60, True)
        calls = recorded(3)
        assert [call.route for call in calls] == ["prompt", "prompt", "hybrid"]
        assert calls[-1].model_name == tuned.remote_name
        assert calls[-1].config_hash == promotion.version.content_hash
        # The short prompt on the tuned model.
        assert calls[-1].tokens_in < calls[0].tokens_in
