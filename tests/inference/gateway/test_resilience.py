"""Retries within a budget, and a model that is down is left alone."""

import pytest

from evaluations.providers.chat import CallError, Remedy
from inference.gateway.upstream import resilience
from inference.gateway.upstream.resilience import FAILURES_TO_OPEN, MAX_RETRIES_SAVED, OPEN_SECONDS, Circuits

DOWN = CallError("call.overloaded", "no", Remedy.RETRY)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1_000.0]
    monkeypatch.setattr(resilience.time, "monotonic", lambda: now[0])
    return now


def opened(circuits: Circuits) -> None:
    for _ in range(FAILURES_TO_OPEN):
        circuits.ask("m").failed(DOWN)


def test_a_circuit_opens_lets_one_call_through_and_closes(clock: list[float]):
    circuits = Circuits()
    opened(circuits)

    with pytest.raises(CallError, match="5 times in a row") as refused:
        circuits.ask("m")
    assert refused.value.retry_after == pytest.approx(OPEN_SECONDS)
    circuits.ask("another")
    clock[0] += OPEN_SECONDS
    probe = circuits.ask("m")
    # One finds out; the others wait for what it finds.
    with pytest.raises(CallError):
        circuits.ask("m")
    probe.left()
    circuits.ask("m").succeeded()
    circuits.ask("m")
    circuits.ask("m")


def test_only_the_probe_ends_the_probe(clock: list[float]):
    circuits = Circuits()
    older = circuits.ask("m")
    opened(circuits)
    clock[0] += OPEN_SECONDS
    circuits.ask("m")

    older.left()

    with pytest.raises(CallError):
        circuits.ask("m")


def test_a_probe_that_is_refused_for_its_own_fault_shows_a_model_that_answers(clock: list[float]):
    circuits = Circuits()
    opened(circuits)
    clock[0] += OPEN_SECONDS

    circuits.ask("m").failed(CallError("call.refused", "a bad request", Remedy.GIVE_UP))

    circuits.ask("m")
    circuits.ask("m")


def test_in_a_row_is_in_a_row():
    circuits = Circuits()
    for _ in range(3 * FAILURES_TO_OPEN):
        circuits.ask("m").failed(DOWN)
        circuits.ask("m").failed(CallError("call.refused", "a bad request", Remedy.GIVE_UP))

    circuits.ask("m")


def test_a_try_counts_once():
    circuits = Circuits()
    for _ in range(3 * FAILURES_TO_OPEN):
        ask = circuits.ask("m")
        # The first piece of a stream came, then the connection was lost.
        ask.succeeded()
        ask.failed(DOWN)

    circuits.ask("m")


@pytest.mark.parametrize(
    "error",
    [
        CallError("call.refused", "a bad request", Remedy.GIVE_UP),
        CallError("call.rate_limited", "too many", Remedy.RETRY),
        CallError("call.setting_refused", "no seed", Remedy.CONFIGURE),
    ],
)
def test_what_is_the_requests_fault_opens_nothing(error: CallError):
    circuits = Circuits()
    for _ in range(20):
        circuits.ask("m").failed(error)

    circuits.ask("m")


def test_retries_have_a_budget():
    circuits = Circuits()

    pauses = [circuits.pause_before_retry("m", DOWN, 1) for _ in range(20)]

    assert sum(pause is not None for pause in pauses) == MAX_RETRIES_SAVED
    for _ in range(10):
        circuits.ask("m").succeeded()
    assert circuits.pause_before_retry("m", DOWN, 1) is not None
    assert circuits.pause_before_retry("m", DOWN, 1) is None


def test_what_would_help_nobody_is_not_tried_again():
    circuits = Circuits()

    assert circuits.pause_before_retry("m", DOWN, 2) is None
    assert circuits.pause_before_retry("m", CallError("call.refused", "no", Remedy.GIVE_UP), 1) is None
    long = CallError("call.rate_limited", "later", Remedy.RETRY, retry_after=30)
    assert circuits.pause_before_retry("m", long, 1) is None
    soon = CallError("call.rate_limited", "soon", Remedy.RETRY, retry_after=0.5)
    assert circuits.pause_before_retry("m", soon, 1) == 0.5
