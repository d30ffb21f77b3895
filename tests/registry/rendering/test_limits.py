"""Hostile templates end in a problem document within their processor time and half a gigabyte, and nobody else waits.

The first list is what the language refuses; the second passes the language and is stopped by the limits; the third
goes around the language altogether, to show that the limits alone hold. What only waits for the machine is no attack
(tests/infra/test_limited.py).
"""

import json
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from rest_framework.test import APIClient

from core.errors import Problem
from registry.content.normalize import normalise
from registry.rendering.pool import RendererPool
from tests.conftest import Stage

MEGABYTE = 1024 * 1024


@pytest.fixture(scope="module")
def pool() -> Iterator[RendererPool]:
    pool = RendererPool(2)
    pool.render({"kind": "text", "text": "warm"}, {}, {})
    yield pool
    pool.close()


REFUSED = [
    "{{ 'a' * 2000000000 }}",
    "{{ '%1500000000d' | format(1) }}",
    "{{ [1] | batch(100000000, 0) | list }}",
    "{% for a in range(999) %}{% for b in range(999) %}{% for c in range(999) %}{% endfor %}{% endfor %}{% endfor %}",
    "{{ lipsum(n=100000000) }}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "{{ " + "(" * 50_000 + "1" + ")" * 50_000 + " }}",
    "{% if x %}" * 4_000 + "{% endif %}" * 4_000,
    "{{ " + "9" * 100_000 + " }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
]


@pytest.mark.parametrize("source", REFUSED)
def test_a_hostile_template_is_refused_when_it_is_committed(stage: Stage, api: APIClient, source: str):
    stage.prompt()

    response = api.post("/api/v1/prompts/support.triage/versions", {"content": {"kind": "text", "text": source}})

    assert response.status_code == 400
    assert response.json()["code"].startswith("template.")


DOUBLING = "{% set x = 'aaaaaaaaaaaaaaaa' %}" + "{% set x = x ~ x %}" * 60 + "{{ x }}"
GROWING = "{% set x = xs | join %}" + "{% set x = x | replace('x', x) %}" * 4 + "{{ x }}"
SLOW = "{% for a in xs %}{% for b in xs %}{% if a == b %}{% endif %}{% endfor %}{% endfor %}"
EXPENSIVE: list[tuple[str, dict[str, Any]]] = [
    (DOUBLING, {}),
    (GROWING, {"xs": ["x"] * 1_000}),
    (SLOW, {"xs": list(range(30_000))}),
    ("{{ xs | join(big) }}", {"xs": ["x"] * 100_000, "big": "y" * 500_000}),
    ("{% for a in xs %}{% for b in xs %}{{ a }}{{ b }}{% endfor %}{% endfor %}", {"xs": ["z" * 100] * 20_000}),
    ("{{ xs | sort | unique | list | tojson }}" * 400, {"xs": list(range(90_000))}),
]


@pytest.mark.parametrize(("source", "variables"), EXPENSIVE)
def test_an_expensive_template_is_stopped(pool: RendererPool, source: str, variables: dict[str, Any]):
    with pytest.raises(Problem) as refused:
        pool.render({"kind": "text", "text": source}, variables, {})

    assert refused.value.code == "template.too_expensive"
    assert pool.render({"kind": "text", "text": "still {{ here }}"}, {"here": "here"}, {})["text"] == "still here"


UNCHECKED = [
    "{{ 'a' * 2000000000 }}",
    "{{ [0] * 500000000 }}",
    "{% set x = 10 ** 9 %}{{ x ** x }}",
    "{{ 'x'.ljust(2000000000) }}",
    "{% for a in range(999) %}{% for b in range(999) %}{% for c in range(999) %}{% endfor %}{% endfor %}{% endfor %}",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
]


@pytest.mark.parametrize("source", UNCHECKED)
def test_the_limits_hold_without_the_language(pool: RendererPool, source: str):
    """`render` does not look at the syntax tree: a version in the database was checked when it was committed."""
    with pytest.raises(Problem) as refused:
        pool.render({"kind": "text", "text": source}, {}, {})

    assert refused.value.code in {
        *("template.too_expensive", "template.failed", "template.too_complex", "render.missing_variable"),
    }


