"""The command that a newcomer types, for real: `manage.py up` in a fresh home, over HTTP, until it is stopped."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Status, StatusCode

from config.embedded.supervisor import free_port
from registry.content.snippets import snippets
from tests.instance import ROOT, Instance, clean_environment, demo_home, start
from tests.servers import SETTINGS
from tests.waiting import soon

pytestmark = pytest.mark.slow


def processes_of(home: Path) -> dict[int, str]:
    """Command lines of living processes that belong to the home, by process id."""
    processes = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                environment = (entry / "environ").read_bytes().decode(errors="replace")
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
            if str(home) in command or f"CUEBOOK_HOME={home}\0" in environment or data_of(home) in command:
                processes[int(entry.name)] = command
    return processes


def wait_until_idle(processes: list[int]) -> None:
    """Wait until processes have begun: a pool's process that is stopped before that knows of no parent."""
    deadline = time.monotonic() + 60
    before: list[str] = []
    while (spent := [processor_time(process) for process in processes]) != before and time.monotonic() < deadline:
        before = spent
        time.sleep(2)


def processor_time(process: int) -> str:
    """Return the processor time that a process has spent, as the kernel counts it."""
    return " ".join((Path("/proc") / str(process) / "stat").read_text().rpartition(")")[2].split()[11:13])


def data_of(home: Path) -> str:
    """Where the database is: below the home, unless PostgreSQL's unprivileged account cannot reach that."""
    pointer = home / "postgres-is-in"
    return pointer.read_text().strip() if pointer.exists() else str(home)


def database_of(home: Path) -> str:
    """How the instance's database is reached: PostgreSQL writes down where its socket is."""
    pointer = home / "postgres-is-in"
    data = (Path(pointer.read_text().strip()) if pointer.exists() else home) / "postgres"
    sockets = (data / "postmaster.pid").read_text().splitlines()[4]
    return f"host={sockets} user=app dbname=cuebook"


