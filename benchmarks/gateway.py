"""The inference service against a direct call, and against LiteLLM's proxy, on the same upstream.

    .venv/bin/python benchmarks/gateway.py [--litellm PATH_TO_ITS_VENV]

LiteLLM is installed elsewhere, because its dependencies are not ours: `python -m venv X; X/bin/pip install
'litellm[proxy]'`. Requests go in turns, one to each, so that a noisy minute is everybody's. Bars (design section 10):
sequential on loopback at most 4 ms are added to the median of a direct call, at most half of what LiteLLM adds; with
64 in flight to an upstream that takes 50 ms at least twice LiteLLM's requests for a second of processor time; a stream
begins at most 5 ms later.
"""

import argparse
import asyncio
import http.client
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness.database import fresh_database
from tests.instance import free_port

ROOT = Path(__file__).resolve().parent.parent
TEXT = "You sort support tickets into incident, billing, how-to and request. Answer with the category alone."
TICKET = "I was charged two times this month, and nobody answers the telephone."
WARM_UP, ROUNDS = 30, 400
CONNECTIONS, SECONDS = 64, 8
ADDED_BAR, STREAM_BAR = 4.0, 5.0
DIRECT, OURS, LITELLM = "direct", "Cuebook", "LiteLLM"


@dataclass(frozen=True)
class Place:
    """Where calls go: a port, headers, and what is asked there of the fast and of the slow model."""

    port: int
    headers: dict[str, str]
    fast: dict[str, object]
    slow: dict[str, object]
    # Whose processor time is counted: the process and its children.
    process: int = 0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--litellm", type=Path, help="a virtual environment with litellm[proxy]")
    litellm = parser.parse_args().litellm
    with fresh_database(), ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        upstream, _ = stack.enter_context(serving("benchmarks.harness.upstream:application"))
        places = {DIRECT: Place(upstream, {}, direct("fast"), direct("slow"))}
        places[OURS] = stack.enter_context(ours(upstream, directory))
        if litellm:
            places[LITELLM] = stack.enter_context(litellm_proxy(litellm, upstream, directory))
        return report(
            places, sequential(places), streams(places), {name: loaded(place) for name, place in places.items()}
        )


def direct(model: str) -> dict[str, object]:
    messages = [{"role": "system", "content": TEXT}, {"role": "user", "content": TICKET}]
    return {"model": model, "messages": messages, "temperature": 0}


@contextmanager
def ours(upstream: int, directory: Path) -> Iterator[Place]:
    # Django's models can be imported only now.
    from evaluations.providers import configuration as providers  # noqa: PLC0415
    from registry.accounts import api_keys, permissions, projects  # noqa: PLC0415
    from registry.promotions import environments, workflow  # noqa: PLC0415
    from registry.prompts import lifecycle as prompts  # noqa: PLC0415
    from registry.prompts import versions  # noqa: PLC0415

    os.environ["PROVIDER_PRIVATE_HOSTS"] = "127.0.0.1"
    from django.conf import settings  # noqa: PLC0415

    settings.PROVIDER_PRIVATE_HOSTS = ["127.0.0.1"]
    actor = permissions.actor_for_command_line(projects.create_project(slug="benchmark", name="Benchmark"))
    address = f"http://127.0.0.1:{upstream}/v1"
    provider = providers.create(actor, name="upstream", base_url=address, key="x", max_concurrency=256)
    environment = environments.create(actor, name="bench", rules=environments.Rules(False, 1, ()))
    for model in ("fast", "slow"):
        providers.set_price(actor, providers.add_model(actor, provider, model), {"input": "1", "output": "4"})
        messages = [{"role": "system", "content": TEXT}, {"role": "user", "content": "{{ ticket }}"}]
        content = {"messages": messages, "model": {"name": model, "temperature": 0}}
        prompt = prompts.create(actor, name=f"bench.{model}")
        version = versions.commit(actor, prompt, content=content, message="").version
        workflow.apply(actor, workflow.request(actor, prompt, version, environment))
    _, token = api_keys.issue(actor, name="benchmark", scopes=["infer"])

    def question(model: str) -> dict[str, object]:
        return {"model": f"prompt:bench.{model}@bench", "messages": [{"role": "user", "content": TICKET}]}

    with serving("config.gateway:app", SPOOL=str(directory / "spool")) as (port, process):
        headers = {"Authorization": f"Bearer {token}"}
        yield Place(port, headers, question("fast"), question("slow"), process)


