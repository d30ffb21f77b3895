"""What users wrote runs in children under limits. The limits count processor time: a machine that is busy, or that ends
a child, never makes a verdict."""

import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from core.errors import Problem
from infra.limited import pool as limited_pool
from infra.limited.policy import Limits, Patience
from infra.limited.pool import BrokenJobError, LimitedPool
from registry.content import schema_check
from registry.rendering.pool import RendererPool

LIMITS = Limits(processor_seconds=0.5, memory_bytes=400 * 2**20, answer_bytes=2**20)
# Longer than the processor time of a job: a wall clock would take it for a verdict.
STALL_SECONDS = 3 * LIMITS.processor_seconds
HELLO = {"kind": "text", "text": "Hello {{ name }}"}
SCHEMA_BOMB: dict[str, Any] = {
    "$defs": {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(24)} | {"d24": {"type": "string"}},
    "$ref": "#/$defs/d0",
}


@pytest.fixture
def pool() -> Iterator[LimitedPool]:
    pool = LimitedPool(2, LIMITS)
    yield pool
    pool.close()


def stall(pool: LimitedPool) -> threading.Thread:
    """Take the processor away from a pool's children for some time, as a busy machine does."""
    processes = [child.process.pid for child in pool._idle if child]
    for process in processes:
        os.kill(process, signal.SIGSTOP)

    def go_on() -> None:
        time.sleep(STALL_SECONDS)
        for process in processes:
            # One whose job was given up was ended.
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)

    thread = threading.Thread(target=go_on)
    thread.start()
    return thread


def test_a_child_that_gets_no_processor_is_no_verdict(pool: LimitedPool):
    assert pool.call(math.hypot, {}) == 0
    stalled = stall(pool)

    assert pool.call(math.hypot, {}) == 0

    stalled.join()


def test_the_start_of_a_child_does_not_count(pool: LimitedPool):
    pool.warm()
    stalled = stall(pool)

    assert pool.call(math.hypot, {}) == 0

    stalled.join()


def test_nobody_waits_for_ever_and_the_machine_is_to_blame(pool: LimitedPool, monkeypatch: pytest.MonkeyPatch):
    pool.call(math.hypot, {})
    monkeypatch.setattr(limited_pool._process, "patience", Patience(free_seconds=0.2, answer_seconds=0.2))
    stalled = stall(pool)

    with pytest.raises(Problem) as busy:
        pool.call(math.hypot, {})

    assert busy.value.code == "render.busy"
    stalled.join()
    monkeypatch.undo()
    assert pool.call(math.hypot, {}) == 0


def test_a_child_that_the_system_ends_is_no_verdict(pool: LimitedPool):
    pool.call(math.hypot, {})
    child = next(child for child in pool._idle if child)
    os.kill(child.process.pid, signal.SIGSTOP)
    ended = threading.Timer(0.2, os.kill, (child.process.pid, signal.SIGKILL))
    ended.start()

    with pytest.raises(Problem) as busy:
        pool.call(math.hypot, {})

    assert busy.value.code == "render.busy"
    ended.join()


def test_what_uses_up_its_limits_says_which(pool: LimitedPool):
    with pytest.raises(Problem) as slow:
        pool.call(spin, {})
    with pytest.raises(Problem) as large:
        pool.call(grow, {}, code="schema.too_expensive", subject="The check")
    with pytest.raises(Problem) as long:
        pool.call(talk, {})

    assert (slow.value.code, slow.value.detail) == (
        "template.too_expensive",
        "The template needs more than 0.5 s of processor time.",
    )
    assert (large.value.code, large.value.detail) == ("schema.too_expensive", "The check needs too much memory.")
    assert long.value.detail == "The template needs too much output."


def test_a_fault_of_ours_does_not_read_as_the_users(pool: LimitedPool):
    with pytest.raises(BrokenJobError, match=r"ZeroDivisionError"):
        pool.call(divide, {})
    with pytest.raises(Problem, match="too much depth"):
        pool.call(descend, {})

    assert pool.call(math.hypot, {}) == 0


def test_a_child_that_ended_is_replaced_before_anybody_waits_for_it(pool: LimitedPool):
    with pytest.raises(Problem):
        pool.call(spin, {})

    assert any(child and child.is_alive() for child in pool._idle)


def test_one_of_many_takes_no_other_along(pool: LimitedPool):
    answers = pool.call_many(spin_some, [0, 0, 1, 0], {})

    assert [answer if answer == 0 else answer.code for answer in answers] == [0, 0, "template.too_expensive", 0]


def test_a_schema_that_would_eat_the_host_is_stopped():
    """One KB: each definition is any of the next one twice."""
    pool = RendererPool(2)
    try:
        checked = pool.violations(SCHEMA_BOMB, ["1", "2"])
        valid = pool.violations({"type": "integer"}, ["1", '"a"', "["])
    finally:
        pool.close()

    # Which of the two limits it meets first depends on the machine.
    limits = {
        f"{schema_check.SUBJECT} needs more than {limit}." for limit in ("1 s of processor time", "400 MB of memory")
    }
    assert [len(violations) for violations in checked] == [1, 1]
    assert {violations[0] for violations in checked} <= limits
    assert valid == [[], ['the whole: "a" is not of type "integer"'], ["It is not JSON."]]


# --- Jobs: children import them from here ----------------------------------------------------------------------------


def spin() -> None:
    while True:
        pass


def divide() -> float:
    return 1 / len([])


def descend() -> None:
    descend()


def grow() -> int:
    # In one piece: touching many takes processor time as well, on some machines too much of it.
    return len(bytearray(2**32))


def talk() -> str:
    return "x" * (LIMITS.answer_bytes + 1)


def spin_some(every: list[int]) -> list[dict[str, Any]]:
    for does_spin in every:
        if does_spin:
            spin()
    return [{"result": item} for item in every]
