"""Environments, members and the audit trail."""

import pytest
from rest_framework.test import APIClient

from core.errors import Problem
from registry.accounts import audit, projects
from registry.models import AuditEntry, Role
from registry.promotions import environments
from registry.promotions.environments import Rules
from tests.conftest import ApiFor, Stage

LOOSE = Rules(protected=False, required_approvals=1, required_checks=())


@pytest.mark.parametrize("name", ["latest", "3", "sha256", "sha256-x", "Prod", "a b", "", "-a", "x" * 51])
def test_an_environment_is_not_named_like_another_selector(stage: Stage, name: str):
    with pytest.raises(Problem) as refused:
        environments.create(stage.ada, name=name, rules=LOOSE)

    assert refused.value.code == "environment.invalid_name"


def test_environments_are_made_changed_and_removed_over_the_api(stage: Stage, api_for: ApiFor):
    api = api_for(stage.ada)

    created = api.post("/api/v1/environments", {"name": "canary", "required_checks": ["b", "a", "a"]})
    changed = api.patch("/api/v1/environments/canary", {"protected": True, "required_approvals": 2})

    assert (created.status_code, created.json()["position"]) == (201, 4)
    assert changed.json() == {
        "name": "canary",
        "position": 4,
        "protected": True,
        "required_approvals": 2,
        "required_checks": ["a", "b"],
    }
    assert api.post("/api/v1/environments", {"name": "canary"}).json()["code"] == "environment.name_taken"
    assert api.patch("/api/v1/environments/canary", {"required_approvals": 21}).json()["code"] == "request.invalid"
    assert api.delete("/api/v1/environments/canary").status_code == 204


def test_an_environment_with_a_history_is_not_removed(stage: Stage):
    stage.release(stage.commit(stage.prompt(), "one"), "staging")

    with pytest.raises(Problem) as refused:
        environments.remove(stage.ada, stage.environment("staging"))

    assert refused.value.code == "environment.in_use"


def test_a_project_keeps_an_admin(stage: Stage):
    assert stage.ada.user
    assert stage.rhea.user
    for act in (
        lambda: projects.remove_member(stage.ada, user=stage.ada.user),
        lambda: projects.set_member(stage.ada, user=stage.ada.user, role=Role.EDITOR),
    ):
        with pytest.raises(Problem) as refused:
            act()
        assert refused.value.code == "member.last_admin"

    projects.set_member(stage.ada, user=stage.rhea.user, role=Role.ADMIN)
    projects.remove_member(stage.ada, user=stage.ada.user)


def test_every_change_writes_who_what_and_request(stage: Stage, api_for: ApiFor):
    api = api_for(stage.ada)
    api.patch("/api/v1/environments/staging", {"protected": True}, headers={"X-Request-ID": "change-42"})

    entries = api.get("/api/v1/audit?action=environment.rules_changed").json()["results"]

    assert [(entry["actor"], entry["target"], entry["request_id"]) for entry in entries] == [
        ("ada", "staging", "change-42")
    ]
    assert entries[0]["before"]["protected"] is False
    assert entries[0]["after"]["protected"] is True


def test_the_audit_trail_is_filtered(stage: Stage, api: APIClient):
    stage.release(stage.commit(stage.prompt(), "one"))

    def actions(query: str) -> set[str]:
        return {entry["action"] for entry in api.get(f"/api/v1/audit?{query}").json()["results"]}

    assert actions("target=support.triage%20in") == {"release.promoted"}
    assert actions("actor=rhea") == {"promotion.approved"}
    assert actions("since=2999-01-01T00:00:00Z") == set()
    assert "prompt.created" in actions("until=2999-01-01T00:00:00Z")


def test_a_change_that_fails_leaves_no_entry(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    before = AuditEntry.objects.count()

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("registry.promotions.approvals.reopen_unapproved", fail)
    with pytest.raises(RuntimeError):
        environments.change_rules(stage.ada, stage.environment("staging"), Rules(True, 3, ()))

    assert AuditEntry.objects.count() == before
    assert not stage.environment("staging").protected


def test_long_texts_are_shortened_in_the_trail(stage: Stage):
    audit.record(stage.ada, "test.long", "x", after={"text": "a" * 10_000})

    entry = AuditEntry.objects.get(action="test.long")
    assert len(entry.after["text"]) == audit.MAX_TEXT + 1


def test_an_environment_takes_another_place_over_the_api(stage: Stage, api_for: ApiFor):
    ada = api_for(stage.ada)
    order = "/api/v1/environments"

    answer = ada.patch(f"{order}/production", {"position": 1})
    assert (answer.status_code, answer.json()["position"]) == (200, 1)
    assert [environment["name"] for environment in ada.get(order).json()["results"]] == [
        "production",
        "development",
        "staging",
    ]

    ada.patch(f"{order}/production", {"position": 99})
    assert [environment["name"] for environment in ada.get(order).json()["results"]] == [
        "development",
        "staging",
        "production",
    ]
    assert api_for(stage.edith).patch(f"{order}/production", {"position": 1}).status_code == 403
    assert ada.patch(f"{order}/production", {"position": 0}).status_code == 400
