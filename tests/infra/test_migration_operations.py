"""Operations together: the same tables as one by one, and undone as well."""

import pgtrigger
import pytest
from django.db import connection, models
from django.db.migrations import CreateModel
from django.db.migrations.state import ProjectState
from pgtrigger.migrations import AddTrigger

from infra.migration_operations import Together

TABLES = "SELECT tablename FROM pg_tables WHERE tablename LIKE 'infra_%'"
DETAILS = """
SELECT indexname FROM pg_indexes WHERE tablename LIKE 'infra_%'
UNION SELECT tgname FROM pg_trigger WHERE tgrelid::regclass::text LIKE 'infra_%' AND NOT tgisinternal
"""


def names(query: str) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return {name for (name,) in cursor.fetchall()}


@pytest.mark.django_db
def test_what_belongs_together_is_made_and_undone():
    trigger = pgtrigger.Protect(name="keep_it", operation=pgtrigger.Delete)
    together = Together(
        [
            CreateModel("Box", [("id", models.BigAutoField(primary_key=True))]),
            CreateModel(
                "Thing",
                [
                    ("id", models.BigAutoField(primary_key=True)),
                    ("box", models.ForeignKey("infra.Box", on_delete=models.CASCADE)),
                    ("name", models.TextField()),
                ],
                options={"indexes": [models.Index(fields=["name"], name="thing_by_name")]},
            ),
            AddTrigger("thing", trigger),
        ]
    )
    before = ProjectState()
    after = before.clone()
    together.state_forwards("infra", after)

    with connection.schema_editor() as editor:
        together.database_forwards("infra", editor, before, after)

    assert names(TABLES) == {"infra_box", "infra_thing"}
    assert "thing_by_name" in names(DETAILS)
    assert any(name.startswith("pgtrigger_keep_it") for name in names(DETAILS))

    with connection.schema_editor() as editor:
        together.database_backwards("infra", editor, after, before)

    assert names(TABLES) == set()
