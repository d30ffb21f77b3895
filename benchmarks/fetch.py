"""The fetch against the least that a server can do: the same bytes by a bare WSGI function on the same server.

    .venv/bin/python benchmarks/fetch.py [rounds]

Each case is a granian with one worker. Rounds are interleaved, so that a noisy minute is everybody's; medians of the
rounds are compared. Bars (design section 10): the warm fetch by environment has at least 60 % of the bare requests a
second, and a p99 no worse than three times.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness import load
from benchmarks.harness.database import fresh_database
from benchmarks.harness.load import Load
from tests.instance import free_port

ROOT = Path(__file__).resolve().parent.parent
TEXT = "You sort support tickets.\n" + "- a rule about a category\n" * 30 + "Ticket {}: {{{{ ticket }}}}"
SECONDS, CONNECTIONS, ROUNDS = 4, 16, 3
RATE_BAR, LATENCY_BAR = 0.60, 3.0
BARE, WARM, COLD = "bare function", "fetch by environment, warm", "fetch by environment, cold"
SUBJECT = "fetch for a subject, warm"


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with fresh_database(), ExitStack() as stack:
        # Django's models can be imported only now.
        from benchmarks.harness.registry_rows import Filler  # noqa: PLC0415
        from registry.accounts import api_keys, permissions  # noqa: PLC0415
        from registry.models import Project, PromptVersion  # noqa: PLC0415

        filler = Filler(TEXT, 3)
        filler.fill_prompts(20)
        filler.release()
        project = Project.objects.get(slug="benchmark")
        _, token = api_keys.issue(permissions.actor_for_command_line(project), name="benchmark", scopes=["read"])
        version = PromptVersion.objects.filter(prompt__project=project, number=3).select_related("prompt")[0]
        prompt = f"/api/v1/prompts/{version.prompt.name}/versions"
        headers = {"Authorization": f"Bearer {token}"}
        ours = stack.enter_context(serving("config.wsgi:application"))
        cold = stack.enter_context(serving("benchmarks.harness.cold:application"))
        django = stack.enter_context(serving("benchmarks.harness.plain_django:application"))
        answer = stack.enter_context(answer_file(f"{ours}{prompt}/production", headers))
        bare = stack.enter_context(serving("benchmarks.harness.bare:application", BARE_ANSWER=str(answer)))
        tag = {**headers, "If-None-Match": f'"{version.content_hash}"'}
        cases = {
            BARE: (f"{bare}{prompt}/production", headers),
            WARM: (f"{ours}{prompt}/production", headers),
            "fetch by hash, warm": (f"{ours}/api/v1/versions/{version.content_hash}", headers),
            "304, warm": (f"{ours}{prompt}/production", tag),
            SUBJECT: (f"{ours}/api/v1/prompts/{_experiment(project)}/versions/production?subject=user-17", headers),
            "snapshot of 20 prompts, warm": (f"{ours}/api/v1/environments/production/snapshot", headers),
            COLD: (f"{cold}{prompt}/production", headers),
            "Django alone, by environment": (f"{django}{prompt}/production", headers),
        }
        loads: dict[str, list[Load]] = {name: [] for name in cases}
        for _ in range(rounds):
            for name, (url, sent) in cases.items():
                ask(url, sent)
                loads[name].append(load.run(url, sent, seconds=SECONDS, connections=CONNECTIONS))
        return report(loads)


def _experiment(project: Any) -> str:
    """Begin an experiment with a prompt of its own; returns its name."""
    from inference.experiments import lifecycle  # noqa: PLC0415
    from registry.accounts import permissions  # noqa: PLC0415
    from registry.models import Environment, Prompt  # noqa: PLC0415
    from registry.promotions import workflow  # noqa: PLC0415

    Environment.objects.filter(project=project, name="production").update(protected=False)
    production = Environment.objects.get(project=project, name="production")
    production.project = project
    actor = permissions.actor_for_command_line(project)
    name = Prompt.objects.filter(project=project).order_by("-id")[0].name
    document = {
        "prompt": name,
        "baseline": f"{name}@production",
        "arms": [{"version": f"{name}@2", "weight": 50}],
        "primary": {"metric": "score"},
        "ramp": [100],
    }
    lifecycle.commit(actor, "benchmark", document)
    experiment = lifecycle.get_experiment(project, "benchmark")
    workflow.apply(actor, lifecycle.propose(actor, experiment, production))
    return name


def report(loads: dict[str, list[Load]]) -> int:
    """A table with ratios to the bare function; 1 where a bar falls."""
    rate = {name: statistics.median(run.rate for run in rows) for name, rows in loads.items()}
    p50 = {name: statistics.median(run.p50 for run in rows) for name, rows in loads.items()}
    p99 = {name: statistics.median(run.p99 for run in rows) for name, rows in loads.items()}
    failed = sum(run.failed for rows in loads.values() for run in rows)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {load.tool()},")
    print(f"{CONNECTIONS} connections, {SECONDS} s, median of {len(loads[BARE])} interleaved rounds\n")
    print("| case | requests/s | of bare | p50 ms | p99 ms | p99 to bare |")
    print("|---|---|---|---|---|---|")
    for name in loads:
        ratios = f"{rate[name] / rate[BARE]:.2f}", f"{p99[name] / p99[BARE]:.2f}"
        print(f"| {name} | {rate[name]:,.0f} | {ratios[0]} | {p50[name]:.2f} | {p99[name]:.2f} | {ratios[1]} |")
    is_fast = rate[WARM] / rate[BARE] >= RATE_BAR and p99[WARM] / p99[BARE] <= LATENCY_BAR
    print(f"\n{failed} refused. Bars: at least {RATE_BAR:.0%} of bare and {LATENCY_BAR:g} times its p99:", end=" ")
    print("held" if is_fast and not failed else "FALLEN")
    return 0 if is_fast and not failed else 1


@contextmanager
def serving(application: str, **environment: str) -> Iterator[str]:
    """A granian with one worker, as `make run` starts it; its address."""
    port = free_port()
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", application, "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1", "--blocking-threads", "64", "--no-ws", "--log-level", "warning"]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "DATABASE_POOL_SIZE": "16", **environment})  # noqa: S603 - our own server
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(address)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait(address: str) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{address}/healthz", timeout=2).close()  # noqa: S310 - loopback
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"{address} does not answer.")


def ask(url: str, headers: dict[str, str]) -> tuple[list[tuple[str, str]], bytes]:
    try:
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - loopback
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            return list(answer.headers.items()), answer.read()
    except urllib.error.HTTPError as refusal:
        if refusal.code != 304:
            raise
        return [], b""


@contextmanager
def answer_file(url: str, headers: dict[str, str]) -> Iterator[Path]:
    """What the fetch answers, in a file for the bare function."""
    headers_received, body = ask(url, headers)
    own = {"date", "server", "connection", "transfer-encoding"}
    end_to_end = [header for header in headers_received if header[0].lower() not in own]
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "answer.json"
        path.write_text(json.dumps({"headers": end_to_end, "body": body.decode()}), encoding="utf-8")
        yield path


if __name__ == "__main__":
    sys.exit(main())
