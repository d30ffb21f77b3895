"""What the inference service refuses, in OpenAI's shape and in words."""

import json
import urllib.error
import urllib.request
from typing import Any

import openai
import pytest

from inference.configs import lifecycle as configs
from inference.models import Call
from tests.conftest import Stage
from tests.inference.gateway.conftest import TICKET, GatewayProcess


@pytest.mark.parametrize(
    ("body", "code", "error"),
    [
        ({"model": "gpt-4o"}, "gateway.unknown_model", openai.NotFoundError),
        ({"model": "prompt:support.nobody"}, "prompt.not_found", openai.NotFoundError),
        ({"model": "task:nobody"}, "config.not_found", openai.NotFoundError),
        ({"model": "prompt:support.route", "temperature": 0.5}, "gateway.invalid", openai.BadRequestError),
        ({"model": "prompt:support.route", "messages": []}, "gateway.no_place", openai.BadRequestError),
        (
            {"model": "prompt:support.route", "messages": [{"role": "user", "content": "a"}] * 2},
            "gateway.no_place",
            openai.BadRequestError,
        ),
    ],
)
def test_refusals_are_in_openais_shape(
    live: Any, gateway: GatewayProcess, body: dict[str, Any], code: str, error: type[openai.APIStatusError]
):
    request: dict[str, Any] = {"messages": [{"role": "user", "content": TICKET}], **body}

    with pytest.raises(error) as refused:
        gateway.client.chat.completions.create(**request)

    assert refused.value.code == code
    assert not Call.objects.exists()


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'"x"',
        b"\xff",
        b'{"model": "prompt:support.route", "messages": [], "user": "a\\u0000b"}',
        b'{"model": "prompt:support.route", "messages": [{"role": "user", "content": "\\ud83d"}]}',
        b'{"model": "prompt:support.route", "model": "task:x", "messages": []}',
        b'{"model": ' + b"[" * 100_000,
        b'{"model": "prompt:support.route", "messages": [{"role": "user", "content": "x"}], "stream": NaN}',
    ],
)
def test_an_odd_body_is_refused_in_words(live: Any, gateway: GatewayProcess, body: bytes):
    headers = {"Authorization": f"Bearer {gateway.token}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{gateway.url}/v1/chat/completions", body, headers)

    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=20)

    with refused.value as answer:
        assert (answer.status, json.loads(answer.read())["error"]["code"]) == (400, "request.malformed")


def test_only_keys_with_the_scope_may_ask(live_stage: Stage, live: Any, gateway: GatewayProcess, api_for: Any):
    with pytest.raises(openai.AuthenticationError):
        gateway.client_of("cbk_nobody").models.list()
    header = api_for(live_stage.edith, scopes=["read", "write"])._credentials["HTTP_AUTHORIZATION"]
    with pytest.raises(openai.PermissionDeniedError):
        gateway.client_of(header.removeprefix("Bearer ")).models.list()


def test_addresses_that_are_none(live: Any, gateway: GatewayProcess):
    with pytest.raises(openai.NotFoundError) as unknown:
        gateway.client.models.retrieve("task:nothing")
    assert unknown.value.code == "not_found"
    with pytest.raises(openai.NotFoundError) as elsewhere:
        gateway.client.embeddings.create(model="task:nothing", input="x")
    assert elsewhere.value.code == "not_found"


def test_what_the_last_message_has_beside_its_text_is_refused(live: Any, gateway: GatewayProcess):
    with pytest.raises(openai.BadRequestError) as refused:
        gateway.client.chat.completions.create(
            model="prompt:support.route", messages=[{"role": "user", "content": TICKET, "name": "ann"}]
        )
    assert refused.value.code == "gateway.no_place"


def test_a_config_with_retrieval_is_not_served_without(live_stage: Stage, live: Any, gateway: GatewayProcess):
    record = {
        **{"strategy": "hybrid", "model": "sandbox/sandbox-small", "prompt": "support.route"},
        "retrieval": {"collection": "handbook"},
    }
    _, version = configs.commit(live_stage.edith, "triage", record)
    live_stage.release(version.version)

    with pytest.raises(openai.ConflictError) as refused:
        gateway.client.chat.completions.create(model="task:triage", messages=[{"role": "user", "content": TICKET}])

    assert refused.value.code == "gateway.no_retrieval"
