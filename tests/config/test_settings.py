"""Configuration: production refuses to start half configured, and passes Django's own deployment check."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from config import environment

ROOT = Path(__file__).resolve().parents[2]
PRODUCTION = {
    "DATABASE_URL": "postgresql://cuebook:secret@db.example:5432/cuebook?sslmode=require",
    "BROKER_URL": "redis://broker.example:6379/0",
    "SECRET_KEY": "a-long-random-key-" + "0123456789abcdefghij" * 3,
    "ENCRYPTION_KEYS": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    "ALLOWED_HOSTS": "cuebook.example",
}


def manage(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    base = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={**base, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    "address",
    [
        "redis://:secret@broker.example:6379/0",
        "rediss://broker.example",
        "redis+socket:///run/broker.sock",
        "sentinel://one.example:26379;sentinel://two.example:26379",
        "amqp://guest:guest@broker.example//",
    ],
)
def test_addresses_of_brokers(address: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BROKER_URL", address)

    assert environment.broker("BROKER_URL") == address


def test_the_deployment_check_is_clean_under_production_settings():
    done = manage("check", "--deploy", "--fail-level", "WARNING", **PRODUCTION)

    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


@pytest.mark.parametrize("missing", ["SECRET_KEY", "ENCRYPTION_KEYS", "BROKER_URL", "ALLOWED_HOSTS"])
def test_a_missing_setting_stops_the_start_with_one_sentence(missing: str):
    done = manage("check", **{name: value for name, value in PRODUCTION.items() if name != missing})

    assert done.returncode == 1
    assert done.stderr.startswith(f"{missing} is not set: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("HTTPS", "perhaps", "HTTPS must be one of"),
        ("RENDER_PROCESSES", "many", "RENDER_PROCESSES must be a whole number"),
        ("RENDER_PROCESSES", "0", "RENDER_PROCESSES must be at least 1"),
        ("DATABASE_URL", "nonsense://", "DATABASE_URL is not a PostgreSQL address"),
        ("ENCRYPTION_KEYS", "abc", "ENCRYPTION_KEYS: key 1 is no Fernet key"),
        ("ENCRYPTION_KEYS", f"{PRODUCTION['ENCRYPTION_KEYS']},abc", "ENCRYPTION_KEYS: key 2 is no Fernet key"),
        ("BROKER_URL", "broker.example", "BROKER_URL is not an address that begins with redis://"),
        ("EMBEDDINGS_URL", "embedder:8080", "EMBEDDINGS_URL is not an address that begins with http://"),
        ("CSRF_TRUSTED_ORIGINS", "cuebook.example", "CSRF_TRUSTED_ORIGINS is not an address"),
        ("LOG_LEVEL", "loud", "LOG_LEVEL must be one of DEBUG"),
        ("SECRET_KEY_FILE", "/nonexistent", "SECRET_KEY_FILE names /nonexistent, which cannot be read"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_one_sentence(name: str, value: str, sentence: str):
    done = manage("check", **{**PRODUCTION, name: value})

    assert done.returncode == 1
    assert done.stderr.startswith(sentence), done.stderr
    assert done.stderr.count("\n") == 1


def test_a_secret_may_come_from_a_file(tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text(PRODUCTION["SECRET_KEY"] + "\n")
    environment = {name: value for name, value in PRODUCTION.items() if name != "SECRET_KEY"}

    assert manage("check", **environment, SECRET_KEY_FILE=str(secret)).returncode == 0


def test_a_command_without_a_running_instance_says_so(tmp_path: Path):
    done = manage("apikey", "list", "--project", "demo", CUEBOOK_HOME=str(tmp_path))

    assert done.returncode == 1
    assert done.stderr.startswith(f"No Cuebook runs in {tmp_path}. Start it with 'make run'")
    assert done.stderr.count("\n") == 1
