"""Input that was made to cost much: each ends soon, compared with a plain task measured beside it."""

import json
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from core.json_values import normalise_json
from registry.content.diff import diff
from registry.content.merge import merge
from registry.prompts import versions
from registry.prompts.inspection import inspect
from registry.templatetags.registry_text import template_marks
from tests.conftest import Stage

# How many times the plain task may be exceeded. What these guard against took from fifty to thousands of times as long.
MOST_TIMES = 20


def seconds(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


@pytest.fixture(scope="module")
def plain_task() -> float:
    """The time of a task of ordinary size that makes many small objects, as these do: reading and writing JSON."""
    rows = [{"number": number, "text": f"row {number}"} for number in range(150_000)]
    return min(seconds(lambda: json.loads(json.dumps(rows))) for _ in range(2))


def chat(texts: list[str]) -> dict[str, Any]:
    return {"kind": "chat", "messages": [{"role": "user", "content": text} for text in texts]}


def lines(word: str) -> str:
    return "\n".join([" ".join([word] * 100)] * 50)


CASES: dict[str, Callable[[], Any]] = {
    "openings that are never closed": lambda: template_marks("{{" * 60_000),
    "words that repeat, in many messages": lambda: diff(chat([lines("a")] * 50), chat([lines("b")] * 50)),
    "lines that repeat, in many messages": lambda: diff(
        chat(["\n".join(f"x{n}\n" for n in range(2_400))] * 20), chat(["\n".join(f"y{n}\n" for n in range(99))] * 20)
    ),
    "a merge of such texts": lambda: merge(chat([lines("a")] * 50), chat([lines("b")] * 50), chat([lines("c")] * 50)),
    "a long name above many values": lambda: normalise_json({"k" * 900_000: [0] * 400_000}, []),
    "many faults": lambda: normalise_json({"k" * 900: [float("inf")] * 400_000}, []),
}


@pytest.mark.parametrize("name", CASES)
def test_it_ends_soon(plain_task: float, name: str):
    assert seconds(CASES[name]) < MOST_TIMES * plain_task


def test_a_schema_that_takes_forever_is_left_unchecked(stage: Stage):
    names = [f"d{n}" for n in range(60)]
    nested = {name: {"allOf": [{"$ref": f"#/$defs/{after}"}] * 2} for name, after in pairwise(names)}
    schema = {"$ref": "#/$defs/d0", "$defs": {**nested, "d59": {"type": "integer"}}}
    shots = [("user", "q"), ("assistant", "5"), ("user", "q")]
    document = {
        "messages": [{"role": role, "content": text} for role, text in shots],
        "response": {"format": "json_schema", "schema": schema},
    }

    inspection = inspect(stage.project, stage.prompt(), document, {})

    assert "example.unchecked" in {finding.code for finding in inspection.findings}
    assert versions.renderer_pool().render({"kind": "text", "text": "x"}, {}, {})["text"] == "x"


def test_at_most_fifty_faults_are_told():
    faults: list[Any] = []

    normalise_json([float("nan")] * 1_000, faults)

    assert len(faults) == 50
