"""The inference service, asked by LiteLLM's SDK, unchanged."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.inference.gateway.conftest import TICKET, GatewayProcess, recorded
from tests.litellm_client import leaving_nothing_open, litellm

# Of its own types.
pytestmark = pytest.mark.filterwarnings("ignore")
MESSAGES: Any = [{"role": "user", "content": TICKET}]


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    with leaving_nothing_open():
        yield


@pytest.fixture
def where(gateway: GatewayProcess) -> dict[str, str]:
    return {"model": "openai/prompt:support.route", "api_base": f"{gateway.url}/v1", "api_key": gateway.token}


def test_whole_streamed_and_asynchronous(live: Any, where: dict[str, Any]):
    own = {"cuebook": {"subject": "user-17"}}
    whole = litellm.completion(**where, messages=MESSAGES, extra_body=own)
    chunks = list(litellm.completion(**where, messages=MESSAGES, stream=True, stream_options={"include_usage": True}))
    later = asyncio.run(litellm.acompletion(**where, messages=MESSAGES))

    assert whole.choices[0].message.content == later.choices[0].message.content == "billing"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "billing"
    assert whole.usage.prompt_tokens == chunks[-1].usage.prompt_tokens
    calls = recorded(3)
    assert [call.subject for call in calls] == ["user-17", "", ""]


def test_responses(live: Any, where: dict[str, Any]):
    answer = litellm.responses(**where, input=TICKET)

    assert answer.output[0].content[0].text == "billing"


def test_a_refusal_is_theirs(live: Any, where: dict[str, Any]):
    with pytest.raises(litellm.BadRequestError, match="decides this"):
        litellm.completion(**where, messages=MESSAGES, temperature=0.2)
    with pytest.raises(litellm.NotFoundError):
        litellm.completion(**{**where, "model": "openai/prompt:nothing.here"}, messages=MESSAGES)
