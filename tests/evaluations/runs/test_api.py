"""Providers, runs and comparisons over REST, driven by the task that a worker runs."""

import csv
import io
import json
from typing import Any

import pytest
from rest_framework.test import APIClient

from evaluations import tasks
from evaluations.comparisons import lifecycle as comparisons
from evaluations.models import Dataset, Provider, ProviderModel, Run
from evaluations.providers import configuration as providers
from evaluations.runs import lifecycle as runs
from registry.accounts.permissions import Actor
from registry.models import PromptVersion
from tests.conftest import ApiFor, Stage
from tests.evaluations.conftest import make_run, routing
from tests.sandbox import Running

RUN_BODY = {
    "prompt": "support.route@latest",
    "dataset": "support.tickets",
    "split": "",
    "model": "sandbox/sandbox-small",
    "scorers": ["label"],
}


def finish(key: int) -> None:
    tasks.work_on_run(key)
    tasks.sum_up_run(key)


def body(response: Any) -> str:
    return b"".join(response.streaming_content).decode()


def test_a_provider_is_made_tested_and_priced(stage: Stage, api_for: ApiFor, sandbox: Running):
    ada = api_for(stage.ada)
    response = ada.post("/api/v1/providers", {"name": "sandbox", "is_simulation": True})
    assert response.status_code == 201, response.json()

    assert ada.post("/api/v1/providers/sandbox/test", {"model": "sandbox-small"}).status_code == 202
    tasks.try_provider(Provider.objects.get().pk, "sandbox-small")

    provider = ada.get("/api/v1/providers/sandbox").json()
    assert provider["test_passed"], provider["test_result"]
    assert "It has 3 models. sandbox-small answered" in provider["test_result"]
    models = ada.get("/api/v1/providers/sandbox/models").json()["results"]
    assert {model["name"]: model["shutdown_date"] for model in models}["sandbox-retired"] == "2026-12-31"
    price = {"model": "sandbox-small", "input": "1", "output": "4"}
    assert ada.post("/api/v1/providers/sandbox/prices", price).json()["price"]["output"] == "4.000000"


def test_a_key_is_encrypted_and_never_shown(stage: Stage, api_for: ApiFor):
    secret = "sk-very-secret-0123456789"
    ada = api_for(stage.ada)
    response = ada.post("/api/v1/providers", {"name": "openai", "base_url": "https://api.openai.com/v1", "key": secret})

    assert response.json()["key"] == "6789"
    stored = Provider.objects.get()
    assert secret not in stored.encrypted_key
    assert providers.endpoint(stored).api_key == secret
    for path in ("providers", "providers/openai", "audit"):
        assert secret not in json.dumps(ada.get(f"/api/v1/{path}").json(), default=str)
    moved = ada.patch("/api/v1/providers/openai", {"base_url": "https://evil.example/v1"})
    assert moved.json()["code"] == "provider.key_needed"


@pytest.mark.parametrize(
    "address",
    [
        *("http://169.254.169.254/latest", "https://169.254.169.254/", "http://[::1]:8000/v1", "https://10.0.0.1/v1"),
        *("https://169。254。169。254/v1", "https://[64:ff9b:1::7f00:1]/v1", "https://[fec0::1]/v1"),
        *("https://2130706433/v1", "https://0x7f.1/v1", "file:///etc/passwd", "https://user:pw@api.openai.com/v1"),
        *("https://[::ffff:127.0.0.1]/v1", "http://api.openai.com/v1", "https://localhost/v1", "nonsense"),
    ],
)
def test_addresses_that_nobody_should_be_sent_to(stage: Stage, api_for: ApiFor, address: str):
    refused = api_for(stage.ada).post("/api/v1/providers", {"name": "inside", "base_url": address})

    assert refused.status_code == 400
    assert refused.json()["code"] == "provider.address"


