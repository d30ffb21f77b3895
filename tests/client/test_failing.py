"""What the client does when something is on fire: each failure is made to happen."""

import gc
import json
import os
import stat
import threading
import time
from collections.abc import Callable
from typing import Any

import cuebook
import pytest
from cuebook.client import Cuebook

from registry import examples
from registry.identity import content_hash
from tests.client.conftest import TRIAGE, Service

PROBLEM = {"Content-Type": "application/problem+json"}
SNAPSHOT = "GET /api/v1/environments/production/snapshot"


def test_without_the_registry_warm_reads_go_on_and_recover_by_themselves(service: Service, until: Callable[..., bool]):
    service.release("v1")
    client = service.client(refresh_seconds=1.0)
    prompt = client.get("support.triage")
    service.gate.is_down = True
    service.release("v2")

    assert until(lambda: service.errors)
    assert isinstance(service.errors[0], cuebook.UnavailableError)
    asked = len(service.gate.asked)
    began = time.monotonic()
    while time.monotonic() < began + 0.3:
        assert client.get("support.triage") is prompt
    assert prompt.age > 0.3
    assert len(service.gate.asked) - asked < 3, "it backs off"
    with pytest.raises(cuebook.UnavailableError):
        client.get("support.triage@staging")
    service.gate.is_down = False
    assert until(lambda: client.get("support.triage").number == 2)
    assert client.get("support.triage").age < 5


def test_a_process_that_starts_without_the_registry_takes_the_copy_on_disk(service: Service):
    first = service.release("v1")
    service.release("v2")
    before = service.client()
    before.get("support.triage")
    before.get(f"support.triage@{first.content_hash}")
    before.refresh()
    (copy,) = service.cache_dir.iterdir()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert stat.S_IMODE(service.cache_dir.stat().st_mode) == 0o700
    assert service.token not in copy.read_text()
    os.utime(copy, (time.time() - 500, time.time() - 500))
    service.gate.is_down = True

    client = service.client()
    prompt = client.get("support.triage")

    assert prompt.number == 2
    assert 495 < prompt.age < 560
    assert client.get(f"support.triage@{first.content_hash}").number == 1
    assert prompt.render(ticket="Hello")["messages"][0]["content"] == "v2"
    assert [type(error) for error in service.errors] == [cuebook.UnavailableError]
    with pytest.raises(cuebook.UnavailableError):
        client.get("support.other")
    service.gate.is_down = False
    client.refresh()
    assert prompt.age < 5
    assert time.time() - copy.stat().st_mtime < 60, "the copy is confirmed as well"


def test_a_copy_that_others_wrote_is_not_taken(service: Service):
    service.release("v1")
    service.client().get("support.triage")
    (copy,) = service.cache_dir.iterdir()
    good = copy.read_bytes()
    service.gate.is_down = True

    assert b'"v1"' in good
    for bad in (good.replace(b'"v1"', b'"v9"'), good[:200], b"", b"{}\n{}"):
        copy.write_bytes(bad)
        service.errors.clear()
        with pytest.raises(cuebook.UnavailableError):
            service.client().get("support.triage")
        assert [type(error) for error in service.errors] == [cuebook.UnavailableError, cuebook.IntegrityError]
    copy.write_bytes(good)
    assert service.client().get("support.triage").number == 1
    with pytest.raises(cuebook.UnavailableError):
        service.client(key=service.token[:-1] + "0").get("support.triage")


def test_a_copy_that_cannot_be_written_is_told_and_missed_by_nobody(service: Service):
    service.release("v1")
    service.cache_dir.write_text("a file where a directory should be")
    assert service.client().get("support.triage").number == 1
    assert isinstance(service.errors[0], OSError)
    assert service.client(cache_dir=None).get("support.triage").number == 1
    assert len(service.errors) == 1


