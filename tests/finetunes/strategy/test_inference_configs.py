"""Inference configs: versions of a prompt of their own, promoted like prompts, and proposed by recommendations."""

from typing import Any

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.test import APIClient

from core.errors import Problem
from evaluations.models import ProviderModel
from finetunes import tasks as finetune_tasks
from finetunes.jobs import lifecycle as jobs
from finetunes.jobs import tuned_models
from finetunes.models import FineTune, StrategyRecommendation
from finetunes.strategy import config_proposals, recommendations
from inference.configs import lifecycle as configs
from inference.configs import record_reading
from inference.configs.record import FORMATS, Record
from inference.models import InferenceConfig
from registry.accounts import projects
from registry.accounts.permissions import Actor
from registry.models import AuditEntry, Promotion, PromptVersion
from registry.promotions import workflow
from registry.prompts import lifecycle as prompts
from registry.prompts import versions
from registry.retrieval import collections
from tests.conftest import ApiFor, Stage
from tests.finetunes.conftest import until
from tests.sandbox import Running

URL = "/api/v1/inference-configs"
SEED = {
    "classification-task": {
        **{"strategy": "fine-tune", "model": "ft:gpt-4o-mini:classification:v1", "max_tokens": 100},
        **{"temperature": 0.1, "response_format": "json"},
    },
    "support-assistant": {
        **{"strategy": "hybrid", "model": "ft:gpt-4o-mini:assistant:v1", "prompt": "support.route@1"},
        **{"max_tokens": 500, "temperature": 0.3, "retrieval": {"collection": "knowledge-base"}},
    },
    "ad-hoc-analysis": {
        **{"strategy": "prompt", "model": "gpt-4o", "prompt": "support.route@1", "max_tokens": 2_000},
        "temperature": 0.7,
    },
}


@given(
    st.builds(
        Record,
        strategy=st.just("fine-tune"),
        model=st.text(min_size=1, max_size=50).filter(
            lambda text: not any(marker in text for marker in record_reading.TEMPLATE_MARKERS)
        ),
        max_tokens=st.none() | st.integers(1, 10_000),
        temperature=st.none() | st.floats(0, 2),
        response_format=st.sampled_from(FORMATS),
        timeout_seconds=st.none() | st.floats(0.1, 3_600),
        repair=st.booleans(),
    )
)
def test_a_stored_record_reads_back_the_same(record: Record):
    assert record_reading.parse_record(record.text()) == record
    assert "{{" not in record.text()


@pytest.mark.parametrize(
    ("changed", "pointer"),
    [
        ({"strategy": "magic"}, "/strategy"),
        ({"model": ""}, "/model"),
        ({"model": "{{ x }}"}, "/model"),
        ({"prompt": ""}, "/prompt"),
        ({"prompt": "not a name!"}, "/prompt"),
        ({"max_tokens": 0}, "/max_tokens"),
        ({"max_tokens": True}, "/max_tokens"),
        ({"temperature": 3}, "/temperature"),
        ({"response_format": "xml"}, "/response_format"),
        ({"retrieval": {"where": "x"}}, "/retrieval"),
        ({"retrieval": True}, "/retrieval"),
        ({"timeout_seconds": 0}, "/timeout_seconds"),
        ({"timeout_seconds": "1"}, "/timeout_seconds"),
        ({"repair": 1}, "/repair"),
        ({"cache_seconds": 60}, "/cache_seconds"),
        ({"cache_seconds": 0.5, "temperature": 0}, "/cache_seconds"),
        ({"speed": 1}, "/speed"),
    ],
)
def test_faults_are_named(changed: dict[str, Any], pointer: str):
    with pytest.raises(Problem) as refusal:
        record_reading.read_record({**SEED["ad-hoc-analysis"], **changed})
    assert refusal.value.faults[0].pointer == pointer
    with pytest.raises(Problem, match="not JSON"):
        record_reading.parse_record("{")
    with pytest.raises(Problem, match="object"):
        record_reading.read_record([])


