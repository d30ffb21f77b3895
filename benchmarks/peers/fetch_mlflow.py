"""The fetch beside MLflow's and Phoenix's: the same prompt on the same machine, asked for in turn.

    .venv/bin/python benchmarks/peers/fetch_mlflow.py [folder]

Both are installed into environments of their own below `folder` (default: a temporary one), unless they are there
already. Each server is started as its own documentation says, with one worker and its own SQLite, and without
authentication; ours has PostgreSQL and asks for a key. First each as fast as it goes, then all at one rate, which the
slowest holds: what a request takes at equal load. Bars (design section 10): a hundred times the requests a second of
either, and at equal load a fiftieth of its p99.
"""

import json
import os
import platform
import signal
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

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.fetch import TEXT, serving
from benchmarks.harness import load
from benchmarks.harness.database import fresh_database
from tests.instance import free_port

SECONDS, CONNECTIONS, ROUNDS = 5, 16, 3
# Of what the slowest answers as fast as it goes: a server at its limit has a queue, and no time of its own.
EQUAL_SHARE = 0.5
RATE_BAR, LATENCY_BAR = 100.0, 50.0
OURS = "Cuebook"
PACKAGES = {"mlflow": "mlflow", "phoenix": "arize-phoenix"}
START_SECONDS = 180
MESSAGES = [{"role": "user", "content": TEXT.format("one")}]
REGISTER = """
import json, sys, mlflow
mlflow.set_tracking_uri(sys.argv[1])
mlflow.genai.register_prompt(name="triage", template=json.loads(sys.argv[2]))
mlflow.genai.set_prompt_alias("triage", alias="production", version=1)
"""
PHOENIX = {
    "prompt": {"name": "triage"},
    "version": {
        "model_provider": "OPENAI",
        "model_name": "gpt-4o-mini",
        "template": {"type": "chat", "messages": MESSAGES},
        "template_type": "CHAT",
        "template_format": "MUSTACHE",
        "invocation_parameters": {"type": "openai", "openai": {}},
    },
}


def main() -> int:
    with ExitStack() as stack:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        installed = {name: install(folder / name, package) for name, package in PACKAGES.items()}
        stack.enter_context(fresh_database())
        addresses = {
            OURS: (ours(stack.enter_context(serving("config.wsgi:application"))), token()),
            f"MLflow {installed['mlflow']}": (stack.enter_context(mlflow(folder / "mlflow", home)), {}),
            f"Phoenix {installed['phoenix']}": (stack.enter_context(phoenix(folder / "phoenix", home)), {}),
        }
        loads: dict[str, list[load.Load]] = {name: [] for name in addresses}
        for _ in range(ROUNDS):
            for name, (url, headers) in addresses.items():
                answered(url, headers)
                loads[name].append(load.run(url, headers, seconds=SECONDS, connections=CONNECTIONS))
        rate = EQUAL_SHARE * min(statistics.median(run.rate for run in runs) for runs in loads.values())
        equal: dict[str, list[load.Load]] = {name: [] for name in addresses}
        for _ in range(ROUNDS):
            for name, (url, headers) in addresses.items():
                own = load.run_at(rate, url, headers, seconds=SECONDS, connections=CONNECTIONS)
                equal[name].append(own)
    return report(loads, equal, rate)


