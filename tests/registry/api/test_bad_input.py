"""Bad and hostile input: a 4xx problem document with a code, never a 500."""

import json
from typing import Any

import pytest
from rest_framework.test import APIClient

from tests.conftest import Stage, chat

COMMIT = "/api/v1/prompts/support.triage/versions"


@pytest.fixture
def triage(stage: Stage) -> Stage:
    stage.commit(stage.prompt(), "Hello {{ name }}")
    return stage


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "request.invalid"),
        (b"{", 400, "request.malformed"),
        (b"nonsense", 400, "request.malformed"),
        (b"\xff\xfe", 400, "request.malformed"),
        (b"[]", 400, "request.invalid"),
        (b"null", 400, "request.invalid"),
        (b'"text"', 400, "request.invalid"),
        (b"{}", 400, "request.invalid"),
        (b'{"content": []}', 400, "request.invalid"),
        (b'{"content": null}', 400, "request.invalid"),
        (b'{"content": "text"}', 400, "request.invalid"),
        (b'{"content": {}}', 400, "content.invalid"),
        (b'{"content": {}, "content": {}}', 400, "request.malformed"),
        (b'{"content": {}, "mesage": "typo"}', 400, "request.invalid"),
        (b'{"content": {"kind": "chat", "messages": []}, "message": 5}', 400, "request.invalid"),
        (
            b'{"content": {"kind": "chat", "messages": [{"role": "user", "content": "\\u0000"}]}}',
            400,
            "request.malformed",
        ),
        (
            b'{"content": {"kind": "chat", "messages": [{"role": "user", "content": "\\ud800"}]}}',
            400,
            "request.malformed",
        ),
        (b'{"content": {"kind": "chat", "model": {"temperature": NaN}}}', 400, "request.malformed"),
        (b'{"content": {"kind": "chat", "model": {"temperature": 1e999}}}', 400, "content.invalid"),
        (b'{"content": {"kind": "chat", "model": {"seed": ' + b"9" * 5_000 + b"}}}", 400, "request.malformed"),
        (b'{"content": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}", 400, "request.malformed"),
        (b'{"content": {"kind": "chat", "messages": []}, "parent": 1e400}', 400, "request.invalid"),
        (b'{"content": {"kind": "chat", "messages": []}, "parent": 99999999999999999999}', 400, "request.invalid"),
        (b'{"content": "' + b"x" * 10_000_000 + b'"}', 413, "request.too_large"),
    ],
)
def test_a_bad_body_is_refused(triage: Stage, api: APIClient, body: bytes, status: int, code: str):
    response = api.post(COMMIT, body, content_type="application/json")

    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data", "application/x-www-form-urlencoded", "nonsense"])
def test_another_media_type_is_refused(triage: Stage, api: APIClient, kind: str):
    response = api.post(COMMIT, b"a=1", content_type=kind)

    assert (response.status_code, response.json()["code"]) == (415, "request.media_type")


@pytest.mark.parametrize(
    "path",
    [
        "prompts/%00/versions/1",
        "prompts?search=%00",
        "prompts?cursor=nonsense",
        "prompts?cursor=cD0lMDA%3D",
        "prompts?archived=perhaps",
        "prompts?limit=-1",
        "prompts/..%2F..%2Fetc/versions/1",
        "prompts/support.triage/versions/%ED%A0%80",
        "prompts/support.triage/versions/" + "9" * 400,
        "prompts/" + "a" * 5_000,
        "prompts/support.triage/diff",
        "prompts/support.triage/diff?from=1",
        "prompts/support.triage/diff?from=1&to=%FF",
        "promotions/99999999999999999999999",
        "promotions?status=nonsense",
        "audit?since=yesterday",
        "audit?since=0174-07-05T06:21:01-18:27",
        "audit?until=0001-01-01T00:00:00%2B23:59",
        "audit?until=9999-12-31T23:59:59-23:59",
        "audit?actor=%ED%A0%80",
        "versions/sha256:zzzzzzzzzzzz",
    ],
)
def test_an_odd_address_is_no_server_error(triage: Stage, api: APIClient, path: str):
    response = api.get(f"/api/v1/{path}")

    assert response.status_code < 500
    if response.status_code != 200:
        assert response.json()["code"]


@pytest.mark.parametrize(
    "credentials",
    ["Bearer", "Bearer x", "Bearer cbk_x_y", f"Bearer cbk_{'a' * 12}_{'b' * 32}", "Bearer \u00e9", "Bearer a b c"],
)
def test_a_wrong_key_is_401(triage: Stage, credentials: str):
    response = APIClient().get("/api/v1/prompts", headers={"Authorization": credentials})

    assert (response.status_code, response.json()["code"]) == (401, "auth.invalid_key")
    assert response["WWW-Authenticate"] == 'Bearer realm="cuebook"'


@pytest.mark.parametrize("tag", ["sha256:1", 'W/"x"', '"a", "b"', "'x'"])
def test_an_odd_if_match_is_412(triage: Stage, api: APIClient, tag: str):
    response = api.post(COMMIT, {"content": chat("x")}, headers={"If-Match": tag})

    assert (response.status_code, response.json()["code"]) == (412, "request.precondition")


def test_a_body_without_a_length_is_not_taken_for_none(triage: Stage, api: APIClient):
    response = api.patch(
        "/api/v1/prompts/support.triage", content_type="application/json", headers={"Transfer-Encoding": "chunked"}
    )

    assert (response.status_code, response.json()["code"]) == (411, "request.length")


@pytest.mark.parametrize("path", ["schema", "docs", "prompts", "me"])
@pytest.mark.parametrize("method", ["options", "put", "delete"])
def test_an_odd_method_is_no_server_error(triage: Stage, api: APIClient, path: str, method: str):
    assert getattr(api, method)(f"/api/v1/{path}").status_code < 500


def test_a_method_that_is_not_there_is_405(triage: Stage, api: APIClient):
    response = api.delete(f"{COMMIT}/1")

    assert (response.status_code, response.json()["code"]) == (405, "request.method")


@pytest.mark.parametrize(
    "body",
    [
        {"variables": []},
        {"variables": {"name": {"a": ["\u2028"]}}},
        {"variables": {"name": 2**53}},
        {"variables": {"": "x", "self": 1, "1": 2, "range": "mine", "loop": "y", "name": "z"}},
        {"variables": {"name": "x" * 200_000}},
        {"variables": {f"v{index}": index for index in range(5_000)}},
    ],
)
def test_odd_variables_are_no_server_error(triage: Stage, api: APIClient, body: dict[str, Any]):
    response = api.post(f"{COMMIT}/1/render", body)

    assert response.status_code < 500, response.content


def test_every_problem_has_a_request_id(triage: Stage, api: APIClient):
    response = api.get("/api/v1/prompts/unknown", headers={"X-Request-ID": "my-id-1"})

    assert response["X-Request-ID"] == "my-id-1"
    assert len(api.get("/api/v1/prompts/unknown", headers={"X-Request-ID": "<script>"})["X-Request-ID"]) == 32


def test_a_bug_is_a_problem_document_too(triage: Stage, api: APIClient, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("registry.prompts.resolution.resolve", fail)
    api.raise_request_exception = False

    response = api.get(f"{COMMIT}/1")

    assert (response.status_code, response.json()["code"]) == (500, "server.error")
    assert "a bug" not in json.dumps(response.json())