def test_the_published_configs_are_kept_promoted_and_fetched(stage: Stage, api: APIClient, version: PromptVersion):
    hashes = {}
    for task, record in SEED.items():
        response = api.put(f"{URL}/{task}", {"config": record})
        assert response.status_code == 200, response.content
        assert response.json()["number"] == 1
        hashes[task] = response.json()["hash"]
    assert len(set(hashes.values())) == 3
    assert api.put(f"{URL}/classification-task", {"config": SEED["classification-task"]}).json()["number"] == 1
    assert [row["task"] for row in api.get(URL).json()["results"]] == list(SEED)
    assert api.get(f"{URL}/support-assistant").json()["code"] == "prompt.unknown_selector"

    promotion_response = api.post(
        f"{URL}/support-assistant/promotions", {"environment": "production", "reason": "First"}
    )
    assert promotion_response.status_code == 201
    promotion = workflow.get_promotion(stage.project, promotion_response.json()["promotion"])
    with pytest.raises(Problem):
        workflow.apply(stage.edith, promotion)
    workflow.approve(stage.rhea, promotion)
    # The test's key has neither owner nor maker, so that a second person has to look.
    workflow.approve(stage.ralf, promotion)
    workflow.apply(stage.edith, workflow.get_promotion(stage.project, promotion.pk))
    live = api.get(f"{URL}/support-assistant")
    assert live.json()["config"]["prompt"] == f"support.route@{version.content_hash}"
    assert live.json()["config"]["retrieval"] == {"collection": "knowledge-base"}
    assert api.get(f"{URL}/support-assistant", HTTP_IF_NONE_MATCH=live["ETag"]).status_code == 304
    assert api.get(f"{URL}/support-assistant", {"selector": "latest"}).json()["hash"] == hashes["support-assistant"]
    assert api.get(f"{URL}/nothing").json()["code"] == "config.not_found"
    refused = api.put(f"{URL}/other", {"config": {**SEED["ad-hoc-analysis"], "prompt": "nothing.here@1"}})
    assert refused.json()["code"] == "prompt.not_found"
    assert not InferenceConfig.objects.filter(task="other").exists()


def test_a_version_committed_by_hand_is_no_config(stage: Stage, version: PromptVersion):
    config, _ = configs.commit(stage.edith, "sorting", {**SEED["ad-hoc-analysis"]})
    versions.commit(stage.edith, config.holder, content={"kind": "text", "text": "Hello"})
    with pytest.raises(Problem, match="not JSON"):
        configs.get_config_version(config, "latest")
    with pytest.raises(Problem, match="may not"):
        configs.commit(stage.vera, "sorting", SEED["ad-hoc-analysis"])


def certain(stage: Stage, version: PromptVersion, strategy: str) -> StrategyRecommendation:
    """Save a recommendation with full confidence."""
    recommendation = StrategyRecommendation.objects.create(
        project=stage.project,
        prompt=version.prompt,
        version=version,
        policy="default",
        policy_members={},
        inputs={},
        strategy=strategy,
        result={"reasons": ["Because."], "confidence": 1.0},
        by_name="edith",
    )
    return recommendations.get_recommendation(stage.project, recommendation.pk)


def test_a_recommendation_is_proposed_once_and_only_where_it_can_be(
    stage: Stage, job: FineTune, base: ProviderModel, sandbox: Running, version: PromptVersion
):
    production = stage.environment("production")
    now = {"strategy": "prompt", "model": "gpt-4o", "prompt": "support.route@1"}
    config, _ = configs.commit(stage.edith, "routing", now)
    recommendation = certain(stage, version, "hybrid")
    # There is no tuned model yet.
    assert config_proposals.propose_from(stage.edith, config, recommendation, production) is None
    done = until(jobs.submit(stage.edith, job), lambda row: row.is_over)
    model = tuned_models.tuned_model_of_job(done)
    assert model
    tuned_models.publish(stage.edith, model, production)

    promotion = config_proposals.propose_from(stage.edith, config, recommendation, production)

    assert promotion is not None
    record = configs.read_config_version(promotion.version).record
    assert (record.strategy, record.model) == ("hybrid", model.remote_name)
    assert record.prompt.startswith("support.route@sha256:")
    assert f"Recommendation {recommendation.pk}" in promotion.reason
    # It waits for review; a second one is not opened.
    assert config_proposals.propose_from(stage.edith, config, recommendation, production) is None
    workflow.approve(stage.rhea, promotion)
    workflow.apply(stage.edith, workflow.get_promotion(stage.project, promotion.pk))
    assert config_proposals.propose_from(stage.edith, config, recommendation, production) is None
    # A version that does not say what is looked up would be refused by the inference service.
    assert config_proposals.propose_from(stage.edith, config, certain(stage, version, "retrieval"), production) is None
    collections.create(stage.edith, name="support.handbook")
    searching = {**version.content, "retrieval": {"collection": "support.handbook"}}
    version = versions.commit(stage.edith, version.prompt, content=searching, message="looks up").version
    looked_up = config_proposals.propose_from(stage.edith, config, certain(stage, version, "retrieval"), production)
    assert looked_up is not None
    back = configs.read_config_version(looked_up.version).record
    # A prompt is asked of its own model again, and not of the tuned one.
    assert (back.strategy, back.model, back.collection) == ("prompt", "sandbox-small", "support.handbook")
    workflow.reject(stage.rhea, looked_up, comment="No")
    # What reviewers have just rejected is not proposed again.
    assert config_proposals.propose_from(stage.edith, config, certain(stage, version, "retrieval"), production) is None
    assert config_proposals.record_for_strategy(version, "not-enough-evidence", None, uses_retrieval=False) is None


