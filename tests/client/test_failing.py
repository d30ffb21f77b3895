"""What the client does when something is on fire: each failure is made to happen."""

import time

import cuebook
import pytest

from tests.client.conftest import Service
from tests.waiting import soon


def test_without_the_registry_warm_reads_go_on_and_recover_by_themselves(service: Service):
    service.release("v1")
    client = service.client(refresh_seconds=1.0)
    prompt = client.get("support.triage")
    service.gate.is_down = True
    service.release("v2")

    assert soon(lambda: service.errors)
    assert isinstance(service.errors[0], cuebook.UnavailableError)
    request_count = len(service.gate.requests)
    began = time.monotonic()
    while time.monotonic() < began + 0.3:
        assert client.get("support.triage") is prompt
    assert prompt.age > 0.3
    assert len(service.gate.requests) - request_count < 3, "it backs off"
    with pytest.raises(cuebook.UnavailableError):
        client.get("support.triage@staging")
    service.gate.is_down = False
    assert soon(lambda: client.get("support.triage").number == 2)
    assert client.get("support.triage").age < 5


def test_without_registry_and_copy_nobody_waits_twice(service: Service):
    service.gate.is_down = True
    client = service.client()
    with pytest.raises(cuebook.UnavailableError):
        client.get("support.triage")
    request_count = len(service.gate.requests)
    for _ in range(50):
        with pytest.raises(cuebook.UnavailableError):
            client.get("support.triage")
    assert client.get("support.triage", fallback="Sort.").is_fallback
    results = client.batch(["support.triage", "support.other"], return_exceptions=True)
    assert {type(result) for result in results} == {cuebook.UnavailableError}
    assert len(service.gate.requests) - request_count <= 1


def test_it_waits_as_long_as_it_is_asked_to(service: Service):
    service.gate.answer = (429, {"Retry-After": "120"}, b'{"code": "request.throttled", "status": 429}')
    client = service.client()
    with pytest.raises(cuebook.UnavailableError):
        client.get("support.triage")
    assert 119 < client._keeper.wait_seconds() <= 120 * 1.2


def test_a_server_that_drips_is_left(service: Service):
    service.release("v1")
    service.gate.drip_seconds = 0.02
    client = service.client(timeout=0.3)
    began = time.monotonic()
    with pytest.raises(cuebook.UnavailableError, match=r"within 0\.3 s"):
        client.get("support.triage")
    assert time.monotonic() - began < 5


def test_a_handler_that_fails_stops_nothing(service: Service, caplog: pytest.LogCaptureFixture):
    def broken(_: Exception) -> None:
        raise ValueError("mine")

    client = service.client(on_error=broken)
    assert client.get("support.triage", fallback="x").is_fallback
    assert "on_error failed" in caplog.text
    logging_client = service.client(on_error=None)
    assert logging_client.get("support.triage", fallback="x").is_fallback
    assert "NotFoundError" in caplog.text
