"""How many live calls a second are taken in, while people look at pages and processes are killed.

    .venv/bin/python benchmarks/calls.py [--seconds 300] [--rate 5000] [--kill]

A real instance of its own (`manage.py up`): web, workers, PostgreSQL, and the inference service beside. Senders report
batches of 500 calls at the rate, over HTTP; a batch that was not answered with 202 is sent again with the same ids.
Beside them somebody opens pages once a second. With `--kill`, the web process, a worker and PostgreSQL are killed with
-9 in turns. At the end the calls are counted in the table and in what they add up to: both have to be what was
acknowledged. Bars (design section 10): 5,000 calls a second for five minutes on two cores, pages within 300 ms (p95),
nothing lost after a 202.
"""

import argparse
import http.client
import http.cookiejar
import os
import queue
import signal
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness.figures import percentile
from tests.config.test_up import processes_of
from tests.instance import Instance, start

BATCH, SENDERS = 500, 4
BAR_RATE, BAR_PAGE_MS = 5_000, 300.0
KILLED = (("granian", "config.wsgi"), ("celery", "worker"), ("bin/postgres", "-D"))
PROMPT = "support.route"
SET_UP = """
from registry.models import *
from registry.accounts import api_keys, permissions, projects
from registry.prompts import lifecycle, versions
project = projects.create_project(slug="bench", name="Bench")
user = User.objects.create_user("looker", password="correct horse battery")
Membership.objects.create(project=project, user=user, role=Role.ADMIN)
actor = permissions.actor_for_user(user, project)
prompt = lifecycle.create(actor, name="support.route")
content = {"messages": [{"role": "user", "content": "Sort {{ ticket }}"}]}
versions.commit(actor, prompt, content=content, message="First")
print(api_keys.issue(actor, name="service", scopes=["observe", "read"])[1])
"""
COUNT = """
from inference.models import Call, UsageRollup
from inference.usage import rollups
from inference.usage.stats import sum_usage
while rollups.merge():
    pass
print(Call.objects.count(), sum_usage(map(rollups.usage_in, UsageRollup.objects.all())).calls)
"""


