"""LiteLLM's generic prompt management: the answers, the refusals, and LiteLLM's own client against a real server."""

from collections.abc import Iterator
from typing import Any

import pytest
from rest_framework.test import APIClient

from core.errors import Problem
from registry.accounts import api_keys
from registry.accounts.permissions import actor_for_command_line
from registry.interop.litellm import litellm_prompt
from registry.prompts import versions
from tests.conftest import Stage
from tests.core.test_messages import image, text
from tests.front import django_alone
from tests.http_server import Handler, serve
from tests.litellm_client import leaving_nothing_open, litellm

ADDRESS = "/beta/litellm_prompt_management"


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    with leaving_nothing_open():
        yield


def token_of(stage: Stage) -> str:
    return api_keys.issue(actor_for_command_line(stage.project), name="litellm", scopes=["read"])[1]


def client_of(token: str) -> APIClient:
    client = APIClient(raise_request_exception=False)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    return client


@pytest.fixture
def triage(stage: Stage) -> Stage:
    prompt = stage.prompt()
    settings = {"name": "gpt-4o-mini", "temperature": 0, "max_output_tokens": 20, "prompt_cache": "5m"}
    stage.release(stage.commit(prompt, "Sort {{ticket}} for {{ team }}", model=settings))
    stage.commit(prompt, "Sort well {{ ticket }}")
    return stage


def test_what_is_live_in_the_contracts_words(triage: Stage):
    client, address = client_of(token_of(triage)), f"{ADDRESS}?prompt_id=support.triage"
    answer = client.get(address)

    assert answer.json() == {
        "prompt_id": "support.triage",
        "prompt_template": [{"role": "system", "content": "Sort {ticket} for {team}"}],
        "prompt_template_model": "gpt-4o-mini",
        "prompt_template_optional_params": {"temperature": 0, "max_tokens": 20},
        "metadata": {"version": 1, "hash": answer.json()["metadata"]["hash"]},
    }
    assert client.get(address, headers={"If-None-Match": answer["ETag"]}).status_code == 304


@pytest.mark.parametrize(
    ("query", "outcome"),
    [
        ("prompt_id=support.triage@latest", 2),
        ("prompt_id=support.triage&version=2", 2),
        ("prompt_id=support.triage&environment=production", 1),
        ("prompt_id=support.triage&environment=staging", "prompt.unknown_selector"),
        ("prompt_id=support.triage@1&version=2", "request.invalid"),
        ("prompt_id=support.triage&version=2&environment=staging", "request.invalid"),
        ("prompt_id=support.nothing", "prompt.not_found"),
        ("prompt_id=", "request.invalid"),
        ("", "request.invalid"),
        ("prompt_id=support.triage&label=x", "request.invalid"),
    ],
)
def test_which_version(triage: Stage, query: str, outcome: Any):
    answer = client_of(token_of(triage)).get(f"{ADDRESS}?{query}").json()

    assert (answer["metadata"]["version"] if "metadata" in answer else answer["code"]) == outcome


def test_only_with_a_key_that_may_read(triage: Stage):
    assert APIClient().get(f"{ADDRESS}?prompt_id=support.triage").status_code == 401
    _, token = api_keys.issue(actor_for_command_line(triage.project), name="o", scopes=["observe"])
    assert client_of(token).get(f"{ADDRESS}?prompt_id=support.triage").status_code == 403


SYSTEM = {"role": "system", "content": "Hi"}
HISTORY = {"role": "placeholder", "name": "history"}


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": "{% if a %}x{% endif %}"}],
        [{"role": "user", "content": "{{ a | upper }}"}],
        [{"role": "user", "content": "Write {a} as it is, and {{ a }}"}],
        [HISTORY, {"role": "user", "content": "And?"}],
        [{"role": "user", "content": [text("Look:"), image("{{ shot }}")]}],
    ],
)
def test_what_their_client_cannot_do_is_refused_in_words(messages: Any):
    with pytest.raises(Problem) as refused:
        litellm_prompt({"kind": "chat", "messages": messages}, {})
    assert refused.value.code == "litellm.needs_rendering"


def test_forms_tools_texts_and_a_last_placeholder():
    tools = [{"type": "function", "function": {"name": "f"}}]
    content = {"kind": "chat", "messages": [SYSTEM, HISTORY], "response": {"format": "json_object"}, "tools": tools}

    answer = litellm_prompt(content, {})

    assert answer["prompt_template"] == [SYSTEM]
    assert answer["prompt_template_optional_params"] == {"response_format": {"type": "json_object"}, "tools": tools}
    assert answer["prompt_template_model"] is None
    assert litellm_prompt({"kind": "text", "text": "Hi {{ you }}, {name}"}, {})["prompt_template"] == [
        {"role": "user", "content": "Hi {you}, {name}"}
    ]


@pytest.fixture
def model() -> Iterator[tuple[str, list[Any]]]:
    """A model's server that remembers what it was asked."""
    requests: list[Any] = []

    class Model(Handler):
        def post(self) -> None:
            requests.append(self.read_json())
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "billing"}}
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            head = {"id": "x", "object": "chat.completion", "created": 0, "model": "gpt-4o-mini"}
            self.answer({**head, "choices": [choice], "usage": usage})

    with serve(Model) as port:
        yield f"http://127.0.0.1:{port}/v1", requests


@pytest.mark.filterwarnings("ignore")
def test_their_own_client_asks_with_what_is_live(
    live_stage: Stage, model: tuple[str, list[Any]], monkeypatch: pytest.MonkeyPatch
):
    content = {
        "kind": "chat",
        "messages": [{"role": "system", "content": "Sort for {{ team }}"}, HISTORY],
        "model": {"name": "openai/gpt-4o-mini", "temperature": 0.5, "max_output_tokens": 20},
    }
    version = versions.commit(live_stage.edith, live_stage.prompt(), content=content, message="x").version
    live_stage.release(version)
    from litellm.integrations.generic_prompt_management import GenericPromptManager

    address, requests = model
    with django_alone() as url:
        manager = GenericPromptManager(api_base=url, api_key=token_of(live_stage))
        monkeypatch.setattr(litellm, "callbacks", [manager])
        answer = litellm.completion(
            model="openai/other",
            prompt_id="support.triage",
            prompt_variables={"team": "Berlin"},
            messages=[{"role": "user", "content": "I was charged twice"}],
            api_base=address,
            api_key="none",
        )

    assert answer.choices[0].message.content == "billing"
    (asked_for,) = requests
    assert asked_for["messages"] == [
        {"role": "system", "content": "Sort for Berlin"},
        {"role": "user", "content": "I was charged twice"},
    ]
    # Their SDK takes the messages and the model; the settings are taken by their proxy.
    assert asked_for["model"] == "gpt-4o-mini"