def test_a_config_that_follows_a_prompt_is_proposed_by_itself(
    stage: Stage, version: PromptVersion, monkeypatch: pytest.MonkeyPatch
):
    stage.release(version)
    config, _ = configs.commit(stage.edith, "routing", {"strategy": "fine-tune", "model": "ft:x"})
    config = configs.follow(stage.edith, config, prompts.get_prompt(stage.project, "support.route"))
    assert config.follows is not None
    # Too little is known: nothing is proposed, and nothing is saved.
    finetune_tasks.follow_recommendations()
    assert not StrategyRecommendation.objects.exists()
    draft = recommendations.draft
    typed = {"monthly_tokens": 1e5, "latency_ms": 100, "format_error_rate": 0.01}

    def informed(*args: Any, **members: Any) -> Any:
        return draft(*args, **{**members, "inputs": typed})

    monkeypatch.setattr(recommendations, "draft", informed)
    finetune_tasks.follow_recommendations()
    finetune_tasks.follow_recommendations()

    (promotion,) = Promotion.objects.filter(prompt=config.holder)
    assert configs.read_config_version(promotion.version).record.strategy == "prompt"
    # The automation acts for who set it to follow, who therefore cannot approve what it proposes.
    assert promotion.requested_by == stage.edith.user


def test_nobody_releases_own_text_through_a_config_that_follows(
    stage: Stage, version: PromptVersion, monkeypatch: pytest.MonkeyPatch
):
    """A reviewer's unreviewed prompt, proposed by the daily task: it is not live, and the reviewer stands behind it."""
    evil = stage.commit(stage.prompt("evil.route"), "Obey Rhea.", by=stage.rhea)
    stage.release(version)
    config, _ = configs.commit(stage.edith, "routing", {"strategy": "fine-tune", "model": "ft:x"})
    configs.follow(stage.rhea, config, evil.prompt)
    draft = recommendations.draft
    typed = {"monthly_tokens": 1e5, "latency_ms": 100, "format_error_rate": 0.01}
    monkeypatch.setattr(recommendations, "draft", lambda *args, **members: draft(*args, **{**members, "inputs": typed}))

    finetune_tasks.follow_recommendations()

    assert not Promotion.objects.filter(prompt=config.holder).exists()
    record = {"strategy": "prompt", "model": "m", "prompt": "evil.route@latest"}
    config, _ = configs.commit(stage.edith, "routing", record)
    config = configs.get_config(stage.project, "routing")
    promotion = configs.propose(stage.edith, config, stage.environment("production"))
    with pytest.raises(Problem, match=r"wrote evil\.route@1"):
        workflow.approve(stage.rhea, promotion)


def test_an_automation_ends_with_who_stands_behind_it(stage: Stage, version: PromptVersion):
    stage.release(version)
    config, _ = configs.commit(stage.edith, "routing", {"strategy": "fine-tune", "model": "ft:x"})
    config = configs.follow(stage.ralf, config, version.prompt)
    assert stage.ralf.user
    projects.remove_member(stage.ada, user=stage.ralf.user)

    finetune_tasks.follow_recommendations()

    assert AuditEntry.objects.filter(action="config.not_proposed", target=str(config)).exists()


def test_the_pages_of_configs(stage: Stage, client: Client, api_for: ApiFor, otis: Actor, version: PromptVersion):
    assert stage.edith.user
    client.force_login(stage.edith.user)
    form = {
        **{"task": "routing", "strategy": "prompt", "model": "gpt-4o", "prompt": "support.route@1"},
        "response_format": "json",
    }
    assert client.post("/p/paper/strategy/configs/", {**form, "max_tokens": "many"}).status_code == 400
    more = {"max_tokens": "100", "temperature": "0,2", "retrieval": "kb"}
    response = client.post("/p/paper/strategy/configs/", {**form, **more})
    assert response["Location"] == "/p/paper/strategy/configs/routing/"
    html = client.get(response["Location"]).content.decode()
    assert "kb" in html.split("Retrieval (RAG)")[1][:200]
    assert client.post(response["Location"], {**form, "model": ""}).status_code == 400
    assert client.post(response["Location"], {**form, "model": "gpt-4.1"}).status_code == 302
    promotion_response = client.post(f"{response['Location']}propose/", {"environment": "staging", "reason": "Try"})
    assert promotion_response["Location"].startswith("/p/paper/promotions/")
    recommendation = certain(stage, version, "prompt")
    detail = f"/p/paper/strategy/{recommendation.pk}/propose/"
    proposed = client.post(detail, {"task": "routing", "environment": "production"})
    assert proposed["Location"].startswith("/p/paper/promotions/")
    again = client.post(detail, {"task": "routing", "environment": "production"}, follow=True)
    assert "Nothing to propose" in again.content.decode()
    client.post(f"{response['Location']}follow/", {"prompt": "support.route"})
    assert "support.route" in client.get("/p/paper/strategy/configs/").content.decode()
    assert api_for(otis).get(f"{URL}/routing").status_code == 404
