"""What searching is worth: runs without retrieval, at a moment, and both compared."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, transaction
from django.utils import timezone

from core.errors import Problem
from evaluations import tasks
from evaluations.comparisons import lifecycle as comparisons
from evaluations.comparisons import sweeps
from evaluations.models import Comparison, Dataset, ProviderModel, Result, Run
from evaluations.runs import lifecycle as runs
from finetunes.strategy import benchmarks, evidence_collector
from finetunes.strategy.policy import Policy
from registry.models import Collection, PromptVersion
from registry.prompts import versions
from registry.retrieval import documents
from tests.conftest import ApiFor, Stage
from tests.evaluations.conftest import make_run
from tests.evaluations.runs.test_pages import client_of, finish, text
from tests.registry.retrieval.conftest import REFUNDS, embed
from tests.sandbox import Running

BOTH = ["rouge_l", "source_hit"]
JUDGE = {"scorer": "judge", "parameters": {"prompt": "judges.faithful@1", "model": "sandbox/sandbox-small"}}


@pytest.fixture
def searched(stage: Stage, answering: PromptVersion, questions: Dataset, model: ProviderModel, sandbox: Running) -> Run:
    run = make_run(stage, answering, questions, model, scorers=BOTH)
    finish(run.pk)
    return runs.get_run(stage.project, run.pk)


def finished(sweep: Comparison) -> Comparison:
    for run in sweep.swept_runs.order_by("id"):
        finish(run.pk)
    tasks.compare_runs(sweep.pk)
    return comparisons.get_comparison(sweep.project, sweep.pk)


def test_one_click_compares_with_no_retrieval(stage: Stage, searched: Run, sandbox: Running):
    handbook = Collection.objects.get(name="handbook")
    documents.put(stage.edith, handbook, "refunds.md", REFUNDS.replace(b"14", b"30"))
    embed(handbook)
    calls = len(sandbox.calls())
    edith = client_of(stage.edith)
    page = text(edith.get(f"/p/paper/evaluations/{searched.pk}/"))
    assert "Compare with no retrieval" in page

    started = edith.post(f"/p/paper/evaluations/{searched.pk}/without-retrieval/")
    sweep = finished(Comparison.objects.get())

    without, with_it = sweep.runs
    assert (without.is_without_retrieval, without.as_of, with_it.as_of) == (True, None, searched.as_of)
    assert without.cases_hash == with_it.cases_hash == searched.cases_hash
    # By the scorers of answers alone: what was retrieved cannot be judged where nothing was.
    assert [spec["name"] for spec in with_it.scorers] == ["rouge_l"]
    assert not Result.objects.filter(run=without).exclude(retrieved=None).exists()
    answers = {row.case.variables["question"]: row.output for row in Result.objects.filter(run=with_it)}
    assert "within 14 days" in answers["How do I get my money back?"]
    # The run with it asks what was asked before, of the same documents: those answers are known.
    assert len(sandbox.calls()) == calls + 4
    assert sweep.result is not None
    assert sweep.result["quality"]["difference"] > 0
    compared = text(edith.get(started["Location"]))
    assert "with and without retrieval" in compared
    assert compared.count(">without retrieval<") == 1
    # A draft starts from the version as it is alone.
    assert compared.count("Draft with it") == 1
    with pytest.raises(Problem, match="by hand"):
        sweeps.open_draft(stage.edith, sweep, without)


def test_over_rest(stage: Stage, searched: Run, api_for: ApiFor):
    created = api_for(stage.edith).post(f"/api/v1/evaluations/{searched.pk}/without-retrieval", {}, format="json")

    assert created.status_code == 201, created.json()
    assert [run["without_retrieval"] for run in created.json()["runs"]] == [True, False]
    refused = api_for(stage.vera).post(f"/api/v1/evaluations/{searched.pk}/without-retrieval", {}, format="json")
    assert refused.status_code == 403


def test_a_run_without_retrieval_shows_its_template_nothing(
    stage: Stage, answering: PromptVersion, questions: Dataset, model: ProviderModel, sandbox: Running
):
    rendered = versions.render(answering, {"question": "Money back?"})
    assert "<documents" in rendered["messages"][1]["content"]
    run = make_run(stage, answering, questions, model, scorers=["rouge_l"], without_retrieval=True)
    finish(run.pk)

    # The sandbox says the question where no documents came with it.
    outputs = {row.case.variables["question"]: row.output for row in Result.objects.filter(run=run)}
    assert all(output == question for question, output in outputs.items())


@pytest.mark.parametrize(
    ("options", "pointer"),
    [
        ({"without_retrieval": True, "scorers": BOTH}, "/scorers/1"),
        ({"without_retrieval": True, "scorers": [JUDGE]}, "/scorers/0"),
        ({"without_retrieval": True, "as_of": timezone.now()}, "/as_of"),
        ({"as_of": timezone.now() + timedelta(days=3)}, "/as_of"),
    ],
)
def test_what_would_say_nothing_is_refused(
    stage: Stage,
    answering: PromptVersion,
    questions: Dataset,
    model: ProviderModel,
    options: dict[str, Any],
    pointer: str,
):
    rubric = {"messages": [{"role": "user", "content": "{{ documents }} {{ output }}"}], "model": {"name": "x"}}
    versions.commit(stage.edith, stage.prompt("judges.faithful"), content=rubric, message="x")

    with pytest.raises(Problem) as refused:
        make_run(stage, answering, questions, model, **{"scorers": ["rouge_l"], **options})

    assert [fault.pointer for fault in refused.value.faults] == [pointer]


def test_a_version_that_searches_nothing_has_nothing_to_compare(
    stage: Stage, version: PromptVersion, tickets: Dataset, model: ProviderModel, sandbox: Running, api_for: ApiFor
):
    with pytest.raises(Problem, match="searches no collection"):
        make_run(stage, version, tickets, model, without_retrieval=True)
    run = make_run(stage, version, tickets, model)
    with pytest.raises(Problem, match="searches no collection"):
        sweeps.without_retrieval(stage.edith, run)
    body = {"prompt": str(version), "dataset": "support.tickets", "models": [str(model)], "scorers": ["label"]}
    swept = {**body, "split": "", "also_without_retrieval": True}
    refused = api_for(stage.edith).post("/api/v1/sweeps", swept, format="json")
    assert refused.json()["errors"][0]["pointer"] == "/also_without_retrieval"
    assert "Compare with no retrieval" not in text(client_of(stage.edith).get(f"/p/paper/evaluations/{run.pk}/"))


def test_a_run_is_repeated_at_its_moment(stage: Stage, searched: Run, api_for: ApiFor):
    handbook = Collection.objects.get(name="handbook")
    documents.put(stage.edith, handbook, "refunds.md", REFUNDS.replace(b"14", b"30"))
    embed(handbook)
    body = {
        **{"prompt": str(searched.version), "dataset": "support.questions", "split": "", "model": str(searched.model)},
        **{"scorers": BOTH, "fresh": True},
    }

    repeated = api_for(stage.edith).post(
        "/api/v1/evaluations", {**body, "as_of": searched.as_of.isoformat()}, format="json"
    )
    finish(repeated.json()["id"])
    finish(now := api_for(stage.edith).post("/api/v1/evaluations", body, format="json").json()["id"])

    def outputs(run: int) -> set[str]:
        return set(Result.objects.filter(run=run).values_list("output", flat=True))

    assert outputs(repeated.json()["id"]) == outputs(searched.pk)
    assert outputs(now) != outputs(searched.pk)
    form = text(client_of(stage.edith).get(f"/p/paper/evaluations/{searched.pk}/"))
    assert "searched_at=" in form
    with pytest.raises(DatabaseError, match="never change"), transaction.atomic():
        Run.objects.filter(pk=searched.pk).update(as_of=None)
    with pytest.raises(DatabaseError), transaction.atomic():
        Run.objects.create(
            **{field.attname: getattr(searched, field.attname) for field in Run._meta.fields if field.attname != "id"}
            | {"is_without_retrieval": True}
        )


def test_the_command_measures_without(
    stage: Stage,
    answering: PromptVersion,
    questions: Dataset,
    model: ProviderModel,
    sandbox: Running,
    capsys: pytest.CaptureFixture[str],
):
    about = [
        "support.answer@1",
        "--dataset",
        "support.questions",
        "--model",
        str(model),
        "--project",
        "paper",
        "--here",
    ]
    call_command("evaluate", *about, "--scorer", "rouge_l", "--without-retrieval")
    assert Run.objects.get().is_without_retrieval
    call_command("compare_models", *about, "--scorer", "rouge_l", "--also-without-retrieval")
    assert f"{model} without retrieval: quality" in capsys.readouterr().out


def test_the_strategy_tells_both_rows(stage: Stage, searched: Run):
    prompt = searched.version.prompt
    evidence = evidence_collector.collect(prompt, Policy())
    assert (evidence.by_approach[benchmarks.PROMPT], evidence.by_approach[benchmarks.RETRIEVAL]) == (None, searched)
    page = text(client_of(stage.edith).get("/p/paper/prompts/support.answer/strategy/"))
    assert "can be compared with no retrieval" in page

    sweep = finished(sweeps.without_retrieval(stage.edith, searched))

    without, with_it = sweep.runs
    evidence = evidence_collector.collect(prompt, Policy())
    # What is decided by is the prompt as it is.
    assert evidence.run == with_it
    assert evidence.by_approach == {benchmarks.PROMPT: without, benchmarks.TUNED: None, benchmarks.RETRIEVAL: with_it}
    page = text(client_of(stage.edith).get("/p/paper/prompts/support.answer/strategy/"))
    assert f'Prompt engineering <a href="/p/paper/evaluations/{without.pk}/"' in page
    assert f'Retrieval and prompting <a href="/p/paper/evaluations/{with_it.pk}/"' in page
