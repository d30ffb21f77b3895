"""A run of 100,000 cases: what it does to memory, and whether its page stays quick.

    .venv/bin/python benchmarks/data/large_run.py [cases]

The server answers after 50 ms, in a process of its own. Memory is this process's resident size while it drives the run:
after a tenth of the cases, at the end, and when the figures are worked out.
"""

import multiprocessing
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks import evaluate
from benchmarks.harness.database import fresh_database

CASES = 100_000
LOADED_AT_ONCE = 10_000
PAGE_VISITS = 15


def resident() -> float:
    """This process's memory in MB."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmRSS:"))


def peak() -> float:
    """The most that it ever had, in MB."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM:"))


def measure(url: str, cases: int) -> None:
    from django.test import Client  # noqa: PLC0415

    from evaluations.datasets import ingest  # noqa: PLC0415
    from evaluations.datasets import lifecycle as datasets  # noqa: PLC0415
    from evaluations.datasets.row import Row  # noqa: PLC0415
    from evaluations.providers import configuration as providers  # noqa: PLC0415
    from evaluations.runs import lifecycle as runs  # noqa: PLC0415
    from evaluations.runs.planning import RunSettings  # noqa: PLC0415
    from evaluations.runs.summaries import sum_up  # noqa: PLC0415
    from evaluations.runs.worker import tick  # noqa: PLC0415
    from registry.accounts import projects  # noqa: PLC0415
    from registry.accounts.permissions import actor_for_command_line  # noqa: PLC0415
    from registry.models import Membership, Role, User  # noqa: PLC0415
    from registry.prompts import lifecycle as prompts  # noqa: PLC0415
    from registry.prompts import versions  # noqa: PLC0415

    project = projects.create_project(slug="bench", name="Bench")
    actor = actor_for_command_line(project)
    dataset = datasets.create(actor, name="tickets")
    rows = (
        Row(number, {"variables": {"ticket": f"Ticket number {number}: charged twice"}, "expected": "billing"})
        for number in range(cases)
    )
    loaded = ingest.load(actor, dataset, rows)
    content = {"kind": "chat", "messages": [{"role": "user", "content": "{{ ticket }}"}], "model": {"temperature": 1}}
    version = versions.commit(actor, prompts.create(actor, name="triage"), content=content, message="x").version
    provider = providers.create(actor, name="bench", base_url=url)
    providers.change(actor, provider, max_concurrency=evaluate.CONCURRENCY)
    model = providers.add_model(actor, provider, "bench")
    run_settings = RunSettings(version, loaded.version, ["exact", "latency"], model, split="")
    run = runs.get_run(project, runs.create(actor, run_settings).pk)
    print("| | MB | s |")
    print("|---|---|---|")
    print(f"| before it | {resident():,.0f} | |")
    started = time.perf_counter()
    while (now := runs.get_run(project, run.pk)).answered < cases / 10:
        tick(now, seconds=2)
    print(f"| after {now.answered:,} cases | {resident():,.0f} | {time.perf_counter() - started:,.0f} |")
    tick(now, seconds=3_600)
    done = runs.get_run(project, run.pk)
    if (done.state, done.answered, done.failed) != ("done", cases, 0):
        raise SystemExit(f"the run did not go well: {done.state}, {done.answered}, {done.error}")
    print(f"| after {done.answered:,} cases | {resident():,.0f} | {time.perf_counter() - started:,.0f} |")
    started = time.perf_counter()
    sum_up(done)
    print(f"| figures worked out | {peak():,.0f} at most | {time.perf_counter() - started:,.1f} |")
    person = User.objects.create(username="bench")
    Membership.objects.create(project=project, user=person, role=Role.EDITOR)
    client = Client()
    client.force_login(person)
    for name, path in (
        ("run", f"evaluations/{run.pk}/"),
        ("answers that are wrong", f"evaluations/{run.pk}/?only=wrong"),
    ):
        client.get(f"/p/bench/{path}")
        took = []
        for _ in range(PAGE_VISITS):
            started = time.perf_counter()
            if client.get(f"/p/bench/{path}").status_code != 200:
                raise SystemExit(f"the page {path} is not there")
            took.append(time.perf_counter() - started)
        print(f"| page: {name}, slowest of {PAGE_VISITS} | | {max(took):.3f} |")


def main() -> int:
    cases = int(sys.argv[1]) if len(sys.argv) > 1 else CASES
    own_end, server_end = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=evaluate.serve, args=(server_end,), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{own_end.recv()}/v1"
    os.environ["PROVIDER_PRIVATE_HOSTS"] = "127.0.0.1"
    with fresh_database():
        measure(url, cases)
    server.terminate()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
