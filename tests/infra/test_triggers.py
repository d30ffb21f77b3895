"""History cannot be rewritten, not even with SQL."""

from typing import Any

import pytest
from django.apps import apps
from django.db import DatabaseError, connection, transaction

from evaluations.data_quality import reports
from evaluations.datasets import lifecycle as datasets
from evaluations.models import (
    Case,
    CaseImage,
    CaseRemoval,
    Comparison,
    ComparisonRun,
    DatasetVersion,
    Finding,
    LeakageOverride,
    ModelPrice,
    PlaygroundRun,
    Report,
    Result,
    Run,
    Synthesis,
)
from evaluations.providers import configuration as providers
from evaluations.runs import lifecycle as runs
from evaluations.runs.planning import RunSettings
from finetunes.jobs import provider_settings
from finetunes.models import (
    CrossValidation,
    FineTune,
    FineTuningPrice,
    Guide,
    StrategyPolicy,
    StrategyRecommendation,
    TrainingFile,
    TrainingSet,
    TuneCheckpoint,
    TunedModel,
    TuneEvent,
)
from inference.models import (
    Alert,
    Call,
    CallText,
    Experiment,
    ExperimentArm,
    ExperimentEvent,
    ExperimentRun,
    ExperimentUnit,
    Feedback,
    InferenceConfig,
    Monitor,
    NightlyRun,
    ReleaseWatch,
    ShadowPair,
)
from inference.monitoring import watches
from registry.accounts.permissions import SCOPE_RIGHTS, Actor
from registry.examples import example_sets
from registry.models import (
    AuditEntry,
    Chunk,
    Document,
    DocumentRevision,
    Example,
    ExamplePlace,
    ExampleSetVersion,
    Inclusion,
    Invitation,
    PromotionContributor,
    PromptVersion,
    Release,
    Review,
    Scope,
    UploadedImage,
    VersionCheck,
)
from registry.promotions import checks, workflow
from registry.retrieval import collections, documents
from tests.conftest import Stage
from tests.image_files import as_data, png
from tests.inference.experiments.conftest import make_lab

INSERT_ONLY = [
    AuditEntry,
    PromotionContributor,
    Case,
    CaseImage,
    CaseRemoval,
    DatasetVersion,
    Example,
    ExamplePlace,
    ExampleSetVersion,
    ExperimentEvent,
    Finding,
    Inclusion,
    LeakageOverride,
    ComparisonRun,
    ModelPrice,
    Document,
    DocumentRevision,
    PromptVersion,
    Release,
    Result,
    Review,
    StrategyPolicy,
    StrategyRecommendation,
    TrainingFile,
    TuneCheckpoint,
    TuneEvent,
    FineTuningPrice,
    VersionCheck,
]
# What was agreed on stays; what comes of it is counted on the row.
FROZEN = [
    ReleaseWatch,
    Alert,
    CrossValidation,
    Experiment,
    ExperimentArm,
    ExperimentRun,
    FineTune,
    Guide,
    InferenceConfig,
    Invitation,
    NightlyRun,
    Comparison,
    Run,
    Synthesis,
    TrainingSet,
    PlaygroundRun,
    TunedModel,
]

# The same of rows that go one day; tests/inference/calls/test_log.py and tests/registry/images try to change them.
FROZEN_WHILE_KEPT = [Monitor, Call, CallText, ExperimentUnit, Feedback, ShadowPair, UploadedImage, Chunk]


