"""What a prompt costs in the service: the client's `get` and `render`, beside what else one could do.

    .venv/bin/python benchmarks/client.py [rounds]

One server with a hundred live prompts, read by each client in one process. Rounds are interleaved; medians are
compared. Bar (design section 10): a warm `get` takes less than two microseconds and does no I/O, which a
profile of its calls shows.
"""

import http.client
import json
import logging
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "client")]

from cuebook import Cuebook
from langfuse import Langfuse

from benchmarks.fetch import TEXT, serving
from benchmarks.harness.database import fresh_database

ROUNDS, CALLS, SLOW_CALLS = 21, 20_000, 50
BAR_MICROSECONDS = 2.0
MAY_CALL = {"Cuebook.get", "dict.get"}
LOOKUP, GET = "a dictionary's lookup", "cuebook get, warm"


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    logging.disable(logging.WARNING)
    with fresh_database(), ExitStack() as stack:
        # Django's models can be imported only now.
        from benchmarks.harness.registry_rows import Filler  # noqa: PLC0415
        from registry.accounts import api_keys, permissions  # noqa: PLC0415
        from registry.models import Project  # noqa: PLC0415

        filler = Filler(TEXT, 1)
        filler.fill_prompts(100)
        filler.release()
        project = Project.objects.get(slug="benchmark")
        _, token = api_keys.issue(permissions.actor_for_command_line(project), name="benchmark", scopes=["read"])
        name = project.prompts.order_by("pk")[0].name
        address = stack.enter_context(serving("config.wsgi:application"))
        began = time.perf_counter()
        client = stack.enter_context(Cuebook(address, token, cache_dir=None, refresh_seconds=3_600))
        client.get(name)
        first = (time.perf_counter() - began) * 1_000
        called = called_by(client, name)
        times = measured(cases(client, address, token, name), rounds)
    return report(times, first, called)


def cases(client: Cuebook, address: str, token: str, name: str) -> dict[str, tuple[Callable[[], Any], int]]:
    """What is measured, and how many calls a round."""
    _, public, secret = token.split("_")
    langfuse = Langfuse(public_key=public, secret_key=secret, base_url=address, tracing_enabled=False)
    theirs = langfuse.get_prompt(name, label="production", type="chat", cache_ttl_seconds=3_600)
    door = http.client.HTTPConnection(urlsplit(address).netloc, timeout=10)
    prompts = {name: client.get(name)}
    headers = {"Authorization": f"Bearer {token}"}

    def fetch() -> Any:
        door.request("GET", f"/api/v1/prompts/{name}/versions/production", headers=headers)
        return json.loads(door.getresponse().read())

    return {
        LOOKUP: (lambda: prompts[name], CALLS),
        GET: (lambda: client.get(name), CALLS),
        "langfuse get_prompt, cached": (
            lambda: langfuse.get_prompt(name, label="production", type="chat", cache_ttl_seconds=3_600),
            SLOW_CALLS,
        ),
        "a fetch over a kept connection": (fetch, SLOW_CALLS),
        "cuebook render": (lambda: client.render(name, ticket="My card was charged twice"), SLOW_CALLS),
        "langfuse compile": (lambda: theirs.compile(ticket="My card was charged twice"), SLOW_CALLS),
    }


def measured(cases: dict[str, tuple[Callable[[], Any], int]], rounds: int) -> dict[str, float]:
    """The median round's microseconds a call."""
    microseconds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, (call, calls) in cases.items():
            began = time.perf_counter()
            for _ in range(calls):
                call()
            microseconds[name].append((time.perf_counter() - began) / calls * 1e6)
    return {name: statistics.median(rows) for name, rows in microseconds.items()}


def called_by(client: Cuebook, name: str) -> set[str]:
    """Every function that warm gets call, Python's and C's: what does I/O would be among them."""
    seen: set[str] = set()

    def note(frame: Any, event: str, function: Any) -> None:
        if event == "call":
            seen.add(frame.f_code.co_qualname)
        elif event == "c_call":
            seen.add(function.__qualname__)

    sys.setprofile(note)
    for _ in range(1_000):
        client.get(name)
    sys.setprofile(None)
    return seen - {"setprofile"}


def report(times: dict[str, float], first: float, called: set[str]) -> int:
    """A table with ratios to the lookup; 1 where the bar falls."""
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"first get, which loads 100 prompts: {first:.0f} ms\n")
    print("| call | median microseconds | times cuebook get |\n|---|---|---|")
    for name, taken in times.items():
        print(f"| {name} | {taken:.2f} | {taken / times[GET]:.2f} |")
    is_well = times[GET] < BAR_MICROSECONDS and called <= MAY_CALL
    print(f"\nA warm get calls {', '.join(sorted(called))}. Bar: under {BAR_MICROSECONDS:g} microseconds,", end=" ")
    print("and nothing that does I/O:", end=" ")
    print("held" if is_well else "FALLEN")
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