def test_a_revoked_key_reads_no_copy(service: Service):
    service.release("v1")
    held = service.client()
    held.get("support.triage")
    service.revoke()

    with pytest.raises(cuebook.KeyRefusedError):
        service.client().get("support.triage")

    with pytest.raises(cuebook.KeyRefusedError):
        held.refresh()
    assert held.get("support.triage").number == 1, "who runs goes on, and is told"
    with pytest.raises(cuebook.KeyRefusedError):
        held.get("support.triage@1")


def test_without_registry_and_copy_nobody_waits_twice(service: Service):
    service.gate.is_down = True
    client = service.client()
    with pytest.raises(cuebook.UnavailableError):
        client.get("support.triage")
    asked = len(service.gate.asked)
    for _ in range(50):
        with pytest.raises(cuebook.UnavailableError):
            client.get("support.triage")
    assert client.get("support.triage", fallback="Sort.").is_fallback
    found = client.batch(["support.triage", "support.other"], return_exceptions=True)
    assert {type(one) for one in found} == {cuebook.UnavailableError}
    assert len(service.gate.asked) - asked <= 1


def test_what_is_gone_is_not_hidden_by_what_is_held(service: Service):
    service.release("v1")
    client = service.client()
    held = client.get("support.triage")
    tag = content_hash({})
    gone = json.dumps({"environment": "production", "since": "x", "removed": ["support.triage"], "prompts": {}})
    service.gate.answer = (200, {"ETag": f'"{tag}"'}, gone.encode())
    client.refresh()
    missing = {"status": 404, "code": "prompt.not_found", "detail": "There is no prompt “support.triage”."}
    service.gate.answer = (404, PROBLEM, json.dumps(missing).encode())

    with pytest.raises(cuebook.NotFoundError, match="There is no prompt"):
        client.get("support.triage")

    assert held.render(ticket="x")["model"] == "gpt-4o-mini", "who holds it may finish"
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


def test_it_waits_as_long_as_it_is_asked_to(service: Service):
    service.gate.answer = (429, {"Retry-After": "120"}, b'{"code": "request.throttled", "status": 429}')
    client = service.client()
    with pytest.raises(cuebook.UnavailableError):
        client.get("support.triage")
    assert 119 < client._keeper.wait_seconds() <= 120 * 1.2


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
    found = client.batch(["support.triage@2"], return_exceptions=True)
    assert isinstance(found[0], cuebook.IntegrityError)
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
    found = client.batch(["support.triage@1"], return_exceptions=True)
    assert isinstance(found[0], (cuebook.IntegrityError, cuebook.UnavailableError))


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


def test_a_handler_may_use_the_client(service: Service):
    """Nothing is told while a lock is held."""
    service.gate.is_down = True
    said: list[Any] = []

    def handler(error: Exception) -> None:
        if not said:
            said.append(client.get("alerts.text", fallback="It is down: {{ what }}").render(what=str(error)))

    client = service.client(on_error=handler)
    done = threading.Thread(target=lambda: client.get("support.triage", fallback="x"))
    done.start()
    done.join(10)
    assert not done.is_alive()
    assert said


def test_examples_that_cannot_be_had_keep_nothing_else_back(service: Service):
    made = examples.create(service.stage.edith, name="support.tickets")
    chosen = examples.commit(service.stage.edith, made, examples=[{"input": "a", "output": "b"}], message="m").version
    service.stage.release(service.commit({**TRIAGE, "examples": {"set": chosen.content_hash}}))
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


def test_processes_share_the_copy_and_lose_nothing_of_each_other(service: Service):
    service.release("v1")
    service.release("v2")
    one, other = service.client(), service.client()
    one.get("support.triage@1")
    other.get("support.triage@2")
    for _ in range(2):
        one.refresh()
        other.refresh()
    (copy,) = service.cache_dir.iterdir()
    before = copy.read_bytes()
    one.refresh()
    other.refresh()
    assert copy.read_bytes() == before, "where nothing has changed nothing is written"
    copy.unlink()
    one.refresh()
    other.refresh()
    service.gate.is_down = True
    later = service.client()
    assert [later.get(f"support.triage@{number}").number for number in (1, 2)] == [1, 2]


