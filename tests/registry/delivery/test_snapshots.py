"""What is live in an environment, and what has changed since."""

from datetime import timedelta

from django.db.models import F
from rest_framework.test import APIClient

from registry.delivery import snapshots
from registry.models import Snapshot
from tests.conftest import Stage


def test_a_snapshot_says_what_has_changed_since(stage: Stage, api: APIClient):
    first, second, third = (stage.prompt(f"support.{name}") for name in ("a", "b", "c"))
    for prompt in (first, second):
        stage.release(stage.commit(prompt, "one"), "development")
    url = "/api/v1/environments/development/snapshot"
    whole = api.get(url)
    assert sorted(whole.json()["prompts"]) == ["support.a", "support.b"]
    same = api.get(url, {"since": whole["ETag"]})
    assert (same.json()["prompts"], same.json()["removed"]) == ({}, [])
    stage.release(stage.commit(second, "two"), "development")
    stage.release(stage.commit(third, "one"), "development")

    changed = api.get(url, {"since": whole["ETag"].strip('"')})

    assert sorted(changed.json()["prompts"]) == ["support.b", "support.c"]
    assert changed["ETag"] == api.get(url)["ETag"] != whole["ETag"]
    refused = api.get(url, {"since": "sha256:long-ago"})
    assert (refused.status_code, refused.json()["code"]) == (410, "snapshot.too_old")
    stage.roll_back(second, "development")
    back = api.get(url)["ETag"]
    # A week later what is live is still known, and so is what came just before it; only what nobody has is not.
    Snapshot.objects.update(created_at=F("created_at") - timedelta(days=8))
    snapshots.clear_old()
    assert api.get(url, {"since": back}).status_code == 200
    assert api.get(url, {"since": whole["ETag"]}).status_code == 410
    assert api.get("/api/v1/prompts/support.a/fetches").json() == []
    assert api.get("/api/v1/prompts", {"unused_days": "30"}).json()["results"] == []