class Senders:
    """Threads that report calls at a rate, and count what was acknowledged."""

    def __init__(self, instance: Instance, token: str, rate: int, seconds: float) -> None:
        self._port, self._token = instance.port, token
        self._batches: queue.Queue[int | None] = queue.Queue()
        self._rate, self._seconds = rate, seconds
        self.acknowledged = self.again = 0
        self.refusal = ""
        self.latencies: list[float] = []
        self._lock = threading.Lock()

    def run(self) -> float:
        """Report calls until the time is over and everything is acknowledged; returns the seconds that it took."""
        threads = [threading.Thread(target=self._send) for _ in range(SENDERS)]
        for thread in threads:
            thread.start()
        began = time.monotonic()
        for number in range(round(self._rate * self._seconds / BATCH)):
            time.sleep(max(0.0, began + number * BATCH / self._rate - time.monotonic()))
            self._batches.put(number)
        for _ in threads:
            self._batches.put(None)
        for thread in threads:
            thread.join()
        return time.monotonic() - began

    def _send(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        while (number := self._batches.get()) is not None:
            body = _body(number)
            while True:
                started = time.perf_counter()
                try:
                    connection.request("POST", "/api/v1/calls", body, headers)
                    answer = connection.getresponse()
                    text = answer.read()
                except (OSError, http.client.HTTPException):
                    connection.close()
                else:
                    if answer.status == 202:
                        break
                    if answer.status < 500 and answer.status != 429:
                        self.refusal = f"{answer.status} {text[:300]!r}"
                        return
                with self._lock:
                    self.again += 1
                time.sleep(0.2)
            with self._lock:
                self.acknowledged += BATCH
                self.latencies.append((time.perf_counter() - started) * 1_000)


def _body(number: int) -> bytes:
    first = number * BATCH
    calls = (
        f'{{"id":"c{first + place}","prompt":"{PROMPT}@1","model":"gpt-6-luna","latency_ms":{300 + place % 211},'
        f'"tokens_in":{380 + place % 37},"tokens_cached":256,"tokens_out":{20 + place % 9},"format_ok":true,'
        f'"label":"label-{place % 12}","subject":"user-{(first + place) % 9973}","finish_reason":"stop"}}'
        for place in range(BATCH)
    )
    return f'{{"calls":[{",".join(calls)}]}}'.encode()


class Looker:
    """Somebody who opens pages."""

    PAGES = ("calls/", f"prompts/{PROMPT}/live/", "calls/?since=1h&state=failed", "prompts/")

    def __init__(self, instance: Instance) -> None:
        self._address = instance.address
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
        page = self._open("/login/")
        token = page.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
        form = {"username": "looker", "password": "correct horse battery", "csrfmiddlewaretoken": token}
        self._open("/login/", urllib.parse.urlencode(form).encode())
        self.taken: dict[str, list[float]] = {name: [] for name in self.PAGES}
        self.failed = 0

    def _open(self, path: str, form: bytes | None = None) -> str:
        request = urllib.request.Request(f"{self._address}{path}", form, {"Referer": f"{self._address}/login/"})  # noqa: S310
        with self._opener.open(request, timeout=30) as answer:
            return str(answer.read().decode())

    def look(self, is_over: threading.Event) -> None:
        while not is_over.is_set():
            for name in self.PAGES:
                started = time.perf_counter()
                try:
                    self._open(f"/p/bench/{name}")
                except (OSError, http.client.HTTPException):
                    self.failed += 1
                else:
                    self.taken[name].append((time.perf_counter() - started) * 1_000)
                is_over.wait(0.25)


def _kill(instance: Instance, is_over: threading.Event, killed: list[str]) -> None:
    """Kill a process every ten seconds; the instance starts it again."""
    for words in _again_and_again():
        if is_over.wait(10):
            return
        alive = processes_of(instance.home)
        names = sorted(pid for pid, command in alive.items() if all(word in command for word in words))
        if names:
            os.kill(names[0], signal.SIGKILL)
            killed.append(words[0])


def _again_and_again() -> Iterator[tuple[str, ...]]:
    while True:
        yield from KILLED


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--rate", type=int, default=BAR_RATE)
    parser.add_argument("--kill", action="store_true", help="kill processes meanwhile")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cuebook-calls-") as directory:
        instance = start(Path(directory) / "var", "--no-demo")
        try:
            token = instance.manage("shell", "-v", "0", "-c", SET_UP).split()[-1]
            return _measure(instance, token, options)
        finally:
            instance.stop()


def _measure(instance: Instance, token: str, options: argparse.Namespace) -> int:
    looker = Looker(instance)
    senders = Senders(instance, token, options.rate, options.seconds)
    is_over = threading.Event()
    killed: list[str] = []
    beside = [threading.Thread(target=looker.look, args=(is_over,))]
    if options.kill:
        beside.append(threading.Thread(target=_kill, args=(instance, is_over, killed)))
    for thread in beside:
        thread.start()
    seconds = senders.run()
    is_over.set()
    for thread in beside:
        thread.join()
    if senders.refusal:
        raise SystemExit(f"a batch was refused: {senders.refusal}")
    rows, counted = map(int, instance.manage("shell", "-v", "0", "-c", COUNT).split()[-2:])
    rate = senders.acknowledged / seconds
    print(f"{senders.acknowledged:,} calls in {seconds:.1f} s: {rate:,.0f} a second (bar {BAR_RATE:,})")
    p50, p95 = (percentile(sorted(senders.latencies), share) for share in (50, 95))
    print(f"a batch of {BATCH} takes {p50:.0f} ms at the median, p95 {p95:.0f}; {senders.again} were sent again")
    pages = [taken for name in looker.PAGES for taken in looker.taken[name]]
    for name, taken in looker.taken.items():
        middle, slow = (percentile(sorted(taken), share) for share in (50, 95))
        print(f"  /{name}: median {middle:.0f} ms, p95 {slow:.0f} ms of {len(taken)}")
    slowest = percentile(sorted(pages), 95)
    print(f"pages: p95 {slowest:.0f} ms (bar {BAR_PAGE_MS:.0f}); {looker.failed} not answered")
    print(f"acknowledged {senders.acknowledged:,}, in the table {rows:,}, added up {counted:,}; killed {len(killed)}")
    is_whole = rows == counted == senders.acknowledged
    if options.kill:
        return 0 if is_whole and killed else 1
    return 0 if is_whole and rate >= 0.99 * min(options.rate, BAR_RATE) and slowest <= BAR_PAGE_MS else 1


if __name__ == "__main__":
    sys.exit(main())
