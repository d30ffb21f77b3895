"""Langfuse's published Python client, unchanged, against what a web process serves."""

from collections.abc import Iterator
from typing import Any

import pytest
from langfuse import Langfuse
from langfuse.api import NotFoundError

from registry.accounts import api_keys
from registry.accounts.permissions import actor_for_command_line
from registry.prompts import versions
from tests.conftest import Stage
from tests.front import Front, front
from tests.waiting import soon

CHAT = {
    "kind": "chat",
    "messages": [
        {"role": "system", "content": "You sort {{ what }}."},
        {"role": "placeholder", "name": "history"},
        {"role": "user", "content": "{{ ticket }}"},
    ],
    "model": {"name": "gpt-4o-mini", "temperature": 0.1},
}


@pytest.fixture
def web(live_stage: Stage) -> Iterator[Front]:
    assert live_stage
    with front() as served:
        yield served


@pytest.fixture
def client(live_stage: Stage, web: Front) -> Iterator[Langfuse]:
    _, token = api_keys.issue(actor_for_command_line(live_stage.project), name="service", scopes=["read"])
    _, public, secret = token.split("_")
    langfuse = Langfuse(public_key=public, secret_key=secret, base_url=web.url, tracing_enabled=False)
    # The library keeps one cache for all clients with one key, and its threads for the life of the process.
    langfuse.clear_prompt_cache()
    yield langfuse
    langfuse.shutdown()


def committed(stage: Stage, content: dict[str, Any], name: str) -> Any:
    return versions.commit(stage.edith, stage.prompt(name), content=content, message="m").version


@pytest.mark.django_db(transaction=True)
def test_text_and_chat_by_label_and_version(live_stage: Stage, client: Langfuse):
    text = committed(live_stage, {"kind": "text", "text": "Be {{ mood }}, {{mood}} {{  name  }}!"}, "shared.tone")
    live_stage.release(text)
    chat = committed(live_stage, CHAT, "support.triage")
    live_stage.release(chat, "staging")

    tone = client.get_prompt("shared.tone")
    triage = client.get_prompt("support.triage", label="staging", type="chat")

    assert (tone.version, tone.is_fallback) == (1, False)
    assert tone.compile(mood="kind", name="Ada") == "Be kind, kind Ada!"
    assert set(tone.labels) == {"latest", "production"}
    history = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    assert triage.compile(what="tickets", ticket="My card", history=history) == [
        {"role": "system", "content": "You sort tickets."},
        *history,
        {"role": "user", "content": "My card"},
    ]
    assert triage.config["model"] == "gpt-4o-mini"
    assert triage.config["temperature"] == 0.1
    assert client.get_prompt("support.triage", version=1, type="chat").version == 1
    assert client.get_prompt("support.triage", label="latest", type="chat").version == 1
    with pytest.raises(NotFoundError):
        client.get_prompt("support.triage", type="chat", max_retries=0)


@pytest.mark.django_db(transaction=True)
def test_its_cache_and_ours_and_a_release(live_stage: Stage, client: Langfuse, web: Front):
    prompt = live_stage.prompt("shared.tone")
    for number in (1, 2):
        version = versions.commit(live_stage.edith, prompt, content={"kind": "text", "text": f"v{number}"}, message="m")
        if number == 1:
            live_stage.release(version.version)
    first = client.get_prompt("shared.tone")
    misses = web.delivery.misses
    again = client.get_prompt("shared.tone")
    assert first.prompt == again.prompt == "v1"
    assert web.delivery.misses == misses, "its own cache answers"
    assert soon(lambda: client.get_prompt("shared.tone", cache_ttl_seconds=0).prompt == "v1" and web.delivery.hits)

    live_stage.release(version.version)

    assert soon(lambda: client.get_prompt("shared.tone", cache_ttl_seconds=0).prompt == "v2")


@pytest.mark.django_db(transaction=True)
def test_its_fallback(live_stage: Stage, client: Langfuse):
    assert live_stage
    fallen = client.get_prompt("shared.tone", fallback="Be {{mood}}.", max_retries=0)
    assert fallen.is_fallback
    assert fallen.compile(mood="kind") == "Be kind."
    chat = client.get_prompt("x.y", type="chat", fallback=[{"role": "user", "content": "{{q}}"}], max_retries=0)
    assert chat.compile(q="Hi") == [{"role": "user", "content": "Hi"}]
