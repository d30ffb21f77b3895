"""The read side: what services fetch, how it may be cached, and what it costs."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from registry.content.content_hash import content_hash
from tests.conftest import Stage

VERSIONS = "/api/v1/prompts/support.triage/versions"
MUTABLE = "private, max-age=5, stale-while-revalidate=60, stale-if-error=86400"
IMMUTABLE = "private, max-age=31536000, immutable"


@pytest.fixture
def triage(stage: Stage) -> Stage:
    """Version 1 is live in production, 2 in staging, 3 nowhere."""
    prompt = stage.prompt()
    versions = [stage.commit(prompt, text, model={"temperature": 0.1}) for text in ("one", "two", "three")]
    stage.release(versions[0], "production")
    stage.release(versions[1], "staging")
    return stage


def test_a_fetch_has_content_number_hash_and_environments(triage: Stage, api: APIClient):
    body = api.get(f"{VERSIONS}/production").json()

    assert body["number"] == 1
    assert body["environments"] == ["production"]
    assert body["reference"] == "support.triage@1"
    assert body["content"]["messages"] == [{"role": "system", "content": "one"}]
    assert content_hash(body["content"]) == body["hash"]
    assert (body["author"], body["message"], body["parent"], body["partials"]) == ("edith", "one", None, {})


@pytest.mark.parametrize(
    ("selector", "policy"),
    [("production", MUTABLE), ("latest", MUTABLE), ("1", IMMUTABLE), ("hash", IMMUTABLE), ("prefix", MUTABLE)],
)
def test_what_may_be_cached_follows_from_the_selector(triage: Stage, api: APIClient, selector: str, policy: str):
    digest = api.get(f"{VERSIONS}/1").json()["hash"]
    selector = {"hash": digest, "prefix": digest[:19]}.get(selector, selector)

    response = api.get(f"{VERSIONS}/{selector}")

    assert response["Cache-Control"] == policy
    assert response["ETag"] == f'"{response.json()["hash"]}"'


def test_the_same_etag_is_304_without_a_body(triage: Stage, api: APIClient):
    tag = api.get(f"{VERSIONS}/production")["ETag"]

    for header in (tag, f'"x", {tag}', f"W/{tag}", "*"):
        response = api.get(f"{VERSIONS}/production", headers={"If-None-Match": header})
        assert (response.status_code, response.content, response["ETag"]) == (304, b"", tag)
    assert api.get(f"{VERSIONS}/production", headers={"If-None-Match": '"other"'}).status_code == 200


def test_head_has_the_headers_alone(triage: Stage, api: APIClient):
    response = api.head(f"{VERSIONS}/production")

    assert response.status_code == 200
    assert response["ETag"].startswith('"sha256:')


def test_by_hash_alone(triage: Stage, api: APIClient):
    digest = api.get(f"{VERSIONS}/2").json()["hash"]

    whole, short = api.get(f"/api/v1/versions/{digest}"), api.get(f"/api/v1/versions/{digest[:19]}")

    assert whole.json()["number"] == short.json()["number"] == 2
    assert (whole["Cache-Control"], short["Cache-Control"]) == (IMMUTABLE, MUTABLE)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("prompts/unknown/versions/production", 404, "prompt.not_found"),
        ("prompts/support.triage/versions/9", 404, "prompt.unknown_selector"),
        ("prompts/support.triage/versions/development", 404, "prompt.unknown_selector"),
        ("prompts/support.triage/versions/nowhere", 404, "prompt.unknown_selector"),
        ("prompts/support.triage/versions/0", 400, "prompt.invalid_selector"),
        ("prompts/support.triage/versions/sha256:12", 400, "prompt.invalid_selector"),
        ("prompts/support.triage/versions/sha256:000000000000", 404, "prompt.unknown_selector"),
        ("versions/sha256:000000000000", 404, "version.not_found"),
        ("versions/latest", 400, "prompt.invalid_selector"),
        ("environments/nowhere/snapshot", 404, "environment.not_found"),
        ("nonsense", 404, "not_found"),
    ],
)
def test_what_is_not_there_is_a_problem_document(triage: Stage, api: APIClient, path: str, status: int, code: str):
    response = api.get(f"/api/v1/{path}")

    assert response.status_code == status
    assert response["Content-Type"] == "application/problem+json"
    assert response.json()["code"] == code
    assert response.json()["status"] == status


def test_a_release_changes_what_is_fetched(triage: Stage, api: APIClient):
    triage.release(triage.project.prompts.get().versions.get(number=3))

    assert api.get(f"{VERSIONS}/production").json()["number"] == 3
    triage.roll_back(triage.project.prompts.get())
    assert api.get(f"{VERSIONS}/production").json()["number"] == 1


def test_partials_come_along_so_that_a_client_can_render(stage: Stage, api: APIClient):
    tone = stage.commit(stage.prompt("shared.tone"), "Be {{ how }}")
    inner = stage.commit(stage.prompt("shared.inner"), "{% include 'shared.tone' %}")
    stage.commit(stage.prompt(), "{% include 'shared.inner' %}")

    body = api.get(f"{VERSIONS}/latest").json()

    assert body["content"]["includes"] == {"shared.inner": inner.content_hash}
    assert set(body["partials"]) == {inner.content_hash, tone.content_hash}
    for digest, partial in body["partials"].items():
        assert content_hash(partial["content"]) == digest


def test_a_batch_answers_each_reference(triage: Stage, api: APIClient):
    triage.commit(triage.prompt("other"), "x")
    references = [
        *("support.triage", "support.triage@2", "support.triage@latest", "support.triage@staging", "other@1"),
        *("other", "unknown", "Not A Name", "support.triage@9", "support.triage@latest"),
    ]

    results = api.post("/api/v1/prompts/batch", {"references": references}).json()["results"]

    assert [result["reference"] for result in results] == references
    assert [result.get("version", {}).get("number") for result in results] == [1, 2, 3, 2, 1, None, None, None, None, 3]
    assert [result["problem"]["code"] for result in results if "problem" in result] == [
        "prompt.unknown_selector",
        "prompt.not_found",
        "reference.invalid",
        "prompt.unknown_selector",
    ]


def test_a_snapshot_has_everything_that_is_live(triage: Stage, api: APIClient):
    triage.release(triage.commit(triage.prompt("other"), "x"))

    response = api.get("/api/v1/environments/production/snapshot")

    assert {name: version["number"] for name, version in response.json()["prompts"].items()} == {
        "other": 1,
        "support.triage": 1,
    }
    again = api.get("/api/v1/environments/production/snapshot", headers={"If-None-Match": response["ETag"]})
    assert again.status_code == 304
    triage.release(triage.project.prompts.get(name="support.triage").versions.get(number=2))
    assert api.get("/api/v1/environments/production/snapshot")["ETag"] != response["ETag"]


def queries(api: APIClient, call: Any) -> list[str]:
    call()  # note_use writes once a minute; the second call is the usual one
    with CaptureQueriesContext(
        connection,
    ) as captured:
        response = call()
    assert response.status_code == 200, response.content
    return [query["sql"] for query in captured.captured_queries]


def test_a_fetch_takes_two_queries(triage: Stage, api: APIClient):
    """1. the key with its project; 2. the version with its prompt, parent and environments."""
    assert len(queries(api, lambda: api.get(f"{VERSIONS}/production"))) == 2
    assert len(queries(api, lambda: api.get(f"{VERSIONS}/1"))) == 2
    assert len(queries(api, lambda: api.get(f"{VERSIONS}/latest"))) == 2


def test_a_fetch_with_partials_takes_four_queries(stage: Stage, api: APIClient):
    """3. the edges below the version, however deep; 4. the included versions."""
    stage.commit(stage.prompt("p0"), "bottom")
    for depth in range(1, 5):
        stage.commit(stage.prompt(f"p{depth}"), f"{{% include 'p{depth - 1}' %}}")

    assert len(queries(api, lambda: api.get("/api/v1/prompts/p4/versions/latest"))) == 4


@pytest.mark.parametrize("count", [3, 40])
def test_lists_take_a_number_of_queries_that_does_not_grow(stage: Stage, api: APIClient, count: int):
    for index in range(count):
        prompt = stage.prompt(f"prompt-{index}")
        for text in ("one", "two"):
            version = stage.commit(prompt, text)
        stage.release(version, "staging")
    last = f"/api/v1/prompts/prompt-{count - 1}"

    # 1. the key; 2. prompts with their newest versions; 3. their live releases
    assert len(queries(api, lambda: api.get("/api/v1/prompts"))) == 3
    # 1. the key; 2. the prompt; 3. versions
    assert len(queries(api, lambda: api.get(f"{last}/versions"))) == 3
    # 1. the key; 2. the prompt; 3. releases
    assert len(queries(api, lambda: api.get(f"{last}/releases"))) == 3
    # 1. the key; 2. promotions
    assert len(queries(api, lambda: api.get("/api/v1/promotions"))) == 2
    # 1. the key; 2. entries
    assert len(queries(api, lambda: api.get("/api/v1/audit"))) == 2
    # 1. the key; 2. the environment; 3. live versions; 4. the snapshot, for who asks what came since
    assert len(queries(api, lambda: api.get("/api/v1/environments/staging/snapshot"))) == 4
    # 1. the key; 2. versions; 3. known names
    references = [f"prompt-{index}@staging" for index in range(count)]
    assert len(queries(api, lambda: api.post("/api/v1/prompts/batch", {"references": references}))) == 3


def test_lists_are_paged_by_cursor(stage: Stage, api: APIClient):
    for index in range(7):
        stage.prompt(f"prompt-{index}")

    first = api.get("/api/v1/prompts?limit=5").json()
    second = api.get(first["next"]).json()

    assert [row["name"] for row in first["results"] + second["results"]] == [f"prompt-{index}" for index in range(7)]
    assert second["next"] is None


def test_prompts_are_filtered(triage: Stage, api: APIClient):
    tagged = triage.prompt("billing.extract")
    tagged.tags, tagged.description = ["money"], "Reads invoices"
    tagged.save()

    def names(query: str) -> list[str]:
        return [row["name"] for row in api.get(f"/api/v1/prompts?{query}").json()["results"]]

    assert names("search=INVOICE") == names("search=money") == names("tag=money") == ["billing.extract"]
    assert names("prefix=support.") == names("environment=production") == ["support.triage"]
    assert names("archived=true") == []
    assert names("search=%25") == []
