"""Concurrent calls: none is lost, whoever submits them and whenever the caller ends."""

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future

import pytest

from evaluations.providers.caller import Caller, CallWithdrawn
from evaluations.providers.chat import Completion
from evaluations.providers.transport.posts import _error_body
from tests.evaluations.providers.test_slots import REQUEST, CountingChat

THREADS, CALLS = 16, 40


@pytest.fixture
def quick_switches() -> Iterator[None]:
    """The interpreter changes threads as often as it can, so that what may come between two steps does."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("quick_switches")
def test_calls_of_many_threads_all_end():
    futures: list[Future[Completion]] = []
    with Caller(CountingChat(0.0).open, 8) as caller:

        def submit() -> None:
            for _ in range(CALLS):
                futures.append(caller.submit(REQUEST))
                futures[-1].result(30)

        threads = [threading.Thread(target=submit) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    assert [future.done() for future in futures] == [True] * (THREADS * CALLS)


def test_what_is_under_way_when_the_caller_ends_is_cancelled():
    with Caller(CountingChat(60).open, 2) as caller:
        futures = [caller.submit(REQUEST) for _ in range(6)]

    for future in futures:
        with pytest.raises(CancelledError):
            future.result(5)
    with pytest.raises(RuntimeError, match="closed"):
        caller.submit(REQUEST)


def test_what_waits_for_a_slot_ends_when_it_is_withdrawn():
    with Caller(CountingChat(0.3).open, 2) as caller:
        futures = [caller.submit(REQUEST) for _ in range(6)]
        futures[0].result(5)
        caller.withdraw()
        errors = [future.exception(5) for future in futures]

    assert {type(error) for error in errors} == {type(None), CallWithdrawn}
    assert caller.in_flight == 0


def test_calls_that_were_let_in_are_told_before_they_begin():
    """Who gives slots to others counts them: they begin whatever happens."""
    for _ in range(50):
        chat = CountingChat(0.02)
        with Caller(chat.open, 4) as caller:
            futures = [caller.submit(REQUEST) for _ in range(4)]
            let_in = caller.set_slots(0)
            for future in futures[:let_in]:
                future.result(5)
            assert chat.most == let_in
            assert not any(future.done() for future in futures[let_in:])
            caller.set_slots(4)
            for future in futures[let_in:]:
                future.result(5)


def test_an_errors_body_is_read_as_generously_as_by_the_sdk():
    assert _error_body(' {"error": {"code": "insufficient_quota", "left": NaN}}\n')["code"] == "insufficient_quota"
    assert _error_body('{"code": "\\ud83d"}') == {"code": "\ud83d"}
    assert _error_body("<html>") == "<html>"
