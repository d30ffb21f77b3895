"""Guessing passwords is slowed by name and address, and by address alone; nobody elsewhere locks a person out."""

import logging
from typing import Any

import pytest
from django.test import Client

from infra.http.client_address import forwarded_address
from registry.accounts import sign_in_limits
from tests.conftest import Stage

PASSWORD = "correct horse"


def sign_in(name: str, password: str, **request: Any) -> int:
    return Client().post("/login/", {"username": name, "password": password}, **request).status_code


def guess(name: str, times: int, **request: Any) -> None:
    for attempt in range(times):
        sign_in(name, f"guess {attempt}", **request)


def test_many_guesses_close_a_name_for_their_address_alone(stage: Stage):
    guess("edith", 10, REMOTE_ADDR="203.0.113.5")

    assert sign_in("edith", PASSWORD, REMOTE_ADDR="203.0.113.5") == 429
    assert sign_in("rhea", PASSWORD, REMOTE_ADDR="203.0.113.5") == 302
    assert sign_in("edith", PASSWORD, REMOTE_ADDR="198.51.100.7") == 302


def test_one_password_with_many_names_closes_the_address(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(sign_in_limits, "MAX_FAILURES_OF_ADDRESS", 6)
    for number in range(6):
        guess(f"name{number}", 1, REMOTE_ADDR="203.0.113.5")

    with caplog.at_level(logging.WARNING):
        assert sign_in("edith", PASSWORD, REMOTE_ADDR="203.0.113.5") == 429
    assert "sign_in.locked_out name='edith' address=203.0.113.5" in caplog.text
    assert sign_in("edith", PASSWORD, REMOTE_ADDR="198.51.100.7") == 302


def test_behind_a_proxy_the_clients_address_counts(stage: Stage, settings: Any):
    settings.TRUSTED_PROXIES = 1
    proxy = {"REMOTE_ADDR": "10.0.0.1"}
    # The first part is the attacker's own word.
    guess("edith", 10, HTTP_X_FORWARDED_FOR="198.51.100.7, 203.0.113.5", **proxy)

    assert sign_in("edith", PASSWORD, HTTP_X_FORWARDED_FOR="203.0.113.5", **proxy) == 429
    assert sign_in("edith", PASSWORD, HTTP_X_FORWARDED_FOR="198.51.100.7", **proxy) == 302


@pytest.mark.parametrize(
    ("header", "trusted", "address"),
    [
        ("203.0.113.5", 0, ""),
        ("", 1, ""),
        ("203.0.113.5", 1, "203.0.113.5"),
        ("10.9.9.9, 203.0.113.5", 1, "203.0.113.5"),
        ("10.9.9.9, 203.0.113.5, 10.0.0.2", 2, "203.0.113.5"),
        ("203.0.113.5", 2, ""),
        ("[2001:db8::1]", 1, "2001:db8::1"),
        ("[2001:db8::1]:4711", 1, "2001:db8::1"),
        ("203.0.113.5:4711", 1, "203.0.113.5"),
        ("unknown", 1, ""),
    ],
)
def test_only_what_our_own_proxies_say_is_believed(header: str, trusted: int, address: str):
    assert forwarded_address(header, trusted) == address
