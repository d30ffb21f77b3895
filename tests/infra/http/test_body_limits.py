"""Bodies are bounded before they are parsed, at every address: a form with files is written to disk as it is read."""

import io
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from tests.conftest import Stage
from tests.evaluations.runs.test_pages import client_of

LARGE = 400 * 1024 * 1024
FORM = "multipart/form-data; boundary=edge"


def addresses(resolver: URLResolver, prefix: str = "") -> Iterator[str]:
    for pattern in resolver.url_patterns:
        address = prefix + str(pattern.pattern)
        if isinstance(pattern, URLPattern):
            yield address
        else:
            yield from addresses(pattern, address)


def filled(address: str) -> str:
    """Return a path that the address's pattern takes."""
    path = re.sub(r"<int:\w+>", "1", address)
    path = re.sub(r"<(?:str|slug|path|content_hash|\w+):\w+>|<\w+>", "paper", path)
    return "/" + re.sub(r"\(\?P.*?\)|[\^$\\?]", "1", path)


def send_large(client: Client, path: str, size: int = LARGE) -> HttpResponse:
    """Begin to send a form of so many bytes."""
    body = {"wsgi.input": io.BytesIO(b"--edge"), "CONTENT_LENGTH": size}
    response: Any = client.generic("POST", path, content_type=FORM, **body)  # type: ignore[arg-type]  # as WSGI has it
    return response  # type: ignore[no-any-return]


def test_a_large_form_is_refused_before_anything_is_written(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: Any) -> None:
        raise AssertionError("a form was parsed")

    monkeypatch.setattr(HttpRequest, "parse_file_upload", refuse)
    paths = sorted({filled(address) for address in addresses(get_resolver())})
    answers = {
        path: send_large(client, path).status_code for client in (Client(), client_of(stage.ada)) for path in paths
    }

    assert len(paths) > 300
    # Static files and what no pattern takes are no views.
    assert {path: status for path, status in answers.items() if status not in {413, 404}} == {}
    assert sum(status == 413 for status in answers.values()) > 300


def test_where_files_are_taken_they_are_taken_from_members_alone(stage: Stage):
    path = "/p/paper/datasets/none/import/"

    stranger = send_large(Client(), path, 8 * 2**20)
    member = send_large(client_of(stage.edith), path, 8 * 2**20)

    assert stranger.status_code == 413
    assert b"8,388,608 bytes" in stranger.content
    assert member.status_code != 413


def test_a_webhook_that_is_a_form_is_refused_and_breaks_nothing(db: None):
    answer = Client().post("/hooks/fine-tunes/1", {"a": "b"})

    assert (answer.status_code, answer.json()["code"]) == (401, "finetune.webhook")
