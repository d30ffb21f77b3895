"""Langfuse's read: the answers for its clients, and the refusals of templates that they cannot fill in."""

import base64
from typing import Any

import pytest
from rest_framework.test import APIClient

from core.errors import Problem
from registry.accounts import api_keys
from registry.accounts.permissions import actor_for_command_line
from registry.interop.langfuse import langfuse_prompt as as_langfuse
from registry.prompts import versions
from tests.conftest import Stage
from tests.core.test_messages import call, image, text

ADDRESS = "/api/public/v2/prompts/support.triage"


@pytest.fixture
def client(stage: Stage) -> APIClient:
    _, token = api_keys.issue(actor_for_command_line(stage.project), name="langfuse", scopes=["read"])
    _, public, secret = token.split("_")
    return basic(f"{public}:{secret}")


def basic(pair: str) -> APIClient:
    client = APIClient(raise_request_exception=False)
    client.credentials(HTTP_AUTHORIZATION=f"Basic {base64.b64encode(pair.encode()).decode()}")
    return client


@pytest.fixture
def triage(stage: Stage) -> Stage:
    prompt = stage.prompt()
    stage.release(stage.commit(prompt, "Sort {{ ticket }}", model={"name": "gpt-4o-mini", "temperature": 0}))
    stage.commit(prompt, "Sort well {{ ticket }}")
    return stage


def test_without_a_selector_it_is_what_is_live_in_production(triage: Stage, client: APIClient):
    answer = client.get(ADDRESS)

    assert answer.json() == {
        "type": "chat",
        "name": "support.triage",
        "version": 1,
        "labels": ["production"],
        "tags": [],
        "commitMessage": "Sort {{ ticket }}",
        "resolutionGraph": None,
        "prompt": [{"type": "chatmessage", "role": "system", "content": "Sort {{ ticket }}"}],
        "config": {"model": "gpt-4o-mini", "temperature": 0},
    }


@pytest.mark.parametrize(
    ("query", "status", "version"),
    [
        ("?version=2", 200, 2),
        ("?label=latest", 200, 2),
        ("?label=production", 200, 1),
        ("?label=staging", 404, None),
        ("?version=9", 404, None),
        ("?version=1&label=production", 400, None),
        ("?version=one", 400, None),
        ("?label=%21%21", 400, None),
    ],
)
def test_selectors(triage: Stage, client: APIClient, query: str, status: int, version: int | None):
    answer = client.get(f"{ADDRESS}{query}")

    assert answer.status_code == status
    if version:
        assert answer.json()["version"] == version
        assert ("latest" in answer.json()["labels"]) == (version == 2)


def test_an_etag_spares_the_body(triage: Stage, client: APIClient):
    tag = client.get(ADDRESS)["ETag"]

    assert client.get(ADDRESS, headers={"If-None-Match": tag}).status_code == 304


@pytest.mark.parametrize("pair", ["", "x", ":", "wrong:wrong", "é:è", "a:b:c"])
def test_other_pairs_are_refused(triage: Stage, pair: str):
    assert basic(pair).get(ADDRESS).status_code == 401
    assert APIClient().get(ADDRESS).status_code == 401


def test_other_projects_prompts_are_not_found(triage: Stage, otis: Any):
    _, token = api_keys.issue(actor_for_command_line(otis.project), name="other", scopes=["read"])
    _, public, secret = token.split("_")

    assert basic(f"{public}:{secret}").get(ADDRESS).status_code == 404


def test_partials_are_written_into_the_text(stage: Stage, client: APIClient):
    stage.commit(stage.prompt("shared.name"), "Cue")
    stage.commit(stage.prompt("shared.tone"), 'Be {% include "shared.name" %}.')
    stage.release(stage.commit(stage.prompt(), 'Hi  {%- include "shared.tone" -%}  {{ ticket }}'))

    assert client.get(ADDRESS).json()["prompt"][0]["content"] == "HiBe Cue.{{ ticket }}"


@pytest.mark.parametrize("source", ["{% if a %}x{% endif %}", "{{ a | upper }}", "{{ a.b }}", "{# note #}x"])
def test_what_their_client_cannot_fill_in_is_refused_in_words(stage: Stage, client: APIClient, source: str):
    stage.release(stage.commit(stage.prompt(), source))

    answer = client.get(ADDRESS)

    assert (answer.status_code, answer.json()["code"]) == (409, "langfuse.needs_rendering")


def test_partials_that_unfold_to_very_much_are_refused(stage: Stage, client: APIClient):
    stage.commit(stage.prompt("p.c"), "x" * 100)
    for name, inner in (("p.b", "p.c"), ("p.a", "p.b")):
        stage.commit(stage.prompt(name), f"{{% include '{inner}' %}}" * 1_500)
    stage.release(stage.commit(stage.prompt(), "{% include 'p.a' %}" * 1_500))

    answer = client.get(ADDRESS)

    assert (answer.status_code, answer.json()["code"]) == (400, "template.too_expensive")


def test_what_looks_like_an_include_and_is_none_is_refused_in_words(stage: Stage, client: APIClient):
    stage.release(stage.commit(stage.prompt(), "{# {% include 'nothing' %} #}Hi"))

    answer = client.get(ADDRESS)

    assert (answer.status_code, answer.json()["code"]) == (409, "langfuse.needs_rendering")


def test_credentials_that_cannot_be_read_are_refused(stage: Stage):
    for pair in ("é", "YQ", "====", "x" * 9_000):
        answer = APIClient().get(ADDRESS, headers={"Authorization": f"Basic {pair}"})
        assert (answer.status_code, answer.json()["code"]) == (401, "auth.invalid_key")


def test_text_placeholders_formats_and_tools():
    text = as_langfuse({"kind": "text", "text": "Hi {{ you }}"}, {})
    assert (text["type"], text["prompt"]) == ("text", "Hi {{ you }}")

    tools = [{"type": "function", "function": {"name": "f"}}]
    messages = [{"role": "placeholder", "name": "history"}]
    chat = as_langfuse(
        {"kind": "chat", "messages": messages, "response": {"format": "json_object"}, "tools": tools}, {}
    )
    assert chat["prompt"] == [{"type": "placeholder", "name": "history"}]
    assert chat["config"] == {"response_format": {"type": "json_object"}, "tools": tools}
    with pytest.raises(Problem):
        as_langfuse({"kind": "text", "text": "{{" * 50_000}, {})


def test_calls_of_tools_and_images_are_as_they_came(stage: Stage, client: APIClient):
    messages = [
        {"role": "user", "content": [text("Look:"), image("{{ shot }}")]},
        {"role": "assistant", "tool_calls": [call(arguments='{"a": "{{ a }}"}')]},
        {"role": "tool", "tool_call_id": "call_1", "content": "{{ found }}"},
    ]
    stage.release(versions.commit(stage.edith, stage.prompt(), content={"messages": messages}, message="x").version)

    assert client.get(ADDRESS).json()["prompt"] == [
        {"type": "chatmessage", "content": None, **message} for message in messages
    ]
