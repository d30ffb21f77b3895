"""A client, a gate, and the registry behind it: a real server with a real database."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cuebook import Cuebook

from registry.accounts import api_keys
from registry.accounts.permissions import actor_for_command_line
from registry.models import APIKey, PromptVersion
from registry.prompts import versions
from tests.client.gate import Gate
from tests.conftest import Stage
from tests.front import django_alone

TRIAGE = {
    "kind": "chat",
    "messages": [
        {"role": "system", "content": "You sort tickets."},
        {"role": "user", "content": "Ticket: {{ ticket }}"},
    ],
    "model": {"name": "gpt-4o-mini", "temperature": 0.1, "max_tokens": 100},
    "variables": {"ticket": {}},
}


class Service:
    """A registry with one live prompt, and clients that reach it through the gate."""

    def __init__(self, stage: Stage, gate: Gate, cache_dir: Path) -> None:
        self.stage, self.gate, self.cache_dir = stage, gate, cache_dir
        self.key, self.token = api_keys.issue(actor_for_command_line(stage.project), name="service", scopes=["read"])
        self.prompt = stage.prompt()
        self.errors: list[Exception] = []
        self.clients: list[Cuebook] = []

    def commit(self, content: dict[str, Any], name: str = "support.triage") -> PromptVersion:
        prompt = self.prompt if name == self.prompt.name else self.stage.prompt(name)
        return versions.commit(self.stage.edith, prompt, content=content, message="m").version

    def release(self, text: str, environment: str = "production") -> PromptVersion:
        messages = [{"role": "system", "content": text}, TRIAGE["messages"][1]]
        version = self.commit({**TRIAGE, "messages": messages})
        self.stage.release(version, environment)
        return version

    def client(self, **options: Any) -> Cuebook:
        """A client that refreshes on request only."""
        plain = {
            "refresh_seconds": 3_600.0,
            "timeout": 20.0,
            "cache_dir": self.cache_dir,
            "on_error": self.errors.append,
        }
        client = Cuebook(self.gate.url, options.pop("key", self.token), **{**plain, **options})
        self.clients.append(client)
        return client

    def revoke(self) -> None:
        api_keys.revoke(actor_for_command_line(self.stage.project), APIKey.objects.get(pk=self.key.pk))


@pytest.fixture
def gate(live_stage: Stage) -> Iterator[Gate]:
    """In front of Django itself: what it answers right after a release is the release."""
    assert live_stage
    with django_alone() as url:
        gate_ = Gate(url)
        yield gate_
        gate_.close()


@pytest.fixture
def service(live_stage: Stage, gate: Gate, tmp_path: Path) -> Iterator[Service]:
    service_ = Service(live_stage, gate, tmp_path / "copies")
    yield service_
    for client in service_.clients:
        client.close()
