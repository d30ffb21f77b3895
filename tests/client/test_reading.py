"""Reading prompts through the client: what it gives, and when it asks."""

import asyncio
import math
from typing import Any

import cuebook
import pytest
from cuebook import AsyncCuebook

from registry.examples import example_sets, tfidf, vector_search
from registry.models import Embedding
from registry.prompts import versions
from registry.retrieval import collections, documents
from tests.client.conftest import TRIAGE, Service

SNAPSHOT = "GET /api/v1/environments/production/snapshot?experiments=1"
CALL = {
    "model": "gpt-4o-mini",
    "temperature": 0.1,
    "max_tokens": 100,
    "messages": [{"role": "system", "content": "v1"}, {"role": "user", "content": "Ticket: Hello"}],
}


def test_the_first_get_loads_all_and_no_later_one_asks(service: Service):
    version = service.release("v1")
    client = service.client()

    prompt = client.get("support.triage")

    assert (prompt.name, prompt.number, prompt.hash) == ("support.triage", 1, version.content_hash)
    assert prompt.content == version.content
    assert not prompt.is_fallback
    assert prompt.age < 60
    assert client.get("support.triage") is client.get("support.triage@production") is prompt
    assert client.render("support.triage", ticket="Hello") == prompt.render(ticket="Hello") == CALL
    assert service.gate.requests == [SNAPSHOT]
    assert service.errors == []


def test_a_refresh_fetches_only_what_has_changed(service: Service):
    service.release("v1")
    client = service.client()
    before = client.get("support.triage")
    tag = service.gate.requests
    service.release("v2")
    other = service.commit({"kind": "text", "text": "Be kind."}, "shared.tone")
    service.stage.release(other)

    client.refresh()

    assert client.get("support.triage").number == 2
    assert client.get("shared.tone").render()["messages"] == [{"role": "user", "content": "Be kind."}]
    assert before.render(ticket="Hello") == CALL
    assert len(tag) == 2
    assert tag[1].startswith(f"{SNAPSHOT}&since=sha256:")
    prompt = client.get("support.triage")
    client.refresh()
    assert client.get("support.triage") is prompt
    assert len(service.gate.requests) == 3


def test_every_selector(service: Service):
    first = service.release("v1")
    service.release("v2", "staging")
    client = service.client()

    prompts = {
        selector: client.get(f"support.triage@{selector}")
        for selector in ("1", "staging", "latest", first.content_hash, first.content_hash[:25])
    }

    assert [prompt.number for prompt in prompts.values()] == [1, 2, 2, 1, 1]
    assert [prompt.age == 0.0 for prompt in prompts.values()] == [True, False, False, True, True]
    request_count = len(service.gate.requests)
    assert client.get("support.triage@staging") is prompts["staging"]
    assert len(service.gate.requests) == request_count == 6
    service.release("v3", "staging")
    client.refresh()
    assert client.get("support.triage@staging").number == client.get("support.triage@latest").number == 3
    assert client.get("support.triage@1") is prompts["1"]
    assert service.gate.requests[-1] == "POST /api/v1/prompts/batch"


def test_refusals_are_told_apart(service: Service):
    service.release("v1")
    client = service.client()

    for reference in ("support.nothing", "support.triage@99", "support.triage@nowhere"):
        with pytest.raises(cuebook.NotFoundError) as missing:
            client.get(reference)
        assert missing.value.code in {"prompt.not_found", "prompt.unknown_selector"}
    for reference in ("Not a name", "support.triage@", "support.triage@sha256:abc", ""):
        with pytest.raises(cuebook.RefusedError) as invalid:
            client.get(reference)
        assert invalid.value.code in {"reference.invalid", "prompt.invalid_selector"}
    request_count = len(service.gate.requests)
    with pytest.raises(cuebook.NotFoundError):
        client.get("support.nothing")
    assert len(service.gate.requests) == request_count, "what was not found a moment ago is not asked for again"
    with pytest.raises(cuebook.KeyRefusedError) as refused:
        service.client(key=service.token + "x").get("support.triage")
    assert refused.value.code == "auth.invalid_key"
    for wrong in ({"url": "cuebook.example.com"}, {"key": "a\nb"}, {"key": ""}, {"environment": "No!"}):
        with pytest.raises(ValueError, match=r"url|key|environment"):
            cuebook.Cuebook(**{"url": service.gate.url, "key": service.token, **wrong})


def test_render_says_what_is_missing(service: Service):
    service.release("v1")
    client = service.client()
    with pytest.raises(cuebook.RenderError) as missing:
        client.render("support.triage")
    assert missing.value.code == "render.missing_variable"
    with pytest.raises(cuebook.RenderError) as wrong:
        client.render("support.triage", ticket=3)
    assert wrong.value.code == "render.invalid_variable"


@pytest.mark.parametrize(
    ("fallback", "messages"),
    [
        ("Sort: {{ ticket }}", [{"role": "user", "content": "Sort: Hello"}]),
        ([{"role": "system", "content": "{{ ticket }}!"}], [{"role": "system", "content": "Hello!"}]),
        ({"messages": [{"role": "user", "content": "{{ ticket }}"}]}, [{"role": "user", "content": "Hello"}]),
    ],
)
def test_a_fallback_is_given_for_any_failure_and_says_so(service: Service, fallback: Any, messages: Any):
    client = service.client()

    prompt = client.get("support.triage", fallback=fallback)

    assert prompt.is_fallback
    assert (prompt.number, prompt.age) == (None, math.inf)
    assert prompt.render(ticket="Hello")["messages"] == messages
    assert isinstance(service.errors[-1], cuebook.NotFoundError)
    service.release("v1")
    client.refresh()
    assert not client.get("support.triage", fallback=fallback).is_fallback


