"""Recommendations over REST, on pages and from the shell: saved with their evidence, and the same when recomputed."""

from copy import copy
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from core.errors import Problem
from evaluations.comparisons import slas
from evaluations.models import Dataset, ProviderModel
from evaluations.providers import configuration as providers
from finetunes.models import StrategyRecommendation
from finetunes.strategy import evidence_collector, policy, recommendations, token_audit
from inference.calls import log as call_log
from inference.models import RollupSpan, UsageRollup
from inference.usage import rollups
from inference.usage.stats import UsageStats
from registry.accounts import permissions
from registry.models import PromptVersion
from registry.prompts import lifecycle as prompts
from registry.prompts import versions
from tests.conftest import ApiFor, Stage
from tests.evaluations.conftest import make_run, routing
from tests.evaluations.runs.test_pages import finish
from tests.sandbox import Running

URL = "/api/v1/strategy/recommendations"
METRICS = {"monthly_tokens": 1e7, "avg_latency_ms": 700, "format_error_rate": 0.01, "dev_cost_hours": 1}


def calls(version: PromptVersion, count: int = 40) -> list[dict[str, Any]]:
    return [
        {
            **{"id": f"c{number}", "prompt": str(version), "tokens_in": 400, "tokens_out": 10, "cost_usd": 0.001},
            **{"latency_ms": 500 + number, "format_ok": number % 10 != 0, "label": "billing"},
        }
        for number in range(count)
    ]


@pytest.fixture
def measured(
    stage: Stage, version: PromptVersion, tickets: Dataset, base: ProviderModel, sandbox: Running
) -> PromptVersion:
    """A version that is live, has a run, and has calls."""
    stage.release(version)
    finish(make_run(stage, version, tickets, base, scorers=["label", "json_schema"]).pk)
    service = permissions.actor_for_command_line(stage.project)
    call_log.record(service, calls(version), is_simulation=True)
    # The first day that has calls need not have been a whole one, and does not count for the month.
    UsageRollup.objects.bulk_create(
        UsageRollup(**of_day(version, back), is_simulation=True, usage=some_usage()) for back in (6, 5)
    )
    return version


def of_day(version: PromptVersion, back: int) -> dict[str, Any]:
    """What a rollup of a whole day is of, so many days ago."""
    start = rollups.start_of(timezone.now() - timedelta(days=back), RollupSpan.DAY)
    return {"version": version, "environment": "production", "minutes": RollupSpan.DAY, "start": start}


def some_usage() -> dict[str, Any]:
    return UsageStats(
        calls=1_000, counted=1_000, tokens_in=400_000, tokens_out=10_000, timed=1, latency_sum=500.0
    ).as_dict()


def test_the_published_function_over_rest(api: APIClient):
    answer = api.post(URL, {"policy": "seed", "metrics": METRICS})

    assert answer.status_code == 201
    recommendation = answer.json()
    assert recommendation["strategy"] == "hybrid"
    assert recommendation["payback_months"] == pytest.approx(150 / 93)
    assert len(recommendation["reasons"]) >= 2
    assert recommendation["confidence"] is None
    assert api.get(answer["Location"]).json()["strategy"] == "hybrid"
    for metrics, strategy in (
        ({**METRICS, "monthly_tokens": 0, "dev_cost_hours": 0}, "hybrid"),
        ({**METRICS, "avg_latency_ms": 600, "format_error_rate": 0.05, "monthly_tokens": 4_999_999}, "prompt"),
        ({**METRICS, "monthly_tokens": 1e8}, "fine-tune"),
    ):
        assert api.post(URL, {"policy": "seed", "metrics": metrics}).json()["strategy"] == strategy


