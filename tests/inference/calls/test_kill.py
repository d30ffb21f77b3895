"""Calls that a real instance has acknowledged are there, whichever of its processes is killed meanwhile."""

import threading
import time
from collections.abc import Iterator

import pytest

from tests.evaluations.runs.test_faults import kill
from tests.instance import Instance, demo_home, start

pytestmark = pytest.mark.slow
BATCH = 40
COUNT = """
from inference.usage import rollups
from inference.usage.stats import sum_usage
from inference.models import Call, UsageRollup
rows = UsageRollup.objects.filter(version__prompt__name="support.triage")
print(Call.objects.filter(reference__startswith="NAME-").count(), sum_usage(map(rollups.usage_in, rows)).calls)
"""


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    instance = start(demo_home(tmp_path_factory.mktemp("calls") / "var"))
    yield instance
    instance.stop()


def counted(instance: Instance, name: str) -> tuple[int, int]:
    """How many calls of a sender there are, and how many all calls of the prompt come to."""
    in_table, usage = instance.manage("shell", "-v", "0", "-c", COUNT.replace("NAME", name)).split()[-2:]
    return int(in_table), int(usage)


class Sender(threading.Thread):
    """Reports batches one after the other; one that is not acknowledged is sent again."""

    def __init__(self, instance: Instance, name: str) -> None:
        super().__init__()
        self._instance, self._name = instance, name
        self.is_over = threading.Event()
        self.acknowledged = self.again = 0

    def run(self) -> None:
        number = 0
        while not self.is_over.is_set():
            calls = [
                {"id": f"{self._name}-{number}-{place}", "prompt": "support.triage@1", "tokens_in": 10}
                for place in range(BATCH)
            ]
            while not self._send(calls):
                self.again += 1
                time.sleep(0.1)
            self.acknowledged += BATCH
            number += 1

    def _send(self, calls: list[dict[str, object]]) -> bool:
        try:
            status, _ = self._instance.call("POST", "/api/v1/calls", {"calls": calls})
        except (OSError, ValueError):
            return False
        assert status == 202 or status >= 500, status
        return status == 202


@pytest.mark.parametrize(
    "words",
    [("granian", "config.wsgi"), ("bin/postgres", "-D"), ("celery", "worker")],
    ids=["web", "postgresql", "worker"],
)
def test_no_acknowledged_call_is_lost_or_counted_twice(instance: Instance, words: tuple[str, ...]):
    name = words[0].rpartition("/")[2]
    _, before = counted(instance, name)
    sender = Sender(instance, name)
    sender.start()
    for _ in range(2):
        enough = sender.acknowledged + 5 * BATCH
        while sender.acknowledged < enough:
            time.sleep(0.05)
        kill(instance, *words)
    enough = sender.acknowledged + 5 * BATCH
    while sender.acknowledged < enough:
        time.sleep(0.05)
    sender.is_over.set()
    sender.join()

    in_table, usage = counted(instance, name)
    assert in_table == sender.acknowledged
    assert usage - before == sender.acknowledged
