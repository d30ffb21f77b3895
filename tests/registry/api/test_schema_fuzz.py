"""Whatever the OpenAPI document allows, and much that it does not, is answered as the document says: never a 500."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.wsgi import get_wsgi_application
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from registry.accounts import api_keys, permissions
from tests.conftest import make_stage

# Without the answers that are ready in front of it: a test's transaction tells nobody what has changed in it.
application = get_wsgi_application()
schema = schemathesis.openapi.from_wsgi("/api/v1/schema", application)
OPERATIONS = {result.ok().label: result.ok() for result in schema.get_all_operations()}
pytestmark = pytest.mark.usefixtures("one_connection")
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def token(django_db_setup: None, django_db_blocker: Any) -> Iterator[str]:
    """A key for a project with something in it, so that some guesses are right. It is made once, in a transaction
    around those of the tests."""
    with django_db_blocker.unblock(), transaction.atomic():
        stage = make_stage()
        tone = stage.commit(stage.prompt("shared.tone"), "Be kind")
        stage.release(tone)
        for name in ("0", "a"):
            stage.release(stage.commit(stage.prompt(name), "{% include 'shared.tone' %} {{ x }}"), "staging")
        root = permissions.actor_for_command_line(stage.project)
        yield api_keys.issue(root, name="fuzz", scopes=["read", "write", "observe"])[1]
        transaction.set_rollback(True)


@pytest.mark.parametrize("label", OPERATIONS)
def test_every_operation_answers_as_documented(label: str, token: str, db: None):
    """With what fits its schema and with what does not. By label and not by schemathesis' own parametrisation, whose
    tests have one name, of which xdist runs one."""
    operation = OPERATIONS[label]

    @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
    def answers(case: Any) -> None:
        case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, checks=CHECKS)

    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        given(operation.as_strategy(generation_mode=mode))(answers)()
