"""Whatever the OpenAPI document allows, and much that it does not, is answered as the document says: never a 500."""

from typing import Any

import pytest
import schemathesis
from django.core.wsgi import get_wsgi_application
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from registry.accounts import api_keys, permissions
from tests.conftest import Stage

# Without the answers that are ready in front of it: a test's transaction tells nobody what has changed in it.
application = get_wsgi_application()
schema = schemathesis.openapi.from_wsgi("/api/v1/schema", application)
OPERATIONS = {result.ok().label: result.ok() for result in schema.get_all_operations()}
pytestmark = pytest.mark.usefixtures("one_connection")
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def token(shared_stage: Stage) -> str:
    """A key for a project with something in it, so that some guesses are right."""
    stage = shared_stage
    tone = stage.commit(stage.prompt("shared.tone"), "Be kind")
    stage.release(tone)
    for name in ("0", "a"):
        stage.release(stage.commit(stage.prompt(name), "{% include 'shared.tone' %} {{ x }}"), "staging")
    root = permissions.actor_for_command_line(stage.project)
    return api_keys.issue(root, name="fuzz", scopes=["read", "write", "observe"])[1]


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
