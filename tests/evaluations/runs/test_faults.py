"""Runs in a real instance whose processes are killed in the middle: nothing is lost, and nothing is paid twice."""

import json
import os
import signal
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.config.test_up import processes_of
from tests.instance import Instance, demo_home, start

pytestmark = pytest.mark.slow
RUN_BODY = {
    "prompt": "support.triage@latest",
    "dataset": "support.tickets",
    "split": "",
    "model": "sandbox/sandbox-small",
    "scorers": ["length"],
    # Asked each time: an answer from the cache would prove nothing.
    "parameters": {"temperature": 1},
}


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    instance = start(demo_home(tmp_path_factory.mktemp("faults") / "var"))
    instance.manage("shell", "-c", SLOWLY)
    yield instance
    instance.stop()


# So that a run takes long enough to be disturbed.
SLOWLY = "from evaluations.models import Provider; Provider.objects.update(max_concurrency=4)"


def kill(instance: Instance, *words: str) -> None:
    """kill -9 of the oldest process whose command has these words: a server, or a worker and its pool with it."""
    names = sorted(
        pid for pid, command in processes_of(instance.home).items() if all(word in command for word in words)
    )
    assert names, f"nothing runs {words}"
    os.kill(names[0], signal.SIGKILL)


def run_of(instance: Instance, key: int) -> dict[str, Any]:
    """A run as the API tells it; the server may be away for a moment, with its database."""
    for _ in range(60):
        try:
            status, answer = instance.call("GET", f"/api/v1/evaluations/{key}")
        except (OSError, ValueError):
            status, answer = 0, {}
        if status == 200:
            document: dict[str, Any] = answer
            return document
        time.sleep(0.5)
    raise AssertionError("the API does not come back")


def wait_until(instance: Instance, key: int, answered: int = 0, *, seconds: float = 150) -> dict[str, Any]:
    """The run, when it has so many answers; without a number, when it is summed up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        run = run_of(instance, key)
        if (answered and run["answered"] >= answered) or (not answered and run["summary"]):
            return run
        time.sleep(0.2)
    raise AssertionError(f"after {seconds} s: {run}")


def journal(instance: Instance) -> list[str]:
    """The names of the calls that the sandbox charged, as often as it did."""
    settings = "from django.conf import settings; print(settings.SANDBOX_URL, settings.SANDBOX_KEY)"
    url, key = instance.manage("shell", "-v", "0", "-c", settings).split()[-2:]
    request = urllib.request.Request(
        f"{url.removesuffix('/v1')}/sandbox/journal", headers={"Authorization": f"Bearer {key}"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return [call["key"] for call in json.loads(answer.read())["calls"]]


@pytest.mark.parametrize(
    "words",
    [("celery", "worker", "--queues long"), ("valkey-server",), ("bin/postgres", "-D")],
    ids=["worker", "broker", "postgresql"],
)
def test_what_is_killed_in_the_middle_costs_nothing_twice(instance: Instance, words: tuple[str, ...]):
    key = instance.call("POST", "/api/v1/evaluations", RUN_BODY)[1]["id"]
    wait_until(instance, key, 40)

    kill(instance, *words)

    done = wait_until(instance, key)
    assert (done["state"], done["answered"], done["failed"]) == ("done", 364, 0)
    calls = Counter(name for name in journal(instance) if name.startswith(f"cuebook-run-{key}-"))
    assert len(calls) == 364
    assert {name: often for name, often in calls.items() if often > 1} == {}
    paid = sum(Counter(calls).values())
    assert paid == done["answered"]


def test_two_workers_share_a_run(instance: Instance, tmp_path: Path):
    """Both take turns at the same run, and each case is asked once."""
    key = instance.call("POST", "/api/v1/evaluations", RUN_BODY)[1]["id"]
    wait_until(instance, key, 10)
    instance.manage("shell", "-c", f"from evaluations import tasks; tasks.work_on_run({key})")

    done = wait_until(instance, key)
    assert (done["state"], done["answered"]) == ("done", 364)
    calls = Counter(name for name in journal(instance) if name.startswith(f"cuebook-run-{key}-"))
    assert len(calls) == sum(calls.values()) == 364
