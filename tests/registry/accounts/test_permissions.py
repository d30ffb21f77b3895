"""Who may do what, as one table over the API: every call as every person and key (design section 5)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import transaction
from rest_framework.test import APIClient

from registry.accounts import invitations, projects
from registry.accounts.permissions import Actor, actor_for_command_line
from registry.models import Invitation, Promotion, PromptVersion, Role
from registry.promotions import workflow
from registry.promotions.environments import Rules, change_rules
from registry.prompts import versions
from tests.conftest import ApiFor, Stage, chat

WHO = ["viewer", "editor", "reviewer", "admin", "read", "write", "observe", "outsider", "nobody"]
SEE = {"viewer", "editor", "reviewer", "admin", "read", "write"}
CHANGE = {"editor", "reviewer", "admin", "write"}
DECIDE = {"reviewer", "admin"}
ADMINISTER = {"admin"}


@dataclass
class Scene:
    """Two versions of a prompt, the first live in production; promotions of the second wait."""

    stage: Stage
    first: PromptVersion
    second: PromptVersion
    promotion: Promotion
    approved: Promotion
    ready: Promotion
    blocked: Promotion
    invitation: Invitation


@pytest.fixture(scope="module")
def scene(shared_stage: Stage) -> Scene:
    stage = shared_stage
    prompt = stage.prompt()
    # Ralf writes and asks, so that no one in the table is held up by four eyes.
    zero, first, second, third, fourth = (
        versions.commit(stage.ralf, prompt, content=chat(text)).version for text in ("0", "1", "2", "3", "4")
    )
    for version in (zero, first):
        workflow.apply(stage.ralf, approve(stage, version, "production"))
        workflow.apply(stage.ralf, workflow.request(stage.ralf, prompt, version, stage.environment("staging")))
    change_rules(stage.ada, stage.environment("development"), Rules(True, 1, ("quality",)))
    return Scene(
        stage,
        first,
        second,
        promotion=workflow.request(stage.ralf, prompt, second, stage.environment("production")),
        approved=approve(stage, third, "production"),
        ready=workflow.request(stage.ralf, prompt, second, stage.environment("staging")),
        blocked=approve(stage, fourth, "development"),
        invitation=invitations.invite(stage.ada, username="nora", role=Role.VIEWER),
    )


def approve(stage: Stage, version: PromptVersion, environment: str) -> Promotion:
    promotion = workflow.request(stage.ralf, version.prompt, version, stage.environment(environment))
    return workflow.approve(stage.rhea, promotion)


Call = Callable[[APIClient, Scene], Any]
PROMPT = "/api/v1/prompts/support.triage"


def get(path: str) -> Call:
    return lambda client, scene: client.get(f"/api/v1/{path}".format(scene=scene))


def post(path: str, **body: Any) -> Call:
    return lambda client, scene: client.post(f"/api/v1/{path}".format(scene=scene), body)


TABLE: dict[str, tuple[Call, set[str]]] = {
    "list prompts": (get("prompts"), SEE),
    "read a prompt": (get("prompts/support.triage"), SEE),
    "list versions": (get("prompts/support.triage/versions"), SEE),
    "fetch": (get("prompts/support.triage/versions/production"), SEE),
    "fetch by hash": (get("versions/{scene.first.content_hash}"), SEE),
    "render": (post("prompts/support.triage/versions/1/render", variables={}), SEE),
    "uses": (get("prompts/support.triage/versions/1/uses"), SEE),
    "batch": (post("prompts/batch", references=["support.triage"]), SEE),
    "snapshot": (get("environments/production/snapshot"), SEE),
    "compare": (get("prompts/support.triage/diff?from=1&to=2"), SEE),
    "list releases": (get("prompts/support.triage/releases"), SEE),
    "list promotions": (get("promotions"), SEE),
    "read a promotion": (get("promotions/{scene.promotion.pk}"), SEE),
    "list checks": (get("versions/{scene.first.content_hash}/checks"), SEE),
    "list environments": (get("environments"), SEE),
    "read an environment": (get("environments/production"), SEE),
    "list members": (get("members"), SEE),
    "read the audit trail": (get("audit"), SEE),
    "create a prompt": (post("prompts", name="new"), CHANGE),
    "describe": (lambda client, _: client.patch(PROMPT, {"description": "x"}), CHANGE),
    "commit": (post("prompts/support.triage/versions", content=chat("new")), CHANGE),
    "ask for promotion": (
        post("promotions", prompt="support.triage", version=4, environment="staging"),
        CHANGE,
    ),
    "comment": (post("promotions/{scene.promotion.pk}/comment", comment="Hi"), CHANGE),
    "apply what is approved": (post("promotions/{scene.approved.pk}/apply"), CHANGE),
    "release to an unprotected environment": (post("promotions/{scene.ready.pk}/apply"), CHANGE),
    "roll back": (post("prompts/support.triage/rollback", environment="production"), CHANGE),
    "approve": (post("promotions/{scene.promotion.pk}/approve"), DECIDE),
    "reject": (post("promotions/{scene.promotion.pk}/reject"), DECIDE),
    "request changes": (post("promotions/{scene.promotion.pk}/request-changes", comment="Shorter"), DECIDE),
    "record a check": (
        post("versions/{scene.first.content_hash}/checks", name="quality", status="passed"),
        {"write"},
    ),
    "override": (post("promotions/{scene.blocked.pk}/override", reason="The judge is down"), ADMINISTER),
    "create an environment": (post("environments", name="canary"), ADMINISTER),
    "change rules": (
        lambda client, _: client.patch("/api/v1/environments/staging", {"protected": True}),
        ADMINISTER,
    ),
    "set a member": (lambda client, _: client.put("/api/v1/members/vera", {"role": "editor"}), ADMINISTER),
    "invite": (lambda client, _: client.put("/api/v1/members/nils", {"role": "editor"}), ADMINISTER),
    "list invitations": (get("invitations"), ADMINISTER),
    "withdraw an invitation": (
        lambda client, scene: client.delete(f"/api/v1/invitations/{scene.invitation.pk}"),
        ADMINISTER,
    ),
    "remove a member": (lambda client, _: client.delete("/api/v1/members/vera"), ADMINISTER),
    "list keys": (get("keys"), ADMINISTER),
    "issue a key": (post("keys", name="ci", scopes=["read"]), ADMINISTER),
}


@pytest.mark.parametrize("what", TABLE)
def test_who_may(what: str, scene: Scene, otis: Actor, api_for: ApiFor):
    call, allowed = TABLE[what]
    stage = scene.stage
    people = {"viewer": stage.vera, "editor": stage.edith, "reviewer": stage.rhea, "admin": stage.ada}

    outcomes = {}
    for who in WHO:
        client = APIClient() if who == "nobody" else None
        if who in {"read", "write", "observe"}:
            client = api_for(stage.vera, scopes=[who])
        elif who in people:
            client = api_for(people[who])
        elif who == "outsider":
            client = api_for(otis)
        assert client
        client.default_format = "json"
        outcomes[who] = attempt(call, client, scene)

    for who, (status, code) in outcomes.items():
        if who in allowed:
            assert status < 300, (who, status, code)
        elif who == "nobody":
            assert (status, code) == (401, "auth.required"), who
        elif who == "outsider":
            # Lists and new things are the outsider's own project's; whatever is named is not there.
            assert status in {200, 201, 202, 404}, (who, status, code)
        else:
            assert (status, code) in {(403, "access.denied"), (403, "promotion.machine_approval")}, (who, status, code)


def attempt(call: Call, client: APIClient, scene: Scene) -> tuple[int, str]:
    """Call inside a savepoint that is rolled back, so that each of the table starts from the same scene."""
    with transaction.atomic():
        response = call(client, scene)
        transaction.set_rollback(True)
    code = response.json().get("code", "") if response.status_code >= 400 else ""
    return response.status_code, code


NAMED = [what for what, (call, _) in TABLE.items() if what not in {"list prompts", "batch", "snapshot"}]


def test_an_outsider_is_told_404_for_everything_that_is_named(scene: Scene, otis: Actor, api_for: ApiFor):
    own = {
        *("list promotions", "list environments", "read an environment", "list members", "read the audit trail"),
        *("create a prompt", "create an environment", "change rules", "list keys", "issue a key", "set a member"),
        *("remove a member", "invite", "list invitations"),
    }
    client = api_for(otis)

    for what in NAMED:
        if what not in own:
            assert attempt(TABLE[what][0], client, scene)[0] == 404, what


def test_lists_of_an_outsider_have_nothing_of_this_project(scene: Scene, otis: Actor, api_for: ApiFor):
    client = api_for(otis)

    assert client.get("/api/v1/prompts").json()["results"] == []
    assert client.get("/api/v1/promotions").json()["results"] == []
    assert client.get("/api/v1/environments/production/snapshot").json()["prompts"] == {}
    batch = client.post("/api/v1/prompts/batch", {"references": ["support.triage@1"]}).json()
    assert batch["results"][0]["problem"]["code"] == "prompt.not_found"
    assert {entry["action"] for entry in client.get("/api/v1/audit").json()["results"]} == {
        "project.created",
        "member.set",
    }


def test_a_person_in_two_projects_names_one(scene: Scene, otis: Actor, api_for: ApiFor):
    stage = scene.stage
    assert stage.edith.user
    projects.set_member(actor_for_command_line(otis.project), user=stage.edith.user, role=Role.VIEWER)
    client = api_for(stage.edith)

    refused = client.get("/api/v1/me")
    assert (refused.status_code, refused.json()["code"]) == (400, "auth.no_project")
    assert client.get("/api/v1/me", headers={"X-Cuebook-Project": "elsewhere"}).json()["rights"] == ["see"]
    assert client.get("/api/v1/me?project=paper").json()["project"] == "paper"
    assert client.get("/api/v1/me?project=unknown").status_code == 404


def test_a_key_may_name_no_other_project(scene: Scene, db: None, api_for: ApiFor):
    api = api_for(scene.stage.edith, scopes=["read"])
    assert api.get("/api/v1/me?project=paper").status_code == 200
    assert api.get("/api/v1/me", headers={"X-Cuebook-Project": "paper"}).status_code == 200
    assert api.get("/api/v1/me?project=elsewhere").json()["code"] == "not_found"
    assert api.get("/api/v1/me", headers={"X-Cuebook-Project": "elsewhere"}).status_code == 404


def test_a_session_without_csrf_token_changes_nothing(scene: Scene, db: None):
    stage = scene.stage
    assert stage.edith.user
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(stage.edith.user)

    response = client.post("/api/v1/prompts", {"name": "x"}, format="json")

    assert (response.status_code, response.json()["code"]) == (403, "auth.csrf")