def test_the_default_policy_from_numbers(api: APIClient):
    recommendation = api.post(URL, {"metrics": METRICS}).json()

    assert recommendation["strategy"] == "fine-tune"
    assert recommendation["payback_months"] == pytest.approx(150 / 93)
    assert 0 < recommendation["confidence"] <= 1
    assert recommendation["inputs"]["monthly_tokens"]["origin"] == "assumed"
    assert recommendation["inputs"]["prompt_price"] == {
        **{"value": 14.5, "low": 7.25, "high": 21.75, "origin": "default", "source": "the published table", "link": ""}
    }
    never = api.post(URL, {"metrics": {**METRICS, "monthly_tokens": 0}}).json()
    assert never["payback_months"] is None
    few = api.post(URL, {"metrics": {"avg_latency_ms": 700}}).json()
    assert few["strategy"] == "not-enough-evidence"
    assert "Volume" in few["result"]["needs"]
    knowing = api.post(URL, {"metrics": METRICS, "inputs": {"dynamic_knowledge": True, "tuned_price": 20}}).json()
    assert knowing["strategy"] == "retrieval"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "strategy.invalid"),
        ({"metrics": METRICS, "policy": "mine"}, 400, "strategy.invalid"),
        ({"metrics": {**METRICS, "speed": 1}}, 400, "strategy.invalid"),
        ({"metrics": {**METRICS, "monthly_tokens": "many"}}, 400, "strategy.invalid"),
        ({"metrics": {"monthly_tokens": 1}, "policy": "seed"}, 400, "strategy.invalid"),
        ({"metrics": METRICS, "inputs": {"latency_ms": -1}}, 400, "strategy.invalid"),
        ({"metrics": METRICS, "prompt": "support.route"}, 400, "strategy.invalid"),
        ({"prompt": "nothing.here"}, 404, "prompt.not_found"),
        ({"prompt": "support.route@moon"}, 404, "environment.not_found"),
        ({"prompt": "support.route@1", "policy": "seed"}, 409, "strategy.not_measured"),
    ],
)
@pytest.mark.usefixtures("version")
def test_what_cannot_be_recommended_is_refused(api: APIClient, body: dict[str, Any], status: int, code: str):
    answer = api.post(URL, body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert not StrategyRecommendation.objects.exists()


def test_from_the_evidence_of_a_prompt(stage: Stage, api: APIClient, measured: PromptVersion):
    document = api.post(URL, {"prompt": "support.route@production", "inputs": {"dev_cost_hours": 2}}).json()

    inputs = document["inputs"]
    assert inputs["monthly_tokens"]["origin"] == "measured"
    assert inputs["monthly_tokens"]["value"] == pytest.approx(400_000 / 5 * 365.25 / 12)
    assert inputs["format_error_rate"]["value"] == pytest.approx(0.1)
    assert inputs["format_error_rate"]["link"] == "/p/paper/prompts/support.route/live/"
    assert inputs["dev_cost_hours"]["origin"] == "assumed"
    assert inputs["clean_examples"]["value"] > 0
    assert document["version"] == "support.route@1"
    # 400 tokens a question for 0.001 dollars; what nobody measured is in the published proportion to that.
    assert inputs["prompt_price"]["value"] == pytest.approx(2.5)
    assert inputs["tuned_price"]["value"] == pytest.approx(2.5 * 5.2 / 14.5)
    assert inputs["tuned_price"]["origin"] == "default"
    assert document["result"]["tco_usd"]["prompt"]["low"] <= document["result"]["tco_usd"]["prompt"]["value"]
    recommendation = recommendations.get_recommendation(stage.project, document["id"])
    assert recommendations.recompute(recommendation) == recommendation.result
    published = api.post(URL, {"prompt": "support.route@production", "policy": "seed"}).json()
    assert published["result"]["metrics"]["dev_cost_hours"] == 24
    assert len(api.get(URL, {"prompt": "support.route"}).json()["results"]) == 2


@pytest.mark.parametrize("difference", ["simulation", "model"])
def test_live_calls_of_another_model_count_and_say_nothing_else(
    stage: Stage, version: PromptVersion, tickets: Dataset, base: ProviderModel, sandbox: Running, difference: str
):
    """Latency, format and price of one model say nothing of another, nor those of a program of a model."""
    stage.release(version)
    run = make_run(stage, version, tickets, base, scorers=["label"])
    finish(run.pk)
    service = permissions.actor_for_command_line(stage.project)
    name = "other-9" if difference == "model" else run.model_name
    documents = [{**document, "model": name} for document in calls(version)]
    call_log.record(service, documents, is_simulation=difference == "model")

    inputs = recommendations.draft(stage.project, prompt=version.prompt).inputs

    assert inputs["latency_ms"].source == inputs["prompt_price"].source == f"run {run.pk}"
    assert "format_error_rate" not in inputs
    assert "only their number counts" in inputs["latency_ms"].conflict
    assert inputs["quality"].source == f"run {run.pk}"
    same = [{**document, "model": run.model_name, "id": f"s{document['id']}"} for document in calls(version)]
    if difference == "model":
        call_log.record(service, same, is_simulation=True)
        mixed = recommendations.draft(stage.project, prompt=version.prompt).inputs["latency_ms"]
        assert mixed.source == f"run {run.pk}", "calls of two models are added up: their figures are of neither"


def test_a_latency_of_more_calls_than_the_slas_say_is_no_evidence(
    stage: Stage, version: PromptVersion, tickets: Dataset, base: ProviderModel, sandbox: Running
):
    run = make_run(stage, version, tickets, base, scorers=["label"], concurrency=1)
    finish(run.pk)
    run.refresh_from_db()
    assert run.summary is not None
    assert run.summary["calls_in_flight"] == 1
    # How many calls meet depends on the machine, so the crowd is written here.
    crowded = copy(run)
    crowded.summary = {**run.summary, "calls_in_flight": 4}
    assert evidence_collector.mean_latency_of_run(crowded) is not None

    again = make_run(stage, version, tickets, base, scorers=["label"], concurrency=1)
    finish(again.pk)
    again.refresh_from_db()
    assert again.from_cache == again.answered > 0
    assert evidence_collector.mean_latency_of_run(again) is None, "those latencies are the other run's"

    slas.set_slas(stage.ada, {"concurrency": 1})

    assert evidence_collector.mean_latency_of_run(crowded) is None
    assert evidence_collector.mean_latency_of_run(run) is not None


def test_a_price_that_was_entered_after_the_run_counts(
    stage: Stage, version: PromptVersion, tickets: Dataset, base: ProviderModel, sandbox: Running
):
    model = providers.add_model(stage.ada, base.provider, "sandbox-large")
    run = make_run(stage, version, tickets, model, scorers=["label"])
    finish(run.pk)
    run.refresh_from_db()
    assert run.summary is not None
    assert run.summary["cost_per_call_usd"] is None
    providers.set_price(stage.ada, model, {"input": 1, "output": 4})

    prompt = prompts.get_prompt(stage.project, "support.route")
    figure = recommendations.draft(stage.project, prompt=prompt).inputs["prompt_price"]

    means = [run.summary[name]["value"] for name in ("tokens_in", "tokens_out")]
    assert figure.origin == "measured"
    assert figure.value == pytest.approx((means[0] + 4 * means[1]) / means[0], rel=1e-5)


def test_a_policy_is_the_projects_and_has_versions(stage: Stage, api: APIClient, api_for: ApiFor):
    assert api.get("/api/v1/strategy/policy").json()["number"] == 0
    assert api.patch("/api/v1/strategy/policy", {"members": {"hourly_rate": 10}}).status_code == 403
    admin = api_for(stage.ada)
    assert admin.patch("/api/v1/strategy/policy", {"members": {"hourly_rate": -1}}).json()["code"] == "policy.invalid"
    policy_document = admin.patch("/api/v1/strategy/policy", {"members": {"hourly_rate": 10}}).json()
    assert (
        policy_document["number"],
        policy_document["members"]["hourly_rate"],
        policy_document["members"]["prompt_price"],
    ) == (1, 10, 14.5)
    document = api.post(URL, {"metrics": METRICS}).json()
    assert (document["policy_number"], document["payback_months"]) == (1, pytest.approx(10 / 93))
    admin.patch("/api/v1/strategy/policy", {"members": {"hourly_rate": 20}})
    recommendation = recommendations.get_recommendation(stage.project, document["id"])
    assert recommendations.recompute(recommendation) == recommendation.result


def test_other_projects_see_nothing_of_it(stage: Stage, api: APIClient, api_for: ApiFor, otis: permissions.Actor):
    key = api.post(URL, {"metrics": METRICS}).json()["id"]
    outsider = api_for(otis)

    assert outsider.get(f"{URL}/{key}").status_code == 404
    assert outsider.get(URL).json()["results"] == []
    assert outsider.get("/api/v1/strategy/policy").json()["number"] == 0


def test_the_pages_of_a_prompts_strategy(stage: Stage, client: Client, measured: PromptVersion):
    assert stage.edith.user
    client.force_login(stage.edith.user)
    page = "/p/paper/prompts/support.route/strategy/"
    html = client.get(page).content.decode()
    assert "Sensitivity" in html
    assert "Set up monitoring" in html
    moved = client.get(f"{page}answer/", {"w-monthly_tokens": "20", "f-dynamic_knowledge": "1"}).content.decode()
    assert "Facts that change are looked up" in moved
    assert "what if" in moved
    assert "is not a number" in client.get(f"{page}answer/", {"w-latency_ms": "x"}).content.decode()

    response = client.post(page)
    assert response.status_code == 302
    detail = client.get(response["Location"]).content.decode()
    assert "it is the same" in detail
    report = client.get(f"{response['Location']}report.md")
    assert report["Content-Type"].startswith("text/markdown")
    assert "| Volume |" in report.content.decode()
    assert "Earlier recommendations" in client.get(page).content.decode()
    assert "support.route@1" in client.get("/p/paper/strategy/").content.decode()
    audit = client.get("/p/paper/strategy/tokens/").content.decode()
    assert "support.route@1" in audit
    assert client.post("/p/paper/strategy/policy/", {"hourly_rate": "1"}).status_code == 403
    assert stage.ada.user
    client.force_login(stage.ada.user)
    numbers = {name: str(value) for name, value in policy.DEFAULT_POLICY.as_dict().items()}
    assert client.post("/p/paper/strategy/policy/", {**numbers, "hourly_rate": "x"}).status_code == 400
    assert client.post("/p/paper/strategy/policy/", {**numbers, "hourly_rate": "99"}).status_code == 302
    assert "Policy 1" in client.get("/p/paper/strategy/policy/").content.decode()


def test_the_audit_ranks_by_cost_and_takes_a_constant_number_of_queries(
    stage: Stage, measured: PromptVersion, django_assert_max_num_queries: Any
):
    for number in range(5):
        stage.release(stage.commit(stage.prompt(f"other.p{number}"), "Be kind. " * 10))

    with django_assert_max_num_queries(12):
        rows = token_audit.audit_project(stage.project, policy.DEFAULT_POLICY)

    first = rows[0]
    assert first.version.prompt.name == "support.route"
    assert first.dollars_a_month is not None
    assert sum(dollars or 0 for _, _, _, dollars in first.by_part) == pytest.approx(first.dollars_a_month)
    assert sum(share for _, _, share, _ in first.by_part) == pytest.approx(1)
    assert first.parts["context"] == pytest.approx(400 - first.version.tokens)
    assert rows[-1].dollars_a_month is None


def test_the_evidence_of_a_prompt_without_calls_and_runs(stage: Stage):
    stage.commit(stage.prompt(), "Sort it.")
    prompt_evidence = evidence_collector.collect(
        prompts.get_prompt(stage.project, "support.triage"), policy.DEFAULT_POLICY
    )

    assert "monthly_tokens" not in prompt_evidence.inputs
    assert prompt_evidence.inputs["strict_format"].value == 0
    with pytest.raises(Problem, match="no version"):
        evidence_collector.collect(stage.prompt("empty.one"), policy.DEFAULT_POLICY)


def test_from_the_shell(stage: Stage, measured: PromptVersion):
    output = StringIO()
    call_command("recommend", "support.route", "--project", "paper", "--tokens", "1e9", stdout=output)
    assert output.getvalue().startswith("# ")
    assert "## What it rests on" in output.getvalue()
    output = StringIO()
    numbers = ["--tokens", "1e7", "--latency", "700", "--errors", "0.01", "--hours", "1"]
    call_command("recommend", *numbers, "--project", "paper", "--policy", "seed", "--json", stdout=output)
    assert '"strategy": "hybrid"' in output.getvalue()
    with pytest.raises(CommandError, match="no project"):
        call_command("recommend", "--project", "moon")
    with pytest.raises(CommandError, match="Must be a number"):
        call_command("recommend", "--project", "paper", "--policy", "seed")


def test_the_audit_separates_examples_from_instructions(stage: Stage):
    content = routing(
        messages=[
            {"role": "system", "content": "Sort it."},
            {"role": "user", "content": "A"},
            {"role": "assistant", "content": "incident " * 30},
            {"role": "user", "content": "{{ ticket }}"},
        ]
    )
    version = versions.commit(stage.edith, stage.prompt("support.shots"), content=content).version
    stage.release(version)

    (row,) = token_audit.audit_project(stage.project, policy.DEFAULT_POLICY)

    assert row.parts["examples"] >= 30
    assert row.parts["instructions"] > 0
