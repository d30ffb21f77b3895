"""A waiting row of each kind of work, for tests that every kind has to pass."""

from collections.abc import Callable
from typing import Any

from django.utils import timezone

from evaluations.datasets import lifecycle as datasets
from evaluations.models import (
    Comparison,
    DatasetImport,
    DatasetVersion,
    PlaygroundRun,
    ProviderModel,
    Report,
    RunBatch,
    Synthesis,
)
from evaluations.providers import configuration as providers
from finetunes.models import CrossValidation, FineTune, TrainingSet
from infra.work import WorkItem
from registry.examples import example_sets
from registry.models import CollectionEmbedding, Embedding, PromptVersion
from registry.retrieval import collections
from tests.conftest import Stage
from tests.evaluations.conftest import cases, make_run


def make_row(stage: Stage, kind: type[WorkItem]) -> Any:
    """A row of this kind that waits for a worker. A new kind is added to MAKERS."""
    return MAKERS[kind](Parts(stage))


class Parts:
    """What rows of work refer to, created when it is asked for."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    @property
    def version(self) -> PromptVersion:
        return self.stage.commit(self.stage.prompt("support.route"), "Sort.")

    @property
    def dataset_version(self) -> DatasetVersion:
        dataset = datasets.create(self.stage.edith, name="support.tickets")
        datasets.change(self.stage.edith, dataset, added=cases(6))
        head = datasets.get_dataset(self.stage.project, "support.tickets").head
        assert head
        return head

    @property
    def model(self) -> ProviderModel:
        provider = providers.create(self.stage.ada, name="sandbox", kind="sandbox")
        return providers.add_model(self.stage.ada, provider, "sandbox-small")


def collection_embedding(parts: Parts) -> CollectionEmbedding:
    collection = collections.create(parts.stage.edith, name="support.handbook")
    return CollectionEmbedding.objects.create(collection=collection)


def embedding(parts: Parts) -> Embedding:
    example_set = example_sets.create(parts.stage.edith, name="support.shots")
    examples = [{"input": "Hi", "output": "greeting"}]
    version = example_sets.commit(parts.stage.edith, example_set, examples=examples, message="").version
    return Embedding.objects.create(version=version, embedder="test")


def dataset_import(parts: Parts) -> DatasetImport:
    return DatasetImport.objects.create(
        dataset=parts.dataset_version.dataset, filename="x.jsonl", format="jsonl", state="pending", by_name="edith"
    )


def report(parts: Parts) -> Report:
    version = parts.dataset_version
    return Report.objects.filter(version=version).first() or Report.objects.create(version=version, kind="leakage")


def synthesis(parts: Parts) -> Synthesis:
    return Synthesis.objects.create(
        dataset=parts.dataset_version.dataset, model=parts.model, requested=2, variables=["ticket"], by_name="edith"
    )


def run_batch(parts: Parts) -> RunBatch:
    run = make_run(parts.stage, parts.version, parts.dataset_version.dataset, parts.model)
    return run.batches.get()


def playground_run(parts: Parts) -> PlaygroundRun:
    version = parts.version
    return PlaygroundRun.objects.create(
        project=parts.stage.project, prompt=version.prompt, version=version, content=version.content, by_name="edith"
    )


def comparison(parts: Parts) -> Comparison:
    return Comparison.objects.create(project=parts.stage.project, margin=0.02, by_name="edith")


def training_set(parts: Parts) -> TrainingSet:
    version = parts.version
    return TrainingSet.objects.create(
        project=parts.stage.project,
        dataset_version=parts.dataset_version,
        source=version,
        prompt=version,
        method="supervised",
        recipe_hash="sha256:0",
        by_name="edith",
    )


def cross_validation(parts: Parts) -> CrossValidation:
    row = training_set(parts)
    return CrossValidation.objects.create(
        project=parts.stage.project,
        training_set=row,
        model=parts.model,
        folds=2,
        sets=[],
        hyperparameters={},
        baseline=row.source,
        scorers=[],
        is_simulation=True,
        by_name="edith",
    )


def fine_tune(parts: Parts) -> FineTune:
    row = training_set(parts)
    return FineTune.objects.create(
        project=parts.stage.project,
        training_set=row,
        model=parts.model,
        provider_name="sandbox",
        model_name="sandbox-small",
        is_simulation=True,
        hyperparameters={},
        baseline=row.source,
        scorers=[],
        estimate={},
        state="validating",
        next_poll_at=timezone.now(),
        by_name="edith",
    )


MAKERS: dict[type[WorkItem], Callable[[Parts], WorkItem]] = {
    CollectionEmbedding: collection_embedding,
    Comparison: comparison,
    CrossValidation: cross_validation,
    DatasetImport: dataset_import,
    Embedding: embedding,
    FineTune: fine_tune,
    PlaygroundRun: playground_run,
    Report: report,
    RunBatch: run_batch,
    Synthesis: synthesis,
    TrainingSet: training_set,
}
