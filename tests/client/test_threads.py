"""One client in many threads, in forked children, and at its end."""

import gc
import os
import threading
import time
from typing import Any

import cuebook
import pytest
from cuebook.client import Cuebook

from tests.client.conftest import Service
from tests.waiting import soon

SNAPSHOT = "GET /api/v1/environments/production/snapshot?experiments=1"


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
    assert sorted(service.gate.requests) == [SNAPSHOT, "GET /api/v1/prompts/support.triage/versions/1"]


def test_threads_render_one_prompt_at_once(service: Service):
    service.release("v1")
    prompt = service.client().get("support.triage")
    wrong: list[Any] = []

    def use(n: int) -> None:
        for _ in range(200):
            content = prompt.render(ticket=f"{n}")["messages"][1]["content"]
            if content != f"Ticket: {n}":
                wrong.append(content)

    threads = [threading.Thread(target=use, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


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
    with os.fdopen(read) as pipe:
        assert pipe.readline() == "1 True\n"
        service.release("v2")
        assert pipe.readline() == "2\n"
    os.waitpid(child, 0)
    os.close(write)
    client.refresh()
    assert client.get("support.triage").number == 2


def test_a_fork_in_the_middle_of_a_change_asks_for_all_of_it(service: Service):
    service.release("v1")
    client = service.client()
    client.get("support.triage")
    memory = client._keeper.memory
    memory._is_changing = True
    memory.ready = {}

    memory.after_fork()

    assert (memory.tag, memory.ready["support.triage"].number) == ("", 1)


def test_a_client_that_nobody_holds_ends_its_thread(service: Service):
    service.release("v1")
    client = Cuebook(service.gate.url, service.token, cache_dir=None, refresh_seconds=1.0)
    client.get("support.triage")
    assert [thread.name for thread in threading.enumerate()].count("cuebook") == 1
    del client
    gc.collect()
    assert soon(lambda: "cuebook" not in [thread.name for thread in threading.enumerate()])
    with Cuebook(service.gate.url, service.token, cache_dir=None) as closed:
        closed.get("support.triage")
    assert soon(lambda: "cuebook" not in [thread.name for thread in threading.enumerate()])
    with pytest.raises(cuebook.UnavailableError, match="closed"):
        closed.get("support.triage")
    assert closed.get("support.triage", fallback="x").is_fallback


def test_a_handler_may_use_the_client(service: Service, caplog: pytest.LogCaptureFixture):
    """Nothing is reported while a lock is held, and what the handler's own calls meet does not call it again."""
    service.gate.is_down = True
    messages: list[Any] = []

    def handler(error: Exception) -> None:
        messages.append(client.get("alerts.text", fallback="It is down: {{ what }}").render(what=str(error)))

    client = service.client(on_error=handler)
    done = threading.Thread(target=lambda: client.get("support.triage", fallback="x"))
    done.start()
    done.join(10)
    assert not done.is_alive()
    # The environment's load and the prompt itself; each met the failure once more when it took its fallback.
    assert len(messages) == 2
    assert [record.levelname for record in caplog.records if record.name == "cuebook"] == ["WARNING"] * 2