def wait_until_gone(home: Path) -> list[str]:
    deadline = time.monotonic() + 20
    while (left := processes_of(home)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return list(left.values())


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose parents only we may enter, as in a checkout below a private home directory."""
    parent = tmp_path_factory.mktemp("private")
    parent.chmod(0o700)
    return parent / "var"


@pytest.fixture(scope="module")
def instance(home: Path) -> Iterator[Instance]:
    instance = start(home)
    yield instance
    instance.stop()
    forget(home)


def forget(home: Path) -> None:
    """Remove a database that had to be put outside the home."""
    if data_of(home) != str(home):
        shutil.rmtree(data_of(home))


class Model(BaseHTTPRequestHandler):
    """A model provider that answers with what it was asked."""

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        message = {"role": "assistant", "content": json.dumps(request)}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        body = {"id": "x", "object": "chat.completion", "created": 0, "model": request["model"], "choices": [choice]}
        answer = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture
def model() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Model) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


@pytest.mark.parametrize("key", ["curl", "render", "cuebook", "python", "openai", "langfuse"])
def test_a_snippet_works_as_the_page_shows_it(instance: Instance, model: str, key: str, tmp_path: Path):
    path = "/api/v1/prompts/support.triage/versions/production"
    content = instance.call("GET", path)[1]["content"]
    page_snippets = snippets(instance.address, "support.triage", "production", content)
    code = next(snippet.code for snippet in page_snippets if snippet.key == key)
    secrets = {"CUEBOOK_KEY": instance.token, "OPENAI_API_KEY": "none", "OPENAI_BASE_URL": model}
    # As if the client were installed.
    secrets |= {"PYTHONPATH": str(ROOT / "client"), "XDG_CACHE_HOME": str(tmp_path)}

    command = ["bash", "-ec", code] if key in {"curl", "render"} else [sys.executable, "-c", code]
    done = subprocess.run(
        command, env=clean_environment(**secrets), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 0, done.stderr
    assert "You are a classification engine" in done.stdout


def test_metrics_count_what_is_answered_from_memory(instance: Instance):
    def ready() -> float:
        with urllib.request.urlopen(f"{instance.address}/metrics", timeout=20) as answer:
            body = answer.read().decode()
        return float(re.findall(r'cuebook_delivery_answers_total{how="ready"} (\S+)', body)[0])

    path = "/api/v1/prompts/support.triage/versions/production"
    instance.call("GET", path)
    before = ready()
    # They are written every few seconds.
    assert soon(lambda: instance.call("GET", path)[0] == 200 and ready() >= before + 3)


def test_opentelemetrys_own_exporter_reports_calls(instance: Instance):
    credentials = {"Authorization": f"Bearer {instance.token}"}
    exporter = OTLPSpanExporter(endpoint=f"{instance.address}/v1/traces", headers=credentials)
    provider = TracerProvider(resource=Resource({"deployment.environment.name": "staging"}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("service")
    about = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-6-luna"}
    about |= {"gen_ai.prompt.name": "support.triage", "gen_ai.prompt.version": "1"}

    with tracer.start_as_current_span("GET /tickets"), tracer.start_as_current_span("chat gpt-6-luna") as answered:
        answered.set_attributes({**about, "gen_ai.usage.input_tokens": 390, "gen_ai.usage.output_tokens": 21})
        time.sleep(0.02)
    with tracer.start_as_current_span("chat gpt-6-luna") as timed_out:
        timed_out.set_attributes({**about, "error.type": "timeout"})
        timed_out.set_status(Status(StatusCode.ERROR))

    failed, ok = instance.call("GET", "/api/v1/calls?prompt=support.triage")[1]["results"][:2]
    assert (ok["tokens_in"], ok["environment"], ok["failed"]) == (390, "staging", False)
    assert 20 <= ok["latency_ms"] < 5_000
    detail = instance.call("GET", f"/api/v1/calls/{failed['id']}")[1]
    assert (detail["failed"], detail["error"]) == (True, "timeout")
    assert detail["trace"] == f"{timed_out.get_span_context().trace_id:032x}"
    counts = {row["reason"]: row["spans"] for row in instance.call("GET", "/api/v1/spans")[1]["results"]}
    assert counts["no_call"] >= 1


def test_an_arm_that_fails_is_taken_back_by_the_workers(instance: Instance):
    runs = instance.call("GET", "/api/v1/experiment-runs?state=running")[1]["results"]
    (run,) = [each for each in runs if each["prompt"] == "support.answer"]
    calls: list[dict[str, Any]] = []
    for number in range(400):
        path = f"/api/v1/prompts/support.answer/versions/production?subject=failing-{number}"
        version = instance.call("GET", path)[1]
        exposure = version["experiment"]
        about = {"prompt": f"support.answer@{version['number']}", "subject": f"failing-{number}"}
        calls.append({**about, "experiment": exposure, "failed": exposure["arm"] != run["baseline"]})

    assert instance.call("POST", "/api/v1/calls", {"calls": calls})[0] == 202

    def is_over() -> bool:
        return bool(instance.call("GET", f"/api/v1/experiment-runs/{run['id']}")[1]["ended_at"])

    assert soon(is_over, 120)
    events = instance.call("GET", f"/api/v1/experiment-runs/{run['id']}")[1]["events"]
    assert "worse on errors" in next(event["reason"] for event in events if event["kind"] == "stopped")
    # What is served changes with it.
    path = "/api/v1/prompts/support.answer/versions/production?subject=failing-1"
    assert soon(lambda: "experiment" not in instance.call("GET", path)[1])


def warm(instance: Instance, path: str) -> int:
    """Ask until the process surely listens, on a busy machine too; how often that was."""
    for _ in range(6):
        assert instance.call("GET", path)[0] == 200
        time.sleep(0.25)
    return 6


def test_a_database_that_stalls_takes_no_thread_from_what_is_ready(instance: Instance):
    """A migration's lock: every request that needs the table waits, and reads from memory do not notice."""
    fetch = "/api/v1/prompts/support.triage/versions/production"
    warm(instance, fetch)
    answers: list[int] = []

    def list_prompts() -> None:
        answers.append(instance.call("GET", "/api/v1/prompts")[0])

    threads = [threading.Thread(target=list_prompts) for _ in range(80)]
    with psycopg.connect(database_of(instance.home)) as lock:
        lock.execute("LOCK TABLE registry_prompt IN ACCESS EXCLUSIVE MODE")
        for thread in threads:
            thread.start()
        # Requests beyond the slots and the queue are refused at once.
        assert soon(lambda: answers.count(503) >= 80 - 3 * 16), answers
        began = time.monotonic()
        taken = []
        while time.monotonic() - began < 2:
            started = time.monotonic()
            assert instance.call("GET", fetch)[0] == 200
            taken.append(time.monotonic() - started)
        with urllib.request.urlopen(f"{instance.address}/healthz", timeout=2) as alive:
            assert alive.status == 200
        # All threads but those that wait are free, so this is what it always takes.
        assert len(taken) > 20
    for thread in threads:
        thread.join()
    assert answers.count(200) >= 16
    assert set(answers) == {200, 503}
    assert instance.call("GET", "/api/v1/prompts")[0] == 200


def test_the_printed_curl_line_works_as_printed(instance: Instance):
    line = next(line for line in instance.printed.splitlines() if line.strip().startswith("curl "))

    done = subprocess.run(shlex.split(line), capture_output=True, text=True, timeout=30, check=True)

    body = json.loads(done.stdout)
    assert body["prompt"] == "support.triage"
    assert body["environments"] == ["production"]


def test_the_printed_line_for_the_inference_service_works_as_printed(instance: Instance):
    line = [line for line in instance.printed.splitlines() if line.strip().startswith("curl ")][1]

    output = subprocess.run(shlex.split(line), capture_output=True, text=True, timeout=30, check=True).stdout

    # A simulation's answer.
    assert json.loads(output)["choices"][0]["message"]["content"]


@pytest.mark.parametrize("person", ["editor", "reviewer", "admin"])
def test_the_printed_people_can_sign_in(instance: Instance, person: str):
    password = re.findall(rf"^  {person}\s+(\S+)", instance.printed, re.MULTILINE)[0]
    browser = Browser(instance.address)

    assert "support.triage" in browser.sign_in(person, password)


class Browser:
    """Enough of one: cookies, forms and CSRF."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._open = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())

    def sign_in(self, name: str, password: str) -> str:
        page = self._read("/")
        token = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[0]
        form = f"csrfmiddlewaretoken={token}&username={name}&password={password}&next="
        return self._read("/login/", form.encode())

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        jar = next(h for h in self._open.handlers if isinstance(h, urllib.request.HTTPCookieProcessor)).cookiejar
        token = next(cookie.value for cookie in jar if cookie.name == "csrftoken")
        headers = {"Content-Type": "application/json", "X-CSRFToken": str(token)}
        request = urllib.request.Request(f"{self.address}{path}", json.dumps(body).encode(), headers)
        try:
            with self._open.open(request, timeout=20) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as refused:
            return refused.code, json.loads(refused.read())

    def _read(self, path: str, body: bytes | None = None) -> str:
        with self._open.open(f"{self.address}{path}", body, timeout=20) as answer:
            text: str = answer.read().decode()
            return text


def test_commit_review_release_fetch_and_roll_back(instance: Instance):
    """The main job, over HTTP alone."""
    password = re.findall(r"^  reviewer\s+(\S+)", instance.printed, re.MULTILINE)[0]
    content = {"kind": "chat", "messages": [{"role": "user", "content": "Translate {{ text }}"}]}
    other = {"kind": "chat", "messages": [{"role": "user", "content": "Translate into {{ language }}: {{ text }}"}]}
    assert instance.call("POST", "/api/v1/prompts", {"name": "story.translate"})[0] == 201
    versions = "/api/v1/prompts/story.translate/versions"
    reviewer = Browser(instance.address)
    reviewer.sign_in("reviewer", password)

    def is_live(number: int) -> bool:
        # A web process hears of a release when its notification arrives: soon, on a busy machine not at once.
        return bool(instance.call("GET", f"{versions}/production")[1].get("number") == number)

    for number, document in enumerate((content, other), start=1):
        status, version = instance.call("POST", versions, {"content": document})
        assert (status, version["number"]) == (201, number)
        promotion_request = {"prompt": "story.translate", "version": number, "environment": "production"}
        _, promotion = instance.call("POST", "/api/v1/promotions", promotion_request)
        path = f"/api/v1/promotions/{promotion['id']}"
        assert instance.call("POST", f"{path}/apply", {})[1]["code"] == "promotion.approvals_missing"
        assert instance.call("POST", f"{path}/approve", {})[1]["code"] == "promotion.machine_approval"
        assert reviewer.post(f"{path}/approve", {})[1]["status"] == "approved"
        assert instance.call("POST", f"{path}/apply", {})[1]["status"] == "applied"
        assert soon(partial(is_live, number))
    rendered = instance.call("POST", f"{versions}/production/render", {"variables": {"language": "Dutch", "text": "x"}})
    assert rendered[1]["messages"] == [{"role": "user", "content": "Translate into Dutch: x"}]
    assert instance.call("POST", "/api/v1/prompts/story.translate/rollback", {"environment": "production"})[0] == 200
    assert soon(partial(is_live, 1))


@pytest.mark.parametrize("token", ["the demo's", "a wrong one"])
def test_a_body_of_ten_megabytes_is_refused_in_words(instance: Instance, token: str):
    """Over a real connection, where a server that answers and hangs up is seen as a reset. The size is looked at before
    anything else, whoever asks."""
    headers = {} if token == "the demo's" else {"Authorization": "Bearer nonsense"}

    status, problem = instance.call("POST", "/api/v1/prompts", {"name": "x" * 10_000_000}, **headers)

    assert (status, problem["code"]) == (413, "request.too_large")


def test_commands_talk_to_the_instance(instance: Instance):
    token = instance.manage("apikey", "create", "--project", "demo", "--scopes", "read,write", "--name", "ci")

    assert re.fullmatch(r"cbk_\w{12}_\w{32}\n", token)
    assert instance.call("GET", "/api/v1/me", Authorization=f"Bearer {token.strip()}")[0] == 200


def test_a_task_runs_on_the_worker(instance: Instance):
    send = "from registry.tasks import clear_expired_sessions; clear_expired_sessions.delay()"
    instance.manage("shell", "--no-imports", "-c", send)

    log = instance.home / "log" / "worker.log"
    deadline = time.monotonic() + 30
    while "clear_expired_sessions" not in (text := log.read_text()) or "succeeded" not in text:
        assert time.monotonic() < deadline, text
        time.sleep(0.1)


def test_a_second_start_in_the_same_home_is_refused(instance: Instance):
    done = subprocess.run(
        [sys.executable, "manage.py", "up", "--port", str(free_port()), "--home", str(instance.home)],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 1
    assert f"already: {instance.address}" in done.stderr


def test_a_taken_port_is_said_before_anything_starts(instance: Instance, tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "manage.py", "up", "--port", str(instance.port), "--home", str(tmp_path / "other")],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 1
    assert f"Port {instance.port}" in done.stderr
    assert not (tmp_path / "other" / "postgres").exists()


def test_killed_servers_come_back(instance: Instance):
    """kill -9 of PostgreSQL, broker and worker: the supervisor starts them again and nothing committed is lost."""
    for name in ("bin/postgres -D", "valkey-server", "celery --app config worker"):
        pids = [pid for pid, command in processes_of(instance.home).items() if name in command]
        assert pids, name
        os.kill(min(pids), signal.SIGKILL)
    deadline = time.monotonic() + 60
    ready = False
    while not ready and time.monotonic() < deadline:
        time.sleep(0.5)
        try:
            ready = instance.call("GET", "/readyz")[0] == 200
        except (urllib.error.URLError, ConnectionError):
            continue

    assert ready
    assert instance.call("GET", "/api/v1/prompts/support.triage/versions/1")[0] == 200


def test_warm_reads_go_on_while_the_database_is_gone_and_are_counted(instance: Instance):
    """kill -9 of PostgreSQL under a service that asks on: no answer is missing, and what was asked is counted."""
    path = "/api/v1/prompts/support.triage/versions/production"
    read_count = warm(instance, path)
    postgres = [pid for pid, command in processes_of(instance.home).items() if "bin/postgres -D" in command]

    os.kill(min(postgres), signal.SIGKILL)

    end = time.monotonic() + 6
    while time.monotonic() < end:
        assert instance.call("GET", path)[0] == 200
        read_count += 1
        time.sleep(0.02)
    deadline = time.monotonic() + 60
    counted = 0
    while counted < read_count and time.monotonic() < deadline:
        time.sleep(0.5)
        status, rows = instance.call("GET", "/api/v1/prompts/support.triage/fetches")
        counted = sum(row["hour"] for row in rows) if status == 200 else 0
    assert counted >= read_count


def test_configured_servers_are_used_and_none_is_started(tmp_path: Path):
    """The suite's own PostgreSQL and broker stand for the ones that a deployment has."""
    configured = {name: os.environ[name] for name in ("DATABASE_URL", "BROKER_URL", *SETTINGS)}
    home = tmp_path / "var"

    instance = start(home, "--no-demo", **configured)

    try:
        checks = instance.call("GET", "/readyz", Authorization="")[1]
        assert (checks["database"], checks["broker"]) == (True, True)
        assert not [command for command in processes_of(home).values() if "postgres" in command or "valkey" in command]
        assert not (home / "postgres").exists()
        assert not (home / "broker").exists()
    finally:
        assert instance.stop(signal.SIGINT) == 0
    assert wait_until_gone(home) == []


def test_stopping_leaves_no_process_and_the_next_start_keeps_the_data(tmp_path: Path):
    """kill -9 of the supervisor, then SIGTERM: two ends, one set of data. (Ctrl-C: the test before.)"""
    home = demo_home(tmp_path / "a home & more")
    versions = "/api/v1/prompts/support.triage/versions"
    content = {"kind": "chat", "messages": [{"role": "user", "content": "Kept {{ x }}"}]}
    first = start(home)
    number = first.call("POST", versions, {"content": content})[1]["number"]
    # A worker that can react to nothing, as one that says goodbye to a broker that has gone.
    workers = [process for process, command in processes_of(home).items() if "--queues long" in command]
    assert len(workers) == 3, "the worker and its pool's two processes"
    wait_until_idle(workers)
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    first.process.kill()
    first.process.wait(10)
    assert wait_until_gone(home) == []

    second = start(home)
    assert second.token == first.token
    assert second.call("GET", f"{versions}/{number}")[1]["content"] == content
    for _ in range(6):
        assert second.call("GET", f"{versions}/{number}")[0] == 200
    assert second.stop(signal.SIGTERM) == 0
    assert wait_until_gone(home) == []
    # What was fetched just before a clean stop is counted.
    third = start(home)
    fetched = {row["version"]: row["month"] for row in third.call("GET", "/api/v1/prompts/support.triage/fetches")[1]}
    assert fetched[number] == 7
    assert third.stop(signal.SIGTERM) == 0
    assert wait_until_gone(home) == []
