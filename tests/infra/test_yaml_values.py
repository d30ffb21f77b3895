"""YAML from strangers: what would end the process, or fill its memory, is refused in words."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.errors import Problem
from core.json_values import MAX_DEPTH
from infra import yaml_values
from registry.interop.importers import convert, promptfoo

ROOT = Path(__file__).resolve().parents[2]
# In a process and a thread of its own: what it is about ends processes, threads having less of a stack.
DEEP = """
import sys, threading
from infra import yaml_values
from core.errors import Problem

def read():
    for text in ("[" * 60_000, "{a: " * 60_000, "- " * 60_000):
        try:
            yaml_values.load(text, "request.invalid")
        except Problem as problem:
            print(problem.code)

thread = threading.Thread(target=read)
thread.start()
thread.join()
"""


def test_depth_ends_no_process():
    done = subprocess.run(
        [sys.executable, "-c", DEEP], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == ["request.invalid"] * 3
    assert yaml_values.load("[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1), "request.invalid") is not None


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [1, 2]\nb: &b [" + "*a, " * 500 + "]\nc: [" + "*b, " * 1_000 + "]",
        "a: &a " + "x" * 100_000 + "\nb: [" + "*a, " * 1_000 + "]",
        "a: &a [*a]",
        "a: &a {<<: *a}",
    ],
)
def test_aliases_that_unfold_to_much_are_refused(text: str):
    with pytest.raises(Problem, match=r"stands for more|cannot be read"):
        yaml_values.load(text, "request.invalid")


def test_aliases_that_are_meant_are_read():
    assert yaml_values.load("a: &a {x: 1}\nb: {<<: *a, y: 2}", "request.invalid")["b"] == {"x": 1, "y": 2}


def test_one_long_text_named_often_is_read_once():
    long = "[" + "a," * 20_000 + "]"
    began = time.process_time()
    promptfoo._parse_list(long)
    once = time.process_time() - began
    promptfoo._parse_list.cache_clear()
    began = time.process_time()
    prompts = convert.read_prompts("promptfoo", {"prompts": [long] * 200})
    assert time.process_time() - began < 20 * once
    assert len(list(prompts)) == 200
