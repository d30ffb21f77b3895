"""Cases that a model makes up: what it is shown, what is kept of what it says, and what it may cost."""

import json
from decimal import Decimal
from typing import Any

import pytest

from core.errors import Problem
from evaluations import tasks
from evaluations.curation import synthesis, synthesis_prompt
from evaluations.datasets import lifecycle as datasets
from evaluations.models import Case, CaseProposal, Dataset, ProviderModel, Synthesis, SynthesisState
from tests.conftest import ApiFor, Stage
from tests.evaluations.runs.test_pages import client_of, text
from tests.sandbox import Running


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluations.providers.retries.FIRST_PAUSE_SECONDS", 0.01)


def written(started: Synthesis) -> Synthesis:
    tasks.write_cases(started.pk)
    tasks.check_proposals(started.dataset_id)
    return synthesis.get_synthesis(started.dataset, started.pk)


def test_what_a_model_writes_waits_for_a_person(stage: Stage, tickets: Dataset, model: ProviderModel, sandbox: Running):
    before = tickets.head

    done = written(synthesis.start(stage.edith, tickets, model=model, requested=12, about="Angry customers"))

    assert (done.state, done.proposed, done.refused, done.calls) == (SynthesisState.DONE, 12, 0, 3)
    assert done.cost_usd is not None
    assert done.cost_usd > 0
    proposed = list(CaseProposal.objects.order_by("id"))
    assert {proposal.origin for proposal in proposed} == {f"made up by sandbox/sandbox-small (synthesis {done.pk})"}
    assert {proposal.state for proposal in proposed} == {"waiting"}
    assert all(set(proposal.document["variables"]) == {"ticket"} for proposal in proposed)
    assert len(sandbox.calls()) == 3
    assert not sandbox.paid_twice()
    tickets.refresh_from_db()
    assert tickets.head == before


def test_only_the_training_side_is_shown(stage: Stage, tickets: Dataset, model: ProviderModel, sandbox: Running):
    started = synthesis.start(stage.edith, tickets, model=model, requested=5)
    started = synthesis.syntheses_with_related().get(pk=started.pk)
    assert tickets.head
    train = {case.variables["ticket"] for case in Case.objects.of(tickets.head).filter(split="train")}

    examples = set()
    for started.calls in range(20):
        for message in synthesis._request(started, 5).messages:
            if message["role"] == "assistant":
                examples |= {case["variables"]["ticket"] for case in json.loads(message["content"])["cases"]}

    assert len(examples) > synthesis.EXAMPLES_SHOWN
    assert examples <= train
    assert sandbox.calls() == []


def test_a_budget_ends_it(stage: Stage, tickets: Dataset, model: ProviderModel, sandbox: Running):
    done = written(synthesis.start(stage.edith, tickets, model=model, requested=100, budget_usd="0.001"))

    assert done.state == SynthesisState.STOPPED
    assert 0 < done.proposed < 100
    assert done.cost_usd is not None
    assert Decimal("0.001") <= done.cost_usd < Decimal("0.002")
    assert len(sandbox.calls()) == done.calls


def test_a_model_that_writes_no_cases_is_not_asked_for_ever(
    stage: Stage, tickets: Dataset, model: ProviderModel, sandbox: Running
):
    sandbox.fault("model_refuses")

    done = written(synthesis.start(stage.edith, tickets, model=model, requested=10))

    assert (done.state, done.proposed, done.calls) == (SynthesisState.FAILED, 0, 4)
    assert "none of it was a case" in done.error
    assert not CaseProposal.objects.exists()


def test_a_provider_that_refuses_is_told(stage: Stage, tickets: Dataset, model: ProviderModel, sandbox: Running):
    sandbox.fault("unauthorized")

    done = written(synthesis.start(stage.edith, tickets, model=model, requested=10))

    assert done.state == SynthesisState.FAILED
    assert "key" in done.error


@pytest.mark.usefixtures("sandbox")
def test_what_was_written_before_a_worker_died_counts(stage: Stage, tickets: Dataset, model: ProviderModel):
    started = synthesis.start(stage.edith, tickets, model=model, requested=6)
    Synthesis.objects.filter(pk=started.pk).update(proposed=5, calls=1)

    done = written(started)

    assert (done.state, done.proposed) == (SynthesisState.DONE, 6)
    assert CaseProposal.objects.count() == 1


@pytest.mark.usefixtures("sandbox")
def test_an_empty_dataset_is_begun_from_words(stage: Stage, model: ProviderModel):
    empty = datasets.create(stage.edith, name="new.set")
    with pytest.raises(Problem) as refusal:
        synthesis.start(stage.edith, empty, model=model, requested=3)
    assert [fault.pointer for fault in refusal.value.faults] == ["/variables", "/about"]

    done = written(
        synthesis.start(
            stage.edith, empty, model=model, requested=3, about="Questions on invoices", variables=["ticket"]
        )
    )

    assert done.state == SynthesisState.DONE
    assert CaseProposal.objects.filter(dataset=empty).count() == 3


@pytest.mark.usefixtures("sandbox", "model")
def test_over_rest_and_on_the_page(stage: Stage, tickets: Dataset, api_for: ApiFor):
    client = api_for(stage.edith)
    place = f"/api/v1/datasets/{tickets.name}/syntheses"
    wrong = client.post(place, {"model": "sandbox/sandbox-small", "count": 500}, format="json")
    assert wrong.json()["errors"][0]["pointer"] == "/count"

    response = client.post(place, {"model": "sandbox/sandbox-small", "count": 5}, format="json")

    assert response.status_code == 201, response.json()
    tasks.write_cases(response.json()["id"])
    assert client.get(response["Location"]).json()["state"] == "done"
    assert client.get(place).json()["results"][0]["proposed"] == 5
    edith = client_of(stage.edith)
    page = f"/p/paper/datasets/{tickets.name}/proposals/"
    assert "5 of 5" in text(edith.get(page))
    form = {"do": "write", "model": "sandbox/sandbox-small", "count": "0"}
    assert "from 1 to 200" in text(edith.post(page, form))
    sent = edith.post(page, {**form, "count": "3"})
    assert sent["Location"] == page
    newest = Synthesis.objects.first()
    assert newest is not None
    assert "0 of 3" in text(edith.get(f"/p/paper/datasets/{tickets.name}/syntheses/{newest.pk}/wait/"))
    tasks.write_cases(newest.pk)
    assert edith.get(f"/p/paper/datasets/{tickets.name}/syntheses/{newest.pk}/wait/")["HX-Refresh"] == "true"


@pytest.mark.parametrize("answer", ["", "[]", "{", '{"cases": 7}', '{"cases": [7, null, "x"]}', "[" * 100_000])
def test_answers_that_are_no_cases(answer: str):
    assert synthesis_prompt.read_cases(answer, 5) == []


def test_the_form_of_the_answer_is_that_of_the_cases_that_are_there():
    form = synthesis_prompt.response_format(["a"], {"label": "x", "sure": 0.5, "notes": ["y"], "is_new": True})

    case = form["json_schema"]["schema"]["properties"]["cases"]["items"]
    kinds: dict[str, Any] = {name: form["type"] for name, form in case["properties"]["expected"]["properties"].items()}
    assert kinds == {"label": "string", "sure": "number", "notes": "array", "is_new": "boolean"}