def test_only_admins_touch_providers(stage: Stage, api_for: ApiFor, otis: Actor, sandbox: Running):
    body = {"name": "sandbox", "is_simulation": True}
    assert api_for(stage.edith).post("/api/v1/providers", body).status_code == 403
    api_for(stage.ada).post("/api/v1/providers", body)
    assert api_for(stage.vera).get("/api/v1/providers/sandbox").status_code == 200
    assert api_for(otis).get("/api/v1/providers/sandbox").status_code == 404
    for verb in ("archive", "test"):
        assert api_for(stage.edith).post(f"/api/v1/providers/sandbox/{verb}", {}).status_code == 403


def test_a_run_from_estimate_to_file(
    api: APIClient, version: PromptVersion, tickets: Dataset, model: ProviderModel, sandbox: Running
):
    estimate = api.post("/api/v1/evaluations/estimate", RUN_BODY).json()
    assert (estimate["cases"], estimate["answers"]) == (60, 60)
    assert float(estimate["cost_usd"]) > 0
    response = api.post("/api/v1/evaluations", RUN_BODY)
    assert response.status_code == 201, response.json()
    key = response.json()["id"]
    assert response.json()["state"] == "pending"

    finish(key)

    done = api.get(f"/api/v1/evaluations/{key}").json()
    assert (done["state"], done["answered"], done["is_simulation"]) == ("done", 60, True)
    assert done["summary"]["passed"]["n"] == 60
    results = api.get(f"/api/v1/evaluations/{key}/results?limit=5").json()["results"]
    assert [result["quality"] for result in results] == sorted(result["quality"] for result in results)
    lines = body(api.get(f"/api/v1/evaluations/{key}/file")).splitlines()
    assert len(lines) == 60
    assert json.loads(lines[0])["variables"]["ticket"]
    rows = list(csv.DictReader(io.StringIO(body(api.get(f"/api/v1/evaluations/{key}/file?as=csv")))))
    assert len(rows) == 60
    assert rows[0]["score.label"] in ("0.0", "1.0")


def test_two_versions_are_compared(
    stage: Stage, api: APIClient, run: Run, tickets: Dataset, model: ProviderModel, sandbox: Running
):
    finish(run.pk)
    worse = routing()
    worse["messages"] = [*worse["messages"][:1], *worse["messages"][-1:]]
    committed = stage.commit(run.version.prompt, "x", **{"messages": worse["messages"], "model": worse["model"]})
    other = make_run(stage, committed, tickets, model)
    finish(other.pk)

    response = api.post("/api/v1/comparisons", {"baseline": run.pk, "candidate": other.pk, "margin": 0.05})
    assert response.status_code == 201, response.json()
    tasks.compare_runs(response.json()["id"])

    comparison = api.get(f"/api/v1/comparisons/{response.json()['id']}").json()
    assert comparison["state"] == "done", comparison["error"]
    quality = comparison["result"]["quality"]
    assert quality["n"] == 60
    assert quality["wins"] + quality["losses"] + quality["ties"] == 60
    assert quality["verdict"] in ("better", "worse", "equivalent", "inconclusive")
    assert quality["difference"] == pytest.approx(quality["candidate"] - quality["baseline"])
    assert {figure["name"] for figure in comparison["result"]["by_label"]} == {"incident", "billing", "how-to"}
    assert all(figure["p_adjusted"] >= figure["p"] for figure in comparison["result"]["figures"])


