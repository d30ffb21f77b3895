"""History cannot be rewritten, not even by somebody with SQL."""

from typing import Any

import pytest
from django.apps import apps
from django.db import DatabaseError, connection, transaction

from registry import checks, promotion
from registry.access import SCOPE_RIGHTS, Actor
from registry.models import AuditEntry, Inclusion, PromptVersion, Release, Review, Scope, VersionCheck
from tests.conftest import Stage

INSERT_ONLY = [AuditEntry, Inclusion, PromptVersion, Release, Review, VersionCheck]


@pytest.fixture
def history(stage: Stage) -> None:
    """One row of each kind."""
    stage.commit(stage.prompt("shared.tone"), "Be kind")
    version = stage.commit(stage.prompt(), "{% include 'shared.tone' %}")
    stage.release(version)
    robot = Actor(stage.project, "ci", SCOPE_RIGHTS[Scope.WRITE])
    checks.record(robot, version, name="quality", status="passed")
    asked = promotion.request(stage.edith, version.prompt, version, stage.environment("staging"))
    promotion.add_comment(stage.edith, asked, comment="Hello")


@pytest.mark.parametrize("model", INSERT_ONLY)
@pytest.mark.parametrize("act", ["update", "delete", "truncate"])
@pytest.mark.usefixtures("history")
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
        model for model in apps.get_app_config("registry").get_models() if getattr(model._meta, "triggers", None)
    }

    assert guarded == set(INSERT_ONLY)
