"""Migrations of an instance with data: new columns are filled from existing rows."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import ProgrammingError

from registry.content.tokens import count

pytestmark = pytest.mark.slow


def migrate(name: str) -> Any:
    """The registry at a migration; returns its models as they are there."""
    executor = MigrationExecutor(connection)
    executor.migrate([("registry", name)])
    return MigrationExecutor(connection).loader.project_state([("registry", name)]).apps


@pytest.fixture
def back_and_forth(transactional_db: None) -> Iterator[None]:
    yield
    executor = MigrationExecutor(connection)
    # Of every app: those that build on the registry went back with it.
    executor.migrate(executor.loader.graph.leaf_nodes())


def test_heads_and_tokens_are_filled_for_versions_from_before(back_and_forth: None):
    old = migrate("0001_initial")
    project = old.get_model("registry", "Project").objects.create(slug="old", name="Old")
    prompts, versions = (old.get_model("registry", name).objects for name in ("Prompt", "PromptVersion"))
    tone, triage, empty = (
        prompts.create(project=project, name=name, created_by_name="x") for name in ("tone", "triage", "empty")
    )

    def version(prompt: Any, number: int, text: str) -> Any:
        digest = f"sha256:{prompt.pk * 100 + number:064x}"
        content = {"kind": "text", "text": text}
        return versions.create(prompt=prompt, number=number, content=content, content_hash=digest, author_name="x")

    kind = version(tone, 1, "Be kind to everybody.")
    version(triage, 1, "Sort.")
    newest = version(triage, 2, "Sort kindly.")
    old.get_model("registry", "Inclusion").objects.create(version=newest, name="tone", included=kind)

    new = migrate("0004_tokens_required_text_index")

    rows = {row.name: row for row in new.get_model("registry", "Prompt").objects.select_related("head")}
    assert (rows["triage"].head.number, rows["triage"].head_text) == (2, "Sort kindly.")
    assert rows["empty"].head is None
    assert empty.pk == rows["empty"].pk
    tokens = dict(new.get_model("registry", "PromptVersion").objects.values_list("pk", "tokens"))
    assert tokens[newest.pk] == count("Sort kindly.").tokens + count("Be kind to everybody.").tokens
    with pytest.raises(ProgrammingError, match="insert-only"):
        new.get_model("registry", "PromptVersion").objects.update(tokens=0)
