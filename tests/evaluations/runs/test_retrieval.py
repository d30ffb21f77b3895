"""Runs of prompts that search: as of their start, judged by their sources, and re-scored without searching again."""

from evaluations.models import Dataset, ProviderModel, Result, Run
from evaluations.runs import lifecycle as runs
from evaluations.runs.worker import TickResult, tick
from registry.models import Collection, PromptVersion
from registry.prompts import versions
from registry.retrieval import documents
from registry.retrieval.context import retrieved_documents
from tests.conftest import ApiFor, Stage
from tests.evaluations.conftest import make_run
from tests.evaluations.runs.conftest import QUESTIONS
from tests.evaluations.runs.test_worker import again
from tests.registry.retrieval.conftest import REFUNDS, embed
from tests.sandbox import Running

SCORERS = ["source_hit", "source_rank", "source_ndcg"]


def finish(run: Run) -> Run:
    assert tick(run) == TickResult.OVER
    return again(run)


def test_sources_are_judged_and_told(
    stage: Stage, answering: PromptVersion, questions: Dataset, model: ProviderModel, sandbox: Running, api_for: ApiFor
):
    run = finish(make_run(stage, answering, questions, model, scorers=SCORERS))

    rows = {row.case.variables["question"]: row for row in Result.objects.filter(run=run).select_related("case")}
    for question, (_, sources) in QUESTIONS.items():
        row = rows[question]
        assert row.retrieved is not None
        # A question that nothing answers is left out of these figures.
        assert set(row.scores) == (set(SCORERS) if sources else set())
        if sources:
            assert row.retrieved[0]["source"] == sources[0]
            assert row.scores["source_rank"]["value"] == 1
    listed = api_for(stage.edith).get(f"/api/v1/evaluations/{run.pk}/results").json()["results"]
    assert all(row["retrieved"][0].keys() == {"source", "revision", "chunk", "start", "end", "score"} for row in listed)


def test_a_run_searches_as_of_its_start_and_is_scored_again_without_searching(
    stage: Stage, answering: PromptVersion, questions: Dataset, model: ProviderModel, sandbox: Running
):
    waiting = make_run(stage, answering, questions, model, scorers=["source_hit"])
    handbook = Collection.objects.get(name="handbook")
    documents.put(stage.edith, handbook, "refunds.md", REFUNDS.replace(b"14", b"30"))
    embed(handbook)

    first = finish(waiting)
    second = finish(make_run(stage, answering, questions, model, scorers=["source_hit"]))

    def revisions(run: Run) -> set[int]:
        rows = Result.objects.filter(run=run)
        return {chunk["revision"] for row in rows for chunk in row.retrieved if chunk["source"] == "refunds.md"}

    assert (revisions(first), revisions(second)) == ({1}, {2})
    judged = finish(runs.rescore(stage.edith, first, ["source_rank"]))
    assert revisions(judged) == {1}
    assert Result.objects.filter(run=judged, scores__has_key="source_rank").count() == 3


def test_a_judge_reads_what_was_retrieved(
    stage: Stage, answering: PromptVersion, questions: Dataset, model: ProviderModel, sandbox: Running
):
    rubric = {
        "messages": [{"role": "user", "content": '{{ documents }} {{ output }} Answer {"score": 1, "reason": "x"}'}],
        "model": {"name": "sandbox-small", "temperature": 0},
    }
    versions.commit(stage.edith, stage.prompt("judges.faithful"), content=rubric, message="x")
    judge = {"scorer": "judge", "parameters": {"prompt": "judges.faithful@1", "model": "sandbox/sandbox-small"}}
    run = finish(make_run(stage, answering, questions, model, scorers=[judge]))
    handbook = Collection.objects.get(name="handbook")
    documents.put(stage.edith, handbook, "refunds.md", REFUNDS.replace(b"14", b"30"))

    row = Result.objects.get(run=run, case__variables__question="How do I get my money back?")
    retrieval = answering.content["retrieval"]
    framed = retrieved_documents(stage.project.pk, retrieval, row.retrieved or [])

    # What the model was shown, and not what the document says now.
    assert "within 14 days" in framed
    prompt_tokens = {call["usage"]["prompt_tokens"] for call in sandbox.calls()}
    assert len(sandbox.calls()) == 8
    assert max(prompt_tokens) > 60
