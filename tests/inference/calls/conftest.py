"""What tests of calls have in common."""

from typing import Any

import pytest

from registry.accounts import permissions
from registry.accounts.permissions import Actor
from registry.models import PromptVersion
from tests.conftest import Stage


@pytest.fixture
def version(stage: Stage) -> PromptVersion:
    return stage.commit(stage.prompt(), "Sort it.")


@pytest.fixture
def service(stage: Stage) -> Actor:
    return permissions.actor_for_command_line(stage.project)


def call(number: int, **members: Any) -> dict[str, Any]:
    """A call as a service reports it."""
    usual = {"latency_ms": 100.0 + number, "tokens_in": 200 + number, "tokens_out": 20, "format_ok": number % 10 != 0}
    return {"id": f"call-{number}", "prompt": "support.triage@1", "label": "ab"[number % 2], **usual, **members}