def test_another_request_is_answered_meanwhile(pool: RendererPool):
    answers: list[float] = []
    started = time.monotonic()

    def hold() -> None:
        with pytest.raises(Problem):
            pool.render({"kind": "text", "text": SLOW}, {"xs": list(range(30_000))}, {}, owner="attacker")

    attack = threading.Thread(target=hold)
    attack.start()
    while attack.is_alive():
        request_started = time.monotonic()
        pool.render({"kind": "text", "text": "{{ name }}"}, {"name": "x"}, {}, owner="neighbour")
        answers.append(time.monotonic() - request_started)
    took = time.monotonic() - started

    # The attack is stopped at its limit; each of the others took a fraction of that.
    assert len(answers) > 3
    assert max(answers) < took / 2


MEASURED = """
import json, resource, sys
from core.errors import Problem
from registry.rendering.pool import RendererPool
pool, refused = RendererPool(2), 0
for source, variables in json.load(sys.stdin):
    try:
        pool.render({"kind": "text", "text": source}, variables, {})
    except Problem:
        refused += 1
pool.close()
print(refused, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="address space limits are enforced by Linux alone")
def test_no_child_ever_held_half_a_gigabyte():
    # In a process of its own: a child counts what its parent held when it was forked.
    attacks = json.dumps(EXPENSIVE[:3])
    done = subprocess.run([sys.executable, "-c", MEASURED], input=attacks, capture_output=True, text=True, check=True)

    refused, kibibytes = map(int, done.stdout.split())
    assert refused == 3
    assert kibibytes * 1024 < 512 * MEGABYTE


LARGE_PARENT = """
from registry.rendering.pool import RendererPool
held = bytearray(600 * 1024 * 1024)
pool = RendererPool(1)
processes = set()
for _ in range(3):
    pool.render({"kind": "text", "text": "x"}, {}, {})
    processes.add(pool._idle[0].process.pid)
pool.close()
print(len(processes))
"""


def test_a_child_of_a_large_process_is_not_replaced_after_each_job():
    done = subprocess.run([sys.executable, "-c", LARGE_PARENT], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "1"


def test_one_project_never_holds_all_children():
    pool = RendererPool(2)
    attack = {"kind": "text", "text": SLOW}

    def hold() -> None:
        with pytest.raises(Problem):
            pool.render(attack, {"xs": list(range(30_000))}, {}, owner="attacker")

    attacks = [threading.Thread(target=hold) for _ in range(3)]
    for thread in attacks:
        thread.start()
    answered = 0
    while any(thread.is_alive() for thread in attacks):
        assert pool.render({"kind": "text", "text": "x"}, {}, {}, owner="neighbour")["text"] == "x"
        answered += 1
    pool.close()

    assert answered > 3


def test_many_open_files_do_not_matter(pool: RendererPool):
    """`select` cannot watch a descriptor above 1,023."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 1_500:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(2_000, hard), hard))
    files = [open("/dev/null") for _ in range(1_100)]  # noqa: SIM115 - closed below
    try:
        fresh = RendererPool(1)
        assert fresh.render({"kind": "text", "text": "x"}, {}, {})["text"] == "x"
        fresh.close()
    finally:
        for file in files:
            file.close()


def test_a_template_that_was_slow_once_does_not_slow_the_next(pool: RendererPool):
    content = normalise({"kind": "text", "text": "{{ xs | length }}"})

    for _ in range(5):
        assert pool.render(content, {"xs": list(range(50_000))}, {})["text"] == "50000"


def test_many_are_rendered_as_each_would_be_by_itself(pool: RendererPool):
    content = normalise({"kind": "text", "text": "{{ word }}{% if extra %}!{% endif %}", "variables": DECLARED})
    every: list[dict[str, Any]] = [{"word": str(number)} for number in range(120)]
    every[7] = {}
    every[9] = {"word": "nine", "extra": True}

    results = pool.render_all(content, every, {})

    assert [result["text"] for result in results if isinstance(result, dict)][:8] == [*"0123456", "8"]
    assert isinstance(results[7], Problem)
    assert results[7].code == "render.missing_variable"
    assert isinstance(results[9], dict)
    assert results[9]["text"] == "nine!"
    assert len(results) == 120


def test_one_that_takes_all_the_time_does_not_take_the_others_along(pool: RendererPool):
    content = normalise({"kind": "text", "text": SLOW + "{{ xs | length }}"})

    results = pool.render_all(content, [{"xs": [1]}, {"xs": list(range(30_000))}, {"xs": [1, 2]}], {})

    first, second, third = results
    assert isinstance(first, dict)
    assert isinstance(third, dict)
    assert (first["text"], third["text"]) == ("1", "2")
    assert isinstance(second, Problem)
    assert second.code == "template.too_expensive"


DECLARED = {"word": {"type": "string", "required": True}, "extra": {"type": "boolean", "default": False}}
