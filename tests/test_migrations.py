"""Two ways to the newest schema: a new database takes the squashed migrations, an instance from before takes each one.
Both end with the same schema, and rows from before are all there."""

import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.utils import ProgrammingError
from django.utils import timezone
from pytest_django import DjangoDbBlocker

from registry.content.tokens import count

pytestmark = pytest.mark.slow
FIRST = [("registry", "0001_initial")]
# Where instances were before apps, tables and columns were renamed.
BEFORE = [
    ("finetunes", "0002_cross_validations_and_strategy"),
    ("evaluations", "0007_observations"),
    ("registry", "0007_deleted_keys_are_told"),
]
APPS = ("registry", "evaluations", "inference", "finetunes")
# Without the days of the table of calls, which are made as they come.
TABLES = r"^(registry|evaluations|inference|finetunes)_(?!call_\d)"
COLUMNS = """
    SELECT table_name, column_name, udt_name, is_nullable, is_identity, character_maximum_length, numeric_precision,
        numeric_scale, generation_expression, column_default
    FROM information_schema.columns WHERE table_name ~ %s
"""
# Names that Django made of a table's or column's former name are kept when that is renamed: definitions are compared.
CONSTRAINTS = """
    SELECT conrelid::regclass::text, contype::text, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE conrelid::regclass::text ~ %s AND contype <> 'n'
"""
# Not those that large example sets get for themselves.
INDEXES = """
    SELECT tablename, regexp_replace(indexdef, 'INDEX .* ON', 'INDEX ON') FROM pg_indexes
    WHERE tablename ~ %s AND indexdef !~ 'example_set_id = [0-9]'
"""
TRIGGERS = """
    SELECT tgrelid::regclass::text, pg_get_triggerdef(pg_trigger.oid), prosrc, obj_description(pg_trigger.oid)
    FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid WHERE tgrelid::regclass::text ~ %s AND NOT tgisinternal
"""
NAMES = "SELECT conname FROM pg_constraint UNION SELECT indexname FROM pg_indexes WHERE tablename ~ %s"