def test_a_fork_in_the_middle_of_a_change_asks_for_all_of_it(service: Service):
    service.release("v1")
    client = service.client()
    client.get("support.triage")
    memory = client._keeper.memory
    memory._is_changing = True
    memory.ready = {}

    memory.after_fork()

    assert (memory.tag, memory.ready["support.triage"].number) == ("", 1)


def test_a_server_that_drips_is_left(service: Service):
    service.release("v1")
    service.gate.drip_seconds = 0.02
    client = service.client(timeout=0.3)
    began = time.monotonic()
    with pytest.raises(cuebook.UnavailableError, match=r"within 0\.3 s"):
        client.get("support.triage")
    assert time.monotonic() - began < 5


def test_a_herd_asks_once(service: Service):
    service.release("v1")
    client = service.client()
    numbers: list[int | None] = []
    ready = threading.Barrier(20)

    def use(reference: str) -> None:
        ready.wait()
        numbers.append(client.get(reference).number)

    threads = [threading.Thread(target=use, args=(f"support.triage{n % 2 * '@1'}",)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert numbers == [1] * 20
    assert sorted(service.gate.asked) == [SNAPSHOT, "GET /api/v1/prompts/support.triage/versions/1"]


def test_threads_render_one_prompt_at_once(service: Service):
    service.release("v1")
    prompt = service.client().get("support.triage")
    wrong: list[Any] = []

    def use(n: int) -> None:
        for _ in range(200):
            said = prompt.render(ticket=f"{n}")["messages"][1]["content"]
            if said != f"Ticket: {n}":
                wrong.append(said)

    threads = [threading.Thread(target=use, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_goes_on_with_its_own_thread_and_connections(service: Service):
    service.release("v1")
    client = service.client(refresh_seconds=1.0)
    client.get("support.triage")
    # The worst moment: other threads hold every lock.
    client._keeper._syncing.acquire()
    client._keeper.memory._lock.acquire()
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            first = client.get("support.triage").number
            os.write(write, f"{first} {client._keeper.is_running}\n".encode())
            end = time.monotonic() + 10
            while client.get("support.triage").number == 1 and time.monotonic() < end:
                time.sleep(0.05)
            os.write(write, f"{client.get('support.triage').number}\n".encode())
        finally:
            # Nothing of pytest's may run twice.
            os._exit(0)
    for lock in (client._keeper._syncing, client._keeper.memory._lock):
        lock.release()
    with os.fdopen(read) as told:
        assert told.readline() == "1 True\n"
        service.release("v2")
        assert told.readline() == "2\n"
    os.waitpid(child, 0)
    os.close(write)
    client.refresh()
    assert client.get("support.triage").number == 2


def test_a_client_that_nobody_holds_ends_its_thread(service: Service, until: Callable[..., bool]):
    service.release("v1")
    client = Cuebook(service.gate.url, service.token, cache_dir=None, refresh_seconds=1.0)
    client.get("support.triage")
    assert [thread.name for thread in threading.enumerate()].count("cuebook") == 1
    del client
    gc.collect()
    assert until(lambda: "cuebook" not in [thread.name for thread in threading.enumerate()])
    with Cuebook(service.gate.url, service.token, cache_dir=None) as closed:
        closed.get("support.triage")
    assert until(lambda: "cuebook" not in [thread.name for thread in threading.enumerate()])
    with pytest.raises(cuebook.UnavailableError, match="closed"):
        closed.get("support.triage")
    assert closed.get("support.triage", fallback="x").is_fallback


def test_a_handler_that_fails_stops_nothing(service: Service, caplog: pytest.LogCaptureFixture):
    def broken(_: Exception) -> None:
        raise ValueError("mine")

    client = service.client(on_error=broken)
    assert client.get("support.triage", fallback="x").is_fallback
    assert "on_error failed" in caplog.text
    silent = service.client(on_error=None)
    assert silent.get("support.triage", fallback="x").is_fallback
    assert "NotFoundError" in caplog.text
