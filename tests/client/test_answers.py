"""What arrives is what was asked for and what its hash says, or it is not used."""

import json
from typing import Any

import cuebook
import pytest
from cuebook.answers import read_rendered

from registry.content.content_hash import content_hash
from registry.examples import example_sets
from tests.client.conftest import TRIAGE, Service

PROBLEM = {"Content-Type": "application/problem+json"}


def test_what_is_gone_is_not_hidden_by_what_is_held(service: Service):
    service.release("v1")
    client = service.client()
    prompt = client.get("support.triage")
    tag = content_hash({})
    gone = json.dumps({"environment": "production", "since": "x", "removed": ["support.triage"], "prompts": {}})
    service.gate.answer = (200, {"ETag": f'"{tag}"'}, gone.encode())
    client.refresh()
    missing = {"status": 404, "code": "prompt.not_found", "detail": "There is no prompt “support.triage”."}
    service.gate.answer = (404, PROBLEM, json.dumps(missing).encode())

    with pytest.raises(cuebook.NotFoundError, match="There is no prompt"):
        client.get("support.triage")

    assert prompt.render(ticket="x")["model"] == "gpt-4o-mini", "who holds it may finish"
    service.gate.answer = None
    client.refresh()
    assert client.get("support.triage").number == 1
    service.gate.answer = (404, PROBLEM, json.dumps({**missing, "code": "environment.not_found"}).encode())
    with pytest.raises(cuebook.NotFoundError):
        client.refresh()
    with pytest.raises(cuebook.NotFoundError):
        client.get("support.triage")


@pytest.mark.parametrize(
    "answer",
    [
        (404, {"Content-Type": "text/html"}, b"<h1>Not Found</h1>"),
        (200, {"Content-Type": "text/html"}, b"<h1>Sign in to the hotel's network</h1>"),
        (302, {"Location": "https://example.com/"}, b""),
        (503, {}, b'{"code": "server.database_unavailable", "status": 503, "detail": "Later."}'),
        (200, {}, b"[1, 2"),
        (404, {"Content-Type": "application/json"}, b'{"code": "route_not_found", "status": 404}'),
        (404, PROBLEM, b'{"code": 404}'),
        (410, {}, b""),
        (400, PROBLEM, b"null"),
    ],
)
def test_who_is_not_the_registry_says_nothing_about_prompts(service: Service, answer: Any):
    service.release("v1")
    client = service.client()
    client.get("support.triage")
    service.gate.answer = answer
    with pytest.raises(cuebook.UnavailableError):
        client.refresh()
    assert client.get("support.triage").number == 1


def test_what_is_not_what_its_hash_says_is_not_used(service: Service):
    service.release("v1")
    client = service.client()
    client.get("support.triage")
    service.release("v2")
    service.gate.change = lambda body: body.replace(b'"v2"', b'"give all away"')

    with pytest.raises(cuebook.IntegrityError):
        client.refresh()
    assert client.get("support.triage").number == 1
    with pytest.raises(cuebook.IntegrityError):
        client.get("support.triage@2")
    results = client.batch(["support.triage@2"], return_exceptions=True)
    assert isinstance(results[0], cuebook.IntegrityError)
    service.gate.change = lambda body: body.replace(b'"support.triage"', b'"support.else"')
    with pytest.raises(cuebook.IntegrityError):
        client.refresh()
    service.gate.change = lambda body: body
    client.refresh()
    assert client.get("support.triage").number == 2


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"message": "ok"}',
        b'{"prompts": []}',
        b'{"prompts": {"support.triage": null}}',
        b'{"prompts": {"support.triage": {}}}',
        b'{"prompts": {"support.triage": {"prompt": "support.triage", "number": NaN}}}',
        b'{"prompts": {"a.b": {"prompt": "a.b", "number": 1, "hash": "x", "content": {"a": 1e999}, "partials": {}}}}',
        b'{"prompts": {}, "removed": 5, "since": "x"}',
        b'{"a": ' * 5_000,
    ],
)
def test_an_answer_that_is_not_as_it_should_be_is_an_error_of_ours(service: Service, body: bytes):
    service.gate.answer = (200, {"ETag": '"sha256:x"'}, body)
    client = service.client()
    assert client.get("support.triage", fallback="x").is_fallback
    with pytest.raises((cuebook.IntegrityError, cuebook.UnavailableError)):
        client.get("support.triage")
    with pytest.raises((cuebook.IntegrityError, cuebook.UnavailableError)):
        client.refresh()
    results = client.batch(["support.triage@1"], return_exceptions=True)
    assert isinstance(results[0], (cuebook.IntegrityError, cuebook.UnavailableError))


def test_what_arrives_is_what_was_asked_for(service: Service):
    """A proxy that mixes up answers: each has its hash, and is another's."""
    service.release("v1")
    service.commit({"kind": "text", "text": "Another"}, "shared.other")
    client = service.client()
    client.get("support.triage")
    other = client.get("shared.other@1")

    def mixed_up(body: bytes) -> bytes:
        answer = json.loads(body)
        if "results" in answer:
            answer["results"].reverse()
        elif "content" in answer:
            answer |= {"content": other.content, "hash": other.hash}
        return json.dumps(answer).encode()

    service.gate.change = mixed_up
    first = client.get("support.triage").hash
    with pytest.raises(cuebook.IntegrityError):
        client.get(f"support.triage@{first}")
    with pytest.raises(cuebook.IntegrityError):
        client.batch(["support.triage@latest", "shared.other@latest"])
    service.gate.change = lambda body: body.replace(b'"number":1', b'"number":7').replace(
        b'"number": 1', b'"number": 7'
    )
    with pytest.raises(cuebook.IntegrityError):
        client.get("support.triage@1")


def test_examples_that_cannot_be_had_keep_nothing_else_back(service: Service):
    example_set = example_sets.create(service.stage.edith, name="support.tickets")
    committed = example_sets.commit(
        service.stage.edith, example_set, examples=[{"input": "a", "output": "b"}], message="m"
    ).version
    service.stage.release(service.commit({**TRIAGE, "examples": {"set": committed.content_hash}}))
    service.gate.refuse = "/example-sets/"
    client = service.client()

    prompt = client.get("support.triage")

    assert [type(error) for error in service.errors] == [cuebook.UnavailableError]
    assert client._keeper.wait_seconds() > 1_000, "the registry is there"
    assert client.get("support.triage@1").number == 1
    assert len(list(service.cache_dir.iterdir())) == 1
    with pytest.raises(cuebook.UnavailableError):
        prompt.render(ticket="x")
    service.gate.refuse = ""
    first = prompt.render(ticket="x")["messages"]
    first[1]["content"] += " of the first caller's"
    assert [message["content"] for message in prompt.render(ticket="x")["messages"]][1:3] == ["a", "b"]


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": [{"type": "text", "text": "a"}]},
        {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f"}}]},
        {"role": "assistant", "refusal": "No."},
    ],
)
def test_a_message_that_is_more_than_a_text_arrives_as_it_is(message: Any):
    answer = {"prompt": "a", "hash": "h", "messages": [message], "model": {}, "response_format": {"type": "text"}}

    assert read_rendered(answer, "a", "h")["messages"] == [message]


def test_a_message_without_anything_is_refused():
    answer = {
        "prompt": "a",
        "hash": "h",
        "messages": [{"role": "user"}],
        "model": {},
        "response_format": {"type": "text"},
    }

    with pytest.raises(cuebook.IntegrityError):
        read_rendered(answer, "a", "h")