@contextmanager
def litellm_proxy(environment: Path, upstream: int, directory: Path) -> Iterator[Place]:
    parameters = {"api_base": f"http://127.0.0.1:{upstream}/v1", "api_key": "x"}
    models = [
        {"model_name": model, "litellm_params": {"model": f"openai/{model}", **parameters}}
        for model in ("fast", "slow")
    ]
    config = directory / "litellm.json"
    config.write_text(json.dumps({"model_list": models, "general_settings": {"master_key": "sk-benchmark"}}))
    port = free_port()
    command = [
        str(environment / "bin" / "litellm"),
        "--config",
        str(config),
        "--port",
        str(port),
        "--host",
        "127.0.0.1",
    ]
    # No telemetry, and no database or key of the surroundings.
    clean = {"PATH": os.environ["PATH"], "HOME": str(directory), "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    with (directory / "litellm.log").open("w") as log, running(command, port, clean, log) as process:
        yield Place(port, {"Authorization": "Bearer sk-benchmark"}, direct("fast"), direct("slow"), process)


@contextmanager
def serving(application: str, **environment: str) -> Iterator[tuple[int, int]]:
    """A granian with one worker, as `make run` starts it; its port and its process."""
    port = free_port()
    command = [sys.executable, "-m", "granian", "--interface", "asgi", application, "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1", "--no-ws", "--log-level", "warning"]
    with running(command, port, {**os.environ, **environment}) as process:
        yield port, process


@contextmanager
def running(command: list[str], port: int, environment: dict[str, str], log: object = None) -> Iterator[int]:
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)  # type: ignore[call-overload]  # noqa: S603 - our own servers
    try:
        deadline = time.monotonic() + 180
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} does not answer.")
            time.sleep(0.2)
        yield process.pid
    finally:
        process.terminate()
        process.wait(timeout=30)


def _answers(port: int) -> bool:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/readyz")
        return connection.getresponse().status != 503
    except OSError:
        return False


def sequential(places: dict[str, Place]) -> dict[str, list[float]]:
    """Milliseconds of single calls, one to each place in turn."""
    connections = {name: http.client.HTTPConnection("127.0.0.1", place.port) for name, place in places.items()}
    taken: dict[str, list[float]] = {name: [] for name in places}
    for turn in range(WARM_UP + ROUNDS):
        for name, place in places.items():
            start = time.perf_counter()
            answer = _post(connections[name], place, place.fast)
            if turn >= WARM_UP:
                taken[name].append((time.perf_counter() - start) * 1_000)
            if json.loads(answer)["choices"][0]["message"]["content"] != "billing":
                raise RuntimeError(f"{name} answered {answer[:300]!r}")
    return taken


def streams(places: dict[str, Place]) -> dict[str, list[float]]:
    """Milliseconds until the first piece of text of a stream."""
    connections = {name: http.client.HTTPConnection("127.0.0.1", place.port) for name, place in places.items()}
    taken: dict[str, list[float]] = {name: [] for name in places}
    for turn in range(WARM_UP + ROUNDS):
        for name, place in places.items():
            start = time.perf_counter()
            body = json.dumps({**place.fast, "stream": True})
            headers = {"Content-Type": "application/json", **place.headers}
            connections[name].request("POST", "/v1/chat/completions", body, headers)
            response = connections[name].getresponse()
            while b'"content":"b"' not in response.readline().replace(b" ", b""):
                pass
            if turn >= WARM_UP:
                taken[name].append((time.perf_counter() - start) * 1_000)
            response.read()
    return taken