def test_what_cannot_be_paired_is_not_compared(
    stage: Stage, api: APIClient, run: Run, version: PromptVersion, tickets: Dataset, model: ProviderModel
):
    other = make_run(stage, version, tickets, model, limit=10)
    early = api.post("/api/v1/comparisons", {"baseline": run.pk, "candidate": other.pk})
    assert "only runs that are done" in early.json()["detail"]
    finish(run.pk)
    finish(other.pk)

    refused = api.post("/api/v1/comparisons", {"baseline": run.pk, "candidate": other.pk})

    assert refused.json()["code"] == "comparison.not_comparable"
    assert "not on the same cases" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("change", "code", "pointer"),
    [
        ({"scorers": []}, "scorers.invalid", "/scorers"),
        ({"scorers": ["nope"]}, "scorers.invalid", "/scorers/0/scorer"),
        ({"scorers": [{"scorer": "regex", "parameters": {"pattern": "("}}]}, "scorers.invalid", None),
        ({"repetitions": 0}, "request.invalid", "/repetitions"),
        ({"split": "nowhere"}, "request.invalid", "/split"),
        ({"parameters": {"messages": []}}, "request.invalid", "/parameters/messages"),
        ({"model": "sandbox/none"}, "model.not_found", None),
        ({"dataset": "none"}, "dataset.not_found", None),
        ({"prompt": "none@latest"}, "prompt.not_found", None),
        ({"split": "general"}, "run.no_cases", None),
    ],
)
def test_what_cannot_be_measured_is_refused_with_its_place(
    api: APIClient,
    version: PromptVersion,
    tickets: Dataset,
    model: ProviderModel,
    change: dict[str, Any],
    code: str,
    pointer: str | None,
):
    refused = api.post("/api/v1/evaluations", {**RUN_BODY, **change})

    assert refused.json()["code"] == code, refused.json()
    if pointer:
        assert pointer in [fault["pointer"] for fault in refused.json()["errors"]]
    assert not Run.objects.exists()


def test_viewers_look_and_outsiders_see_nothing(stage: Stage, api_for: ApiFor, otis: Actor, run: Run):
    vera = api_for(stage.vera)
    assert vera.get(f"/api/v1/evaluations/{run.pk}").status_code == 200
    assert vera.post("/api/v1/evaluations", RUN_BODY).status_code == 403
    assert vera.post(f"/api/v1/evaluations/{run.pk}/cancel", {}).status_code == 403
    for path in ("", "/results", "/file"):
        assert api_for(otis).get(f"/api/v1/evaluations/{run.pk}{path}").status_code == 404
    assert api_for(otis).get("/api/v1/evaluations").json()["results"] == []


def test_people_mark_answers_and_machines_do_not(stage: Stage, api: APIClient, api_for: ApiFor, run: Run):
    finish(run.pk)
    path = f"/api/v1/evaluations/{run.pk}/results/{run.results.first().pk}/annotation"
    assert api.post(path, {"is_correct": True}).status_code == 403
    edith = api_for(stage.edith)
    assert edith.post(path, {"is_correct": True}).status_code == 200
    assert edith.post(path, {"is_correct": False}).status_code == 200
    assert run.results.first().annotations.get().is_correct is False
    assert len(edith.get(f"/api/v1/evaluations/{run.pk}/results?only=marked").json()["results"]) == 1


def test_scorers_are_listed_with_what_they_can_be_told(api: APIClient):
    listed = {scorer["name"]: scorer for scorer in api.get("/api/v1/evaluations/scorers").json()}
    assert {"exact", "contains", "regex", "json_schema", "fields", "label", "judge", "latency"} <= set(listed)
    assert listed["regex"]["parameters"][0]["required"]


def test_lists_take_a_constant_number_of_queries(
    stage: Stage,
    api: APIClient,
    run: Run,
    version: PromptVersion,
    tickets: Dataset,
    model: ProviderModel,
    django_assert_max_num_queries: Any,
):
    for _ in range(5):
        make_run(stage, version, tickets, model, limit=1)
    with django_assert_max_num_queries(12):
        assert len(api.get("/api/v1/evaluations").json()["results"]) == 6


def test_the_sweep_takes_up_what_waits(run: Run, monkeypatch: pytest.MonkeyPatch):
    sent: list[tuple[str, Any]] = []
    monkeypatch.setattr("infra.work.start", lambda task, *arguments: sent.append((task.name, *arguments)))
    tasks.reconcile()
    assert ("evaluations.tasks.work_on_run", run.pk) in sent
    finish(run.pk)
    sent.clear()
    tasks.reconcile()
    assert not [name for name, *_ in sent if "run" in name]
    assert not runs.claimable_runs().exists()
    assert not comparisons.claimable_comparisons().exists()
