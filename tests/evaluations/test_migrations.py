"""An instance with data from before apps and tables were renamed is brought up to date, and keeps everything."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

pytestmark = pytest.mark.slow
BEFORE = [
    ("inference", None),
    ("finetunes", "0002_cross_validations_and_strategy"),
    ("evaluations", "0007_observations"),
    ("registry", "0007_deleted_keys_are_told"),
]


def migrate(targets: list[tuple[str, str | None]]) -> Any:
    """Migrate to these; returns the models as they are there."""
    executor = MigrationExecutor(connection)
    executor.migrate(targets)
    nodes = [(app, name) for app, name in targets if name is not None]
    return MigrationExecutor(connection).loader.project_state(nodes).apps


@pytest.fixture
def newest(transactional_db: None) -> Iterator[Any]:
    yield lambda: migrate(MigrationExecutor(connection).loader.graph.leaf_nodes())
    migrate(MigrationExecutor(connection).loader.graph.leaf_nodes())


def test_rows_from_before_are_there_under_their_new_names(newest: Any):
    old = migrate(BEFORE)

    def add(app: str, name: str, /, **members: Any) -> Any:
        return old.get_model(app, name).objects.create(**members)

    project = add("registry", "Project", slug="old", name="Old")
    prompt = add("registry", "Prompt", project=project, name="triage", created_by_name="x")
    content = {"kind": "text", "text": "Sort."}
    version = add(
        *("registry", "PromptVersion"),
        prompt=prompt,
        number=1,
        content=content,
        content_hash=f"sha256:{1:064x}",
        author_name="x",
        tokens=2,
    )
    dataset = add(
        "evaluations", "Dataset", project=project, name="tickets", seed=1, shares={"test": 100}, created_by_name="x"
    )
    dataset_version = add(
        *("evaluations", "DatasetVersion"),
        dataset=dataset,
        number=1,
        content_hash=f"sha256:{2:064x}",
        seed=1,
        shares={"test": 100},
        size=1,
        sizes={"test": 1},
        author_name="x",
    )
    provider = add("evaluations", "Provider", project=project, name="sandbox", base_url="http://x", created_by_name="x")
    model = add("evaluations", "ProviderModel", provider=provider, name="small")
    lineup = add(
        *("evaluations", "Lineup"),
        project=project,
        swept=version,
        budget_usd=3,
        margin=0.02,
        levels={"quality": 0.8},
        state="done",
        result={"rows": [{"run": 1, "levels": [], "cost": None, "latency": None, "against": None}], "shown": 1},
        by_name="edith",
    )

    def run(**members: Any) -> Any:
        fixed = {"project": project, "version": version, "dataset_version": dataset_version, "model": model}
        fixed |= {"provider_name": "sandbox", "model_name": "small", "is_simulation": True, "parameters": {}}
        return add("evaluations", "Run", **fixed, scorers=[], repeats=2, cases=1, estimate={}, by_name="x", **members)

    first, second = run(sweep=lineup), run(sweep=lineup)
    for place, member in enumerate((first, second)):
        add("evaluations", "LineupRun", lineup=lineup, run=member, place=place)
    pair = add(
        "evaluations", "Comparison", project=project, baseline=second, candidate=first, margin=0.05, by_name="edith"
    )
    batch = add("evaluations", "RunBatch", run=first, number=1, cases=[1], state="claimed", beat_at=timezone.now())
    trial = add("evaluations", "Trial", project=project, prompt=prompt, content=content, state="done", by_name="x")
    call = add(
        "evaluations", "Observation", project=project, version=version, environment="production", reference="1",
        at=timezone.now(),
    )  # fmt: skip
    monitor = add(
        "evaluations", "Monitor", project=project, prompt=prompt, environment="production", figure="calls", bound=1,
        fewest=7, by_name="x",
    )  # fmt: skip
    config = add("finetunes", "InferenceConfig", project=project, task="triage", holder=prompt, by_name="x")
    training_set = add(
        "finetunes", "TrainingSet", project=project, dataset_version=dataset_version, source=version, prompt=version,
        method="supervised", recipe_hash="sha256:0", state="ready", by_name="x",
    )  # fmt: skip
    tuner = add("finetunes", "Tuner", provider=provider, dialect="openai")

    new = newest()

    def get(app: str, name: str, key: int) -> Any:
        return new.get_model(app, name).objects.get(pk=key)

    comparisons = new.get_model("evaluations", "Comparison").objects
    entries = new.get_model("evaluations", "ComparisonRun").objects
    sweep = comparisons.exclude(pk=pair.pk).get()
    assert (sweep.swept_id, sweep.slas, sweep.state, sweep.by_name) == (version.pk, {"quality": 0.8}, "done", "edith")
    assert sweep.created_at == lineup.created_at
    assert sweep.result["rows"][0]["slas"] == []
    assert set(new.get_model("evaluations", "Run").objects.values_list("sweep", "repetitions")) == {(sweep.pk, 2)}
    ordered = entries.order_by("comparison", "position").values_list("comparison", "run")
    assert set(ordered.filter(comparison=sweep)) == {(sweep.pk, first.pk), (sweep.pk, second.pk)}
    assert list(ordered.filter(comparison=pair.pk)) == [(pair.pk, second.pk), (pair.pk, first.pk)]
    assert get("evaluations", "RunBatch", batch.pk).state == "running"
    assert get("evaluations", "PlaygroundRun", trial.pk).content == content
    assert get("evaluations", "Dataset", dataset.pk).split_ratios == {"test": 100}
    assert get("inference", "Call", call.pk).reference == "1"
    assert get("inference", "Monitor", monitor.pk).min_calls == 7
    assert get("inference", "InferenceConfig", config.pk).task == "triage"
    assert get("finetunes", "TrainingSet", training_set.pk).state == "done"
    assert get("finetunes", "FineTuningSettings", tuner.pk).protocol == "openai"