def rows_of(query: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(query, [TABLES])
        return list(cursor.fetchall())


def schema() -> set[str]:
    """Everything that makes up the schema of our tables, a line each."""
    lines = set()
    for kind, query in (("column", COLUMNS), ("constraint", CONSTRAINTS), ("index", INDEXES), ("trigger", TRIGGERS)):
        for row in rows_of(query):
            lines.add(f"{kind} " + " | ".join(re.sub(r"\s+", " ", str(value)) for value in row))
    return lines


@pytest.fixture(scope="module")
def newest_schema(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> set[str]:
    """The schema of the suite's own database, which was made from nothing."""
    with django_db_blocker.unblock():
        return schema()


@pytest.fixture
def other_database(newest_schema: set[str], django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """An empty database of our own in place of the suite's."""
    usual, other = connection.settings_dict["NAME"], f"{connection.settings_dict['NAME']}_from_before"

    def use(name: str) -> None:
        connection.close()
        connection.settings_dict["NAME"] = name

    with django_db_blocker.unblock():
        with connection.cursor() as cursor:
            cursor.execute(f'CREATE DATABASE "{other}"')
        use(other)
        yield
        use(usual)
        with connection.cursor() as cursor:
            cursor.execute(f'DROP DATABASE "{other}"')


def migrate_by_steps(targets: list[tuple[str, str]]) -> Any:
    """Migrate as instances did when there was nothing squashed; returns the models as they are there."""
    executor = MigrationExecutor(connection)
    executor.loader = MigrationLoader(connection, replace_migrations=False)
    executor.migrate(targets)
    return executor.loader.project_state(targets).apps


def test_rows_from_before_are_kept_and_the_schema_is_that_of_a_new_database(
    other_database: None, newest_schema: set[str]
):
    versions = add_versions_without_tokens(migrate_by_steps(FIRST))
    added = add_rows_from_before(migrate_by_steps(BEFORE))

    call_command("migrate", interactive=False, verbosity=0)

    new = MigrationLoader(connection).project_state().apps
    expect_heads_and_tokens(new, versions)
    expect_rows_from_before(new, added)
    assert schema() - newest_schema == set()
    assert newest_schema - schema() == set()
    names = {name for (name,) in rows_of(NAMES)}
    for app in APPS:
        for model in apps.get_app_config(app).get_models():
            declared = {part.name for part in (*model._meta.constraints, *model._meta.indexes)}
            assert declared <= names, model


def test_a_providers_kind_says_what_is_a_simulation_and_back(other_database: None):
    before, after = [("evaluations", "0028_runs_without_retrieval")], [("evaluations", "0029_provider_kinds")]
    MigrationExecutor(connection).migrate(before)
    old = MigrationLoader(connection).project_state(before).apps
    project = old.get_model("registry", "Project").objects.create(name="A", slug="a")
    for name, is_simulation in (("sandbox", True), ("openai", False)):
        old.get_model("evaluations", "Provider").objects.create(
            project=project, name=name, is_simulation=is_simulation, created_by_name="x"
        )
    for _ in range(2):
        MigrationExecutor(connection).migrate(after)
        assert providers_with("kind", "is_simulation") == [("openai", "remote", False), ("sandbox", "sandbox", True)]
        MigrationExecutor(connection).migrate(before)
        assert providers_with("is_simulation") == [("openai", False), ("sandbox", True)]


def providers_with(*columns: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT name, {', '.join(columns)} FROM evaluations_provider ORDER BY name")
        return list(cursor.fetchall())


def add_versions_without_tokens(old: Any) -> dict[str, Any]:
    """Versions of when neither their tokens nor their prompt's newest version were kept."""
    project = old.get_model("registry", "Project").objects.create(slug="older", name="Older")
    prompts, versions = (old.get_model("registry", name).objects for name in ("Prompt", "PromptVersion"))
    tone, triage, empty = (
        prompts.create(project=project, name=name, created_by_name="x") for name in ("tone", "sort", "empty")
    )

    def version(prompt: Any, number: int, text: str) -> Any:
        digest = f"sha256:{prompt.pk * 100 + number:064x}"
        content = {"kind": "text", "text": text}
        return versions.create(prompt=prompt, number=number, content=content, content_hash=digest, author_name="x")

    kind = version(tone, 1, "Be kind to everybody.")
    version(triage, 1, "Sort.")
    newest = version(triage, 2, "Sort kindly.")
    old.get_model("registry", "Inclusion").objects.create(version=newest, name="tone", included=kind)
    return {"newest": newest, "empty": empty}


def expect_heads_and_tokens(new: Any, versions: dict[str, Any]) -> None:
    rows = {row.name: row for row in new.get_model("registry", "Prompt").objects.select_related("head")}
    assert (rows["sort"].head.number, rows["sort"].head_text) == (2, "Sort kindly.")
    assert rows["empty"].head is None
    assert versions["empty"].pk == rows["empty"].pk
    tokens = dict(new.get_model("registry", "PromptVersion").objects.values_list("pk", "tokens"))
    assert tokens[versions["newest"].pk] == count("Sort kindly.").tokens + count("Be kind to everybody.").tokens
    with pytest.raises(ProgrammingError, match="insert-only"):
        new.get_model("registry", "PromptVersion").objects.update(tokens=0)


def add_rows_from_before(old: Any) -> SimpleNamespace:
    """A row of each kind whose table, columns or states have other names now."""

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

    return SimpleNamespace(
        version=version, first=first, second=second, lineup=lineup, pair=pair, batch=batch, trial=trial,
        dataset=dataset, call=call, monitor=monitor, config=config, training_set=training_set, tuner=tuner,
    )  # fmt: skip


def expect_rows_from_before(new: Any, added: SimpleNamespace) -> None:
    def get(app: str, name: str, key: int) -> Any:
        return new.get_model(app, name).objects.get(pk=key)

    comparisons = new.get_model("evaluations", "Comparison").objects
    entries = new.get_model("evaluations", "ComparisonRun").objects
    sweep = comparisons.exclude(pk=added.pair.pk).get()
    assert (sweep.swept_id, sweep.slas, sweep.state, sweep.by_name) == (
        added.version.pk,
        {"quality": 0.8},
        "done",
        "edith",
    )
    assert sweep.created_at == added.lineup.created_at
    assert sweep.result["rows"][0]["slas"] == []
    assert set(new.get_model("evaluations", "Run").objects.values_list("sweep", "repetitions")) == {(sweep.pk, 2)}
    ordered = entries.order_by("comparison", "position").values_list("comparison", "run")
    assert set(ordered.filter(comparison=sweep)) == {(sweep.pk, added.first.pk), (sweep.pk, added.second.pk)}
    assert list(ordered.filter(comparison=added.pair.pk)) == [
        (added.pair.pk, added.second.pk),
        (added.pair.pk, added.first.pk),
    ]
    assert get("evaluations", "RunBatch", added.batch.pk).state == "running"
    assert get("evaluations", "PlaygroundRun", added.trial.pk).content == added.version.content
    assert get("evaluations", "Dataset", added.dataset.pk).split_ratios == {"test": 100}
    assert get("inference", "Call", added.call.pk).reference == "1"
    assert get("inference", "Monitor", added.monitor.pk).min_calls == 7
    assert get("inference", "InferenceConfig", added.config.pk).task == "triage"
    assert get("finetunes", "TrainingSet", added.training_set.pk).state == "done"
    assert get("finetunes", "FineTuningSettings", added.tuner.pk).protocol == "openai"