def _post(connection: http.client.HTTPConnection, place: Place, body: dict[str, object]) -> bytes:
    headers = {"Content-Type": "application/json", **place.headers}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    response = connection.getresponse()
    answer = response.read()
    if response.status != 200:
        raise RuntimeError(f"{response.status}: {answer[:300]!r}")
    return answer


def loaded(place: Place) -> tuple[float, float]:
    """Requests a second with many in flight to the slow model, and for a second of the place's processor time."""
    start_cpu = processor_seconds(place.process)
    count = asyncio.run(_load(place))
    cpu = processor_seconds(place.process) - start_cpu
    return count / SECONDS, count / cpu if cpu else 0.0


async def _load(place: Place) -> int:
    end, body = time.monotonic() + SECONDS, json.dumps(place.slow).encode()
    named = {"Content-Type": "application/json", "Host": "127.0.0.1", "Content-Length": str(len(body)), **place.headers}
    head = "POST /v1/chat/completions HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in named.items())
    request = head.encode() + b"\r\n" + body

    async def ask() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
        count = 0
        while time.monotonic() < end:
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            lowered = answer.lower()
            if b"content-length: " in lowered:
                await reader.readexactly(int(lowered.split(b"content-length: ")[1].split(b"\r\n")[0]))
            else:
                while size := int((await reader.readline()).strip(), 16):
                    await reader.readexactly(size + 2)
                await reader.readline()
            if not answer.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"Under load: {answer[:300]!r}")
            count += 1
        writer.close()
        return count

    return sum(await asyncio.gather(*(ask() for _ in range(CONNECTIONS))))


def processor_seconds(process: int) -> float:
    """Seconds of processor time of a process and all below it."""
    if not process:
        return 0.0
    parents: dict[int, list[int]] = {}
    used: dict[int, float] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        number = int(path.parent.name)
        parents.setdefault(int(fields[1]), []).append(number)
        used[number] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    total, waiting = 0.0, [process]
    while waiting:
        number = waiting.pop()
        total += used.get(number, 0.0)
        waiting += parents.get(number, [])
    return total


def report(
    places: dict[str, Place],
    calls: dict[str, list[float]],
    first_pieces: dict[str, list[float]],
    loads: dict[str, tuple[float, float]],
) -> int:
    """A table, and 1 where a bar falls."""
    median = {name: statistics.median(taken) for name, taken in calls.items()}
    first = {name: statistics.median(taken) for name, taken in first_pieces.items()}
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()};")
    print(f"{ROUNDS} calls each in turns; {CONNECTIONS} in flight to 50 ms for {SECONDS} s\n")
    print("| | p50 ms | added | p99 ms | first piece ms | added | requests/s | for a second of processor |")
    print("|---|---|---|---|---|---|---|---|")
    for name in places:
        p99 = sorted(calls[name])[int(len(calls[name]) * 0.99)]
        added, added_first = median[name] - median[DIRECT], first[name] - first[DIRECT]
        rate, for_processor = loads[name]
        print(
            f"| {name} | {median[name]:.2f} | {added:.2f} | {p99:.1f} | {first[name]:.2f} | {added_first:.2f} |"
            f" {rate:,.0f} | {for_processor:,.0f} |"
        )
    added = median[OURS] - median[DIRECT]
    is_held = added <= ADDED_BAR and first[OURS] - first[DIRECT] <= STREAM_BAR
    if LITELLM in places:
        of_litellm = added / (median[LITELLM] - median[DIRECT])
        times = loads[OURS][1] / loads[LITELLM][1]
        print(
            f"\nOf LiteLLM's: {of_litellm:.2f} of what is added, {times:.1f} times the requests for its processor time."
        )
        is_held = is_held and of_litellm <= 0.5 and times >= 2
    print("\nBars:", "held" if is_held else "FALLEN")
    return 0 if is_held else 1


if __name__ == "__main__":
    sys.exit(main())