def install(place: Path, package: str) -> str:
    """The package in an environment of its own; its version."""
    python = place / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)  # noqa: S603 - our own Python
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", package], check=True)  # noqa: S603
    ask = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run([str(python), "-c", ask], check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603


def ours(address: str) -> str:
    """A live prompt of ours; where it is fetched."""
    # Django's models can be imported only now.
    from registry.accounts import permissions, projects  # noqa: PLC0415
    from registry.promotions import environments, workflow  # noqa: PLC0415
    from registry.prompts import lifecycle as prompts  # noqa: PLC0415
    from registry.prompts import versions  # noqa: PLC0415

    project = projects.create_project(slug="benchmark", name="Benchmark")
    actor = permissions.actor_for_command_line(project)
    prompt = prompts.create(actor, name="triage")
    version = versions.commit(actor, prompt, content={"messages": MESSAGES}).version
    workflow.apply(
        actor, workflow.request(actor, prompt, version, environments.get_environment(project, "development"))
    )
    return f"{address}/api/v1/prompts/triage/versions/development"


def token() -> dict[str, str]:
    from registry.accounts import api_keys, permissions  # noqa: PLC0415
    from registry.models import Project  # noqa: PLC0415

    actor = permissions.actor_for_command_line(Project.objects.get(slug="benchmark"))
    return {"Authorization": f"Bearer {api_keys.issue(actor, name='benchmark', scopes=['read'])[1]}"}


@contextmanager
def mlflow(place: Path, home: Path) -> Iterator[str]:
    """MLflow's server with the prompt in it; where its client fetches a prompt by alias."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [str(place / "bin" / "mlflow"), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{home / 'mlflow.db'}"]
    with running(command, home / "mlflow.log", f"{address}/health", {}):
        own = [str(place / "bin" / "python"), "-c", REGISTER, address, json.dumps(MESSAGES)]
        subprocess.run(own, check=True, capture_output=True, cwd=home)  # noqa: S603
        yield f"{address}/api/2.0/mlflow/registered-models/alias?name=triage&alias=production"


@contextmanager
def phoenix(place: Path, home: Path) -> Iterator[str]:
    """Phoenix's server with the prompt in it; where its client fetches a prompt by tag."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    own = {"PHOENIX_HOST": "127.0.0.1", "PHOENIX_PORT": str(port), "PHOENIX_GRPC_PORT": str(free_port())}
    own |= {"PHOENIX_WORKING_DIR": str(home / "phoenix"), "PHOENIX_TELEMETRY_ENABLED": "false"}
    with running([str(place / "bin" / "phoenix"), "serve"], home / "phoenix.log", f"{address}/healthz", own):
        version_id = json.loads(answered(f"{address}/v1/prompts", {}, PHOENIX))["data"]["id"]
        answered(f"{address}/v1/prompt_versions/{version_id}/tags", {}, {"name": "production"})
        yield f"{address}/v1/prompts/triage/tags/production"


@contextmanager
def running(command: list[str], log: Path, health: str, environment: dict[str, str]) -> Iterator[None]:
    """A server and what it starts, until it is ended."""
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - a peer that was installed above
            command, env={**os.environ, **environment}, stdout=output, stderr=output, start_new_session=True
        )
    try:
        for _ in range(START_SECONDS * 2):
            try:
                answered(health, {})
            except OSError:
                if process.poll() is not None:
                    break
                time.sleep(0.5)
            else:
                break
        if process.poll() is not None:
            raise RuntimeError(f"{command[0]} ended: {log.read_text(errors='replace')[-500:]}")
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


def answered(url: str, headers: dict[str, str], body: object = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers})  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
        body: bytes = answer.read()
        return body


def report(loads: dict[str, list[load.Load]], equal: dict[str, list[load.Load]], equal_rate: float) -> int:
    """Two tables with ratios to ours; 1 where a bar falls."""
    rate = {name: statistics.median(run.rate for run in rows) for name, rows in loads.items()}
    failed = sum(run.failed for rows in (*loads.values(), *equal.values()) for run in rows)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {load.tool()},")
    print(f"{CONNECTIONS} connections, {SECONDS} s, median of {ROUNDS} interleaved rounds\n")
    print("| as fast as it goes | requests/s | p50 ms | p99 ms | ours answers so many times as many |")
    print("|---|---|---|---|---|")
    for name, (p50, p99) in _latencies(loads).items():
        print(f"| {name} | {rate[name]:,.0f} | {p50:.2f} | {p99:.2f} | {rate[OURS] / rate[name]:,.0f} |")
    print(f"\n| all at {equal_rate:,.0f} requests/s | p50 ms | p99 ms | its p50 to ours | its p99 to ours |")
    print("|---|---|---|---|---|")
    latencies = _latencies(equal)
    for name, (p50, p99) in latencies.items():
        ratios = f"{p50 / latencies[OURS][0]:,.0f} | {p99 / latencies[OURS][1]:,.0f}"
        print(f"| {name} | {p50:.2f} | {p99:.2f} | {ratios} |")
    peers = [name for name in loads if name != OURS]
    has_rate = all(rate[OURS] >= RATE_BAR * rate[peer] for peer in peers)
    is_well = has_rate and all(latencies[peer][1] >= LATENCY_BAR * latencies[OURS][1] for peer in peers)
    bars = f"{RATE_BAR:g} times the requests/s, and at equal load a p99 {LATENCY_BAR:g} times shorter"
    print(f"\n{failed} refused. Bars: {bars}:", end=" ")
    print("held" if is_well and not failed else "FALLEN")
    return 0 if is_well and not failed else 1


def _latencies(loads: dict[str, list[load.Load]]) -> dict[str, tuple[float, float]]:
    """Return each server's p50 and p99 in milliseconds, the medians of its rounds."""
    return {
        name: (statistics.median(run.p50 for run in runs), statistics.median(run.p99 for run in runs))
        for name, runs in loads.items()
    }


if __name__ == "__main__":
    sys.exit(main())
