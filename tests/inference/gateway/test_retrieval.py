"""Retrieval in the inference service: found before the call, in the record, and by the config's own collection."""

from typing import Any

import openai
import pytest
from django.utils import timezone

from inference.configs import lifecycle as configs
from registry.models import Collection
from registry.prompts import versions
from registry.retrieval import collections, documents
from tests.conftest import Stage
from tests.inference.gateway.conftest import GatewayProcess, recorded
from tests.registry.retrieval.conftest import REFUNDS, embed, make_handbook
from tests.registry.retrieval.test_context import content
from tests.sandbox import Running

QUESTION: Any = [{"role": "user", "content": "How do I get my money back?"}]
MODEL = {"name": "sandbox-small", "temperature": 0}
RECORD = {"strategy": "prompt", "model": "sandbox/sandbox-small", "prompt": "support.answer@1", "input": "question"}


@pytest.fixture
def answering(live_stage: Stage) -> Any:
    """A prompt that searches a handbook, live in production."""
    make_handbook(live_stage)
    document = {**content(), "model": MODEL}
    version = versions.commit(
        live_stage.edith, live_stage.prompt("support.answer"), content=document, message=""
    ).version
    live_stage.release(version)
    return version


@pytest.mark.parametrize("is_streamed", [False, True])
def test_what_is_found_is_asked_and_recorded(
    answering: Any, gateway: GatewayProcess, live_sandbox: Running, is_streamed: bool
):
    answer = gateway.client.chat.completions.with_raw_response.create(
        model="prompt:support.answer", messages=QUESTION, stream=is_streamed
    )
    list(answer.parse())

    assert answer.headers["X-Cuebook-Retrieved"] == "refunds.md@1#1"
    (call,) = recorded(1)
    (chunk,) = call.retrieved
    assert (chunk["source"], chunk["revision"], chunk["chunk"]) == ("refunds.md", 1, 1)
    # What was found is part of the question.
    assert call.tokens_in > 40


def test_what_a_document_says_from_now_on_counts_from_now_on(
    live_stage: Stage, answering: Any, gateway: GatewayProcess
):
    gateway.client.chat.completions.create(model="prompt:support.answer", messages=QUESTION)
    handbook = collections.get_collection(live_stage.project, "handbook")
    documents.put(live_stage.edith, handbook, "refunds.md", REFUNDS.replace(b"14", b"30"))
    embed(handbook)

    gateway.client.chat.completions.create(model="prompt:support.answer", messages=QUESTION)

    assert [call.retrieved[0]["revision"] for call in recorded(2)] == [1, 2]


def test_a_config_may_search_another_collection(live_stage: Stage, answering: Any, gateway: GatewayProcess):
    other = collections.create(live_stage.edith, name="handbook-de")
    documents.put(live_stage.edith, other, "geld.md", b"# Geld\n\nMoney back after 30 days in Germany.\n")
    embed(other)
    _, config = configs.commit(live_stage.edith, "answer", {**RECORD, "retrieval": {"collection": "handbook-de"}})
    live_stage.release(config.version)

    answer = gateway.client.chat.completions.with_raw_response.create(model="task:answer", messages=QUESTION)

    assert answer.headers["X-Cuebook-Retrieved"] == "geld.md@1#1"


def test_a_config_that_searches_needs_a_prompt_that_does(live_stage: Stage, live: Any, gateway: GatewayProcess):
    record = {**RECORD, "prompt": "support.route@1", "input": "ticket", "retrieval": {"collection": "handbook"}}
    _, config = configs.commit(live_stage.edith, "answer", record)
    live_stage.release(config.version)

    with pytest.raises(openai.ConflictError) as refused:
        gateway.client.chat.completions.create(model="task:answer", messages=QUESTION)
    assert refused.value.code == "gateway.no_retrieval"


def test_what_cannot_be_searched_is_the_fallbacks_and_recorded(
    live_stage: Stage, answering: Any, live: Any, gateway: GatewayProcess
):
    _, config = configs.commit(live_stage.edith, "answer", RECORD)
    live_stage.release(config.version)
    gateway.client.chat.completions.create(model="task:answer", messages=QUESTION)
    # Behind the service's back, as an operator may.
    Collection.objects.update(archived_at=timezone.now())

    with pytest.raises(openai.ConflictError) as refused:
        gateway.client.chat.completions.create(model="task:answer", messages=QUESTION)
    assert refused.value.code == "collection.archived"
    _, failed = recorded(2)
    assert (failed.failed, failed.error) == (True, "collection.archived")
    assert failed.reference == refused.value.response.headers["X-Cuebook-Call"]