@pytest.fixture(scope="module")
def history(shared_stage: Stage) -> None:
    """One row of each kind."""
    stage = shared_stage
    stage.commit(stage.prompt("shared.tone"), "Be kind")
    version = stage.commit(stage.prompt(), "{% include 'shared.tone' %}")
    stage.release(version)
    robot = Actor(stage.project, "ci", SCOPE_RIGHTS[Scope.WRITE])
    checks.record(robot, version, name="quality", status="passed")
    promotion = workflow.request(stage.edith, version.prompt, version, stage.environment("staging"))
    workflow.add_comment(stage.edith, promotion, comment="Hello")
    example_sets.commit(
        stage.edith, example_sets.create(stage.edith, name="shots"), examples=[{"input": "a", "output": "b"}]
    )
    dataset = datasets.create(stage.edith, name="tickets")
    same = {"variables": {"ticket": "The export hangs", "shot": as_data(png())}}
    loaded = datasets.change(stage.edith, dataset, added=[{**same, "split": split} for split in ("train", "test")])
    report = Report.objects.get(version=loaded.version, kind="leakage")
    reports.make_report(report)
    reports.override_leakage(stage.ada, loaded.version, reason="A test")
    first = Case.objects.filter(dataset=dataset).first()
    assert first
    datasets.change(stage.edith, dataset, removed=[first.pk])
    model = providers.add_model(stage.ada, providers.create(stage.ada, name="sandbox", kind="sandbox"), "small")
    providers.set_price(stage.ada, model, {"input": 1, "output": 2})
    run = runs.create(stage.edith, RunSettings(version, loaded.version, ["exact"], model))
    Result.objects.create(run=run, case=first)
    comparison = Comparison.objects.create(project=stage.project, margin=0.02, by_name="edith")
    ComparisonRun.objects.create(comparison=comparison, run=run, position=0)
    provider_settings.set_price(stage.ada, model, {"training": 1})
    training_set = TrainingSet.objects.create(
        project=stage.project,
        dataset_version=loaded.version,
        source=version,
        prompt=version,
        method="supervised",
        recipe_hash="x",
        by_name="edith",
    )
    monitor = Monitor.objects.create(
        project=stage.project, prompt=version.prompt, environment="x", figure="score", bound=0.5, by_name="edith"
    )
    Alert.objects.create(monitor=monitor, calls=1)
    watches.begin()
    InferenceConfig.objects.create(project=stage.project, task="sort", holder=version.prompt, by_name="edith")
    Guide.objects.create(project=stage.project, name="sorting", by_name="edith")
    StrategyPolicy.objects.create(project=stage.project, number=1, members={}, by_name="ada")
    StrategyRecommendation.objects.create(
        project=stage.project, policy="seed", policy_members={}, inputs={}, strategy="prompt", result={}, by_name="ada"
    )
    TrainingFile.objects.create(training_set=training_set, file="train", number=1, data=b"{}")
    CrossValidation.objects.create(
        project=stage.project,
        training_set=training_set,
        model=model,
        folds=5,
        sets=[],
        hyperparameters={},
        baseline=version,
        scorers=[],
        is_simulation=True,
        by_name="edith",
    )
    job = FineTune.objects.create(
        project=stage.project,
        training_set=training_set,
        model=model,
        is_simulation=True,
        hyperparameters={},
        baseline=version,
        scorers=[],
        estimate={},
        by_name="edith",
    )
    TuneEvent.objects.create(job=job, remote_id="1", at=job.created_at, level="info", message="Hello")
    handbook = collections.create(stage.edith, name="handbook")
    documents.put(stage.edith, handbook, "refunds.md", b"# Refunds")
    TuneCheckpoint.objects.create(job=job, remote_id="1", step=1, model_name="ft:x")
    make_lab(stage, "support.answer").start()


@pytest.mark.parametrize("model", INSERT_ONLY)
@pytest.mark.parametrize("act", ["update", "delete", "truncate"])
@pytest.mark.usefixtures("history", "db")
def test_postgresql_refuses_to_change_history(model: Any, act: str):
    table = connection.ops.quote_name(model._meta.db_table)
    assert model.objects.exists()
    with connection.cursor() as cursor:
        # Deferred foreign keys of this test's own inserts would refuse a TRUNCATE before our trigger does.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")

    with (
        pytest.raises(DatabaseError, match="insert-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(
            {
                "update": f"UPDATE {table} SET id = id",
                "delete": f"DELETE FROM {table}",
                "truncate": f"TRUNCATE {table} CASCADE",
            }[act]
        )


def test_every_insert_only_model_is_in_this_list():
    guarded = {
        model
        for app in ("registry", "evaluations", "inference", "finetunes")
        for model in apps.get_app_config(app).get_models()
        if [
            trigger
            for trigger in getattr(model._meta, "triggers", None) or ()
            if not trigger.name.startswith(("tell_delivery", "revoke_keys"))
        ]
    }

    assert guarded == {*INSERT_ONLY, *FROZEN, *FROZEN_WHILE_KEPT}
