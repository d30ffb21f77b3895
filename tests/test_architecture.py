"""Guards: rules about the code base that a reviewer would otherwise have to remember."""

import ast
import importlib.metadata
import io
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from django.core.management import call_command
from django.urls import URLPattern, URLResolver, get_resolver
from packaging.requirements import Requirement
from rest_framework.test import APIClient

from config.celery import app as celery_app
from core.errors import CATALOGUE, FAILURES
from infra.queues import QUEUES

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTRACTS = PROJECT["tool"]["importlinter"]["contracts"]
PURE = next(contract["source_modules"] for contract in CONTRACTS if contract["type"] == "forbidden")
APPS = ("core", "infra", "registry", "evaluations", "inference", "finetunes", "config")
MAX_MODULES_IN_A_FOLDER = 15
# Addresses that answer strangers, and why.
PUBLIC = {
    "metrics": "Prometheus asks it; it counts views, not what they say",
    "login/": "people sign in there",
    "logout/": "ends a session, if there is one",
    "api/v1/schema": "the contract is public",
    "api/v1/docs": "the contract is public",
}


def test_the_pure_core_runs_without_django():
    script = f"""
import importlib, pkgutil, sys
for name in {[name for name in PURE if not name.startswith("config")]}:
    module = importlib.import_module(name)
    inside = pkgutil.walk_packages(module.__path__, name + ".") if hasattr(module, "__path__") else ()
    for part in inside:
        if not part.name.endswith("__main__"):
            importlib.import_module(part.name)
    assert 'django' not in sys.modules, name
"""

    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, timeout=60)


def test_import_contracts_leave_no_module_outside():
    layered = {contract["containers"][0]: contract for contract in CONTRACTS if "containers" in contract}

    assert set(layered) == {"registry", "evaluations", "inference", "finetunes"}
    assert all(contract["exhaustive"] for contract in layered.values())


def test_no_folder_holds_more_modules_than_a_reader_can_scan():
    folders = [path.parent for app in (*APPS, "client", "benchmarks", "docs") for path in (ROOT / app).rglob("*.py")]

    crowded = {
        str(folder.relative_to(ROOT)): len(modules)
        for folder in set(folders)
        if folder.name != "migrations"
        and len(modules := [path for path in folder.glob("*.py") if path.name != "__init__.py"])
        > MAX_MODULES_IN_A_FOLDER
    }

    assert not crowded


def addresses(resolver: URLResolver, prefix: str = "") -> list[str]:
    paths = []
    for pattern in resolver.url_patterns:
        path = prefix + str(pattern.pattern).lstrip("^")
        if isinstance(pattern, URLPattern):
            paths.append(path)
        elif not path.startswith("admin/"):
            paths += addresses(pattern, path)
    return paths


FILLED = {
    "<str:selector>": "1",
    "<int:number>": "1",
    "<int:key>": "1",
    "<int:part>": "1",
    "<int:result>": "1",
    "<int:answer>": "1",
    "<slug:project>": "paper",
    "<str:name>": "a",
    "<str:hash>": "sha256:000000000000",
}


@pytest.mark.parametrize("address", addresses(get_resolver()))
def test_every_address_refuses_a_stranger(db: None, address: str):
    path = address
    for part, value in FILLED.items():
        path = path.replace(part, value)
    path = re.sub(r"<[^>]+>", "x", path)

    responses = [getattr(APIClient(), method)(f"/{path}", format="json") for method in ("get", "post")]

    if address in PUBLIC:
        assert responses[0].status_code < 500
        return
    for response in responses:
        to_login = response.status_code == 302 and response["Location"].startswith("/login/")
        assert to_login or response.status_code in {401, 405}, (path, response.status_code)


def test_every_task_has_a_queue_and_limits():
    celery_app.loader.import_default_modules()
    ours = [task for name, task in celery_app.tasks.items() if name.startswith(tuple(f"{app}." for app in APPS))]

    assert ours
    for task in ours:
        assert task.time_limit, task.name
        assert task.soft_time_limit, task.name
        assert task.soft_time_limit < task.time_limit, task.name
        assert task.queue_name in QUEUES, task.name
        assert celery_app.amqp.router.route({}, task.name, task_type=task)["queue"].name == task.queue_name


def test_beat_sends_tasks_that_exist():
    celery_app.loader.import_default_modules()

    scheduled = {entry["task"] for entry in celery_app.conf.beat_schedule.values()}
    assert scheduled
    assert scheduled <= set(celery_app.tasks)


def test_every_code_that_is_raised_is_in_the_catalogue_and_every_one_in_it_is_used():
    used: set[str] = set()
    for folder in APPS:
        for path in (ROOT / folder).rglob("*.py"):
            strings = {node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)}
            if path.name != "errors.py":
                used |= {text for text in strings if isinstance(text, str)}

    assert {*CATALOGUE, *FAILURES} - used == set()
    calls = {text for text in used if re.fullmatch(r"(call|gateway)\.[a-z_]+", text)}
    # The two others are names of entries in the log.
    assert calls - {*CATALOGUE, *FAILURES} == {"gateway.broken", "gateway.record_unreadable"}


def test_the_page_of_errors_is_true():
    printed = io.StringIO()
    call_command("error_codes", stdout=printed)

    assert (ROOT / "docs/errors.md").read_text() == printed.getvalue(), "manage.py error_codes > docs/errors.md"


def locked(name: str) -> dict[str, str]:
    """What a lock installs on this machine and Python: package to version."""
    lines = [line.rstrip(" \\") for line in (ROOT / name).read_text().splitlines() if re.match(r"[a-z0-9]", line)]
    pins = [Requirement(line) for line in lines]
    return {pin.name: str(pin.specifier)[2:] for pin in pins if pin.marker is None or pin.marker.evaluate()}


def test_the_locks_satisfy_what_the_project_asks_for():
    project = PROJECT["project"]
    requirements = project["dependencies"] + [r for extra in project["optional-dependencies"].values() for r in extra]
    development, local = locked("requirements-dev.lock"), locked("requirements-local.lock")
    everything = development | local

    for requirement in map(Requirement, requirements):
        assert everything[requirement.name] in requirement.specifier, requirement
        # The weights of the local model are in their own lock alone.
        if requirement.name in development:
            assert importlib.metadata.version(requirement.name) == everything[requirement.name], requirement
    for lock in (development, local):
        assert locked("requirements.lock").items() <= lock.items()


@pytest.mark.parametrize("name", ["utils", "helpers", "common", "misc", "services", "selectors"])
def test_no_module_has_a_name_that_says_nothing(name: str):
    assert not [path for path in ROOT.glob(f"*/**/{name}.py") if ".venv" not in path.parts]


def test_no_inline_script_or_style_in_templates():
    for path in (ROOT / "templates").rglob("*.html"):
        text = path.read_text()
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=", text), path


def test_a_web_process_imports_neither_scipy_nor_the_client():
    """They are for workers: each would cost every web process tens of megabytes and a second of its start."""
    program = (
        "import sys, config.wsgi; from django.urls import get_resolver; get_resolver().url_patterns;"
        "print([name for name in ('scipy', 'openai', 'pyarrow.compute') if name in sys.modules])"
    )

    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)

    assert process.stdout.strip() == "[]", process.stdout + process.stderr[-2_000:]