def test_a_batch_is_one_question(service: Service):
    service.release("v1")
    service.release("v2", "staging")
    client = service.client()

    live, first, staging = client.batch(["support.triage", "support.triage@1", "support.triage@staging"])

    assert [prompt.number for prompt in (live, first, staging)] == [1, 1, 2]
    assert service.gate.requests == [SNAPSHOT, "POST /api/v1/prompts/batch"]
    references = ["support.triage@1", "support.nothing", "no name"]
    results = client.batch(references, return_exceptions=True)
    assert [type(result).__name__ for result in results] == ["Prompt", "NotFoundError", "RefusedError"]
    with pytest.raises(cuebook.NotFoundError):
        client.batch(references)
    assert client.batch([]) == []


def test_it_renders_as_the_registry_does(service: Service):
    """Partials, loops and examples, compared with `POST .../render` byte for byte."""
    tone = service.commit({"kind": "text", "text": "Be {{ mood }}, {{ name | default('friend') }}.\n"}, "shared.tone")
    service.stage.release(tone)
    example_set = example_sets.create(service.stage.edith, name="support.tickets")
    shots = [{"input": f"I cannot log in {n}", "output": f"account-{n % 3}", "note": f"n{n}"} for n in range(6)]
    example_version = example_sets.commit(service.stage.edith, example_set, examples=shots, message="m").version
    for work in Embedding.objects.filter(version=example_version):
        vector_search.embed_missing(work)
    placeholder = {"role": "placeholder", "name": "examples"}
    body = {
        **TRIAGE,
        "messages": [{"role": "system", "content": "{% include 'shared.tone' %}"}, placeholder, TRIAGE["messages"][1]],
        "response": {"format": "json_schema", "schema": {"type": "object", "properties": {"a": {"type": "string"}}}},
        "tools": [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}],
    }
    contents: dict[str, dict[str, Any]] = {
        "fixed": {},
        "first": {"select": "first", "k": 2},
        "budget": {"select": "first", "k": 4, "token_budget": 30},
        "similar": {"select": "similar", "k": 2, "query": "{{ ticket }}"},
    }
    for name, how in contents.items():
        service.stage.release(
            service.commit({**body, "examples": {"set": example_version.content_hash, **how}}, f"p.{name}")
        )
    client = service.client()

    for name in contents:
        variables = {"ticket": "Ünïcode ✓ \u2028", "mood": "kind"}
        prompt = client.get(f"p.{name}")
        mine = prompt.render(**variables)
        version = service.stage.project.prompts.get(name=f"p.{name}").head
        theirs = versions.render(version, variables)
        assert mine["messages"] == theirs["messages"]
        assert mine["response_format"] == theirs["response_format"]
        assert mine["tools"] == theirs["tools"]
        assert {"name": mine["model"], "temperature": 0.1, "max_tokens": 100} == theirs["model"]
        assert prompt.is_rendered_there == (name in {"budget", "similar"})
    posts = [request for request in service.gate.requests if request.startswith("POST")]
    assert len(posts) == 2, "the registry renders what needs its embeddings or tokenisers, and nothing else"
    mine["tools"].clear()
    mine["response_format"]["json_schema"]["schema"].clear()
    assert prompt.render(**variables)["tools"] == theirs["tools"], "what a caller does to an answer stays with it"


def test_what_searches_a_collection_is_rendered_by_the_registry(service: Service):
    collection = collections.create(service.stage.edith, name="handbook", embedder=tfidf.NAME)
    documents.put(service.stage.edith, collection, "refunds.md", b"# Refunds\n\nMoney back within 14 days.\n")
    messages = [{"role": "user", "content": "{{ context }}\n{{ question }}"}]
    searching = {"messages": messages, "retrieval": {"collection": "handbook"}, "model": {"name": "gpt-6-luna"}}
    service.stage.release(service.commit(searching, "p.searching"))

    prompt = service.client().get("p.searching")

    assert prompt.is_rendered_there
    assert "within 14 days" in str(prompt.render(question="Money back?")["messages"])


def test_asyncio(service: Service):
    service.release("v1")
    service.release("v2", "staging")

    async def use() -> tuple[Any, ...]:
        async with AsyncCuebook(service.gate.url, service.token, cache_dir=None, timeout=20.0) as client:
            several = await asyncio.gather(*(client.get("support.triage") for _ in range(20)))
            call = await client.render("support.triage", ticket="Hello")
            batch = await client.batch(["support.triage@staging", "support.nothing"], return_exceptions=True)
            fallen = await client.get("support.nothing", fallback="x")
            await client.refresh()
            return several, call, batch, fallen

    several, call, batch, fallen = asyncio.run(use())
    assert {prompt.number for prompt in several} == {1}
    assert call == CALL
    assert batch[0].number == 2
    assert isinstance(batch[1], cuebook.NotFoundError)
    assert fallen.is_fallback
    assert service.gate.requests.count(SNAPSHOT) == 1
