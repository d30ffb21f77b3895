"""Settings, accounts and signing in on the pages."""

import re
from typing import Any

import pytest
from django.test import Client

from registry.accounts import audit
from registry.accounts.permissions import Actor
from registry.models import Invitation, Membership
from registry.prompts import versions
from tests.conftest import Stage, chat, make_user
from tests.registry.views.pages import signed_in, text


# --- Settings --------------------------------------------------------------------------------------------------------
def test_members_are_invited_changed_and_removed(stage: Stage, otis: Actor):
    ada, invited = signed_in(stage.ada), signed_in(otis)
    page = "/p/paper/settings/members/"

    ada.post(page, {"username": "otis", "role": "viewer"})
    assert invited.get("/p/paper/prompts/").status_code == 404
    assert "ada invites you as" in " ".join(text(invited.get("/p/elsewhere/inbox/")).split())
    assert "otis" in text(ada.get(page))
    invited.post(f"/invitations/{Invitation.objects.get().pk}/accept/")
    assert invited.get("/p/paper/prompts/").status_code == 200
    ada.post(page, {"do": "change", "username": "otis", "role": "editor"})
    assert Membership.objects.get(user=otis.user, project=stage.project).role == "editor"
    ada.post(f"{page}otis/remove/")
    assert invited.get("/p/paper/prompts/").status_code == 404

    response = ada.post(page, {"username": "no such name", "role": "viewer"})
    assert response.status_code == 400
    assert "Cannot be a user name." in text(response)
    assert 'value="no such name"' in text(response)


def test_somebody_without_a_project_finds_their_invitations(stage: Stage):
    nora = make_user("nora")
    client = Client()
    client.force_login(nora)
    signed_in(stage.ada).post("/p/paper/settings/members/", {"username": "nora", "role": "editor"})
    number = Invitation.objects.get().pk

    assert "Accept" in text(client.get("/"))
    client.post(f"/invitations/{number}/decline/")
    assert "Accept" not in text(client.get("/"))
    client.post(f"/invitations/{number}/accept/")
    assert client.get("/p/paper/prompts/").status_code == 404


def test_the_last_admin_stays(stage: Stage):
    html = text(signed_in(stage.ada).post("/p/paper/settings/members/ada/remove/", follow=True))

    assert "last admin" in html


def test_environments_are_added_ordered_changed_and_removed(stage: Stage):
    ada = signed_in(stage.ada)
    page = "/p/paper/settings/environments/"

    ada.post(page, {"name": "canary", "protected": "on", "required_approvals": "2", "required_checks": "evals, lint"})
    canary = stage.environment("canary")
    assert (canary.protected, canary.required_approvals, canary.required_checks) == (True, 2, ["evals", "lint"])

    ada.post(f"{page}canary/move/", {"position": "3"})
    assert list(stage.project.environments.values_list("name", flat=True))[2:] == ["canary", "production"]
    ada.post(f"{page}development/move/", {"position": "0"})
    ada.post(f"{page}development/move/", {"position": "x"})
    assert stage.project.environments.first().name == "development"  # type: ignore[union-attr]

    ada.post(f"{page}canary/", {"required_approvals": "1", "required_checks": ""})
    assert not stage.environment("canary").protected
    ada.post(f"{page}canary/remove/")
    assert not stage.project.environments.filter(name="canary").exists()


@pytest.mark.parametrize(
    ("fields", "at"),
    [({"name": "latest"}, "name"), ({"name": "production"}, "name"), ({"name": "x"}, "required_approvals")],
)
def test_a_refused_environment_says_where(stage: Stage, fields: dict[str, str], at: str):
    typed = {"required_approvals": "many" if at != "name" else "1", "required_checks": "kept", **fields}

    response = signed_in(stage.ada).post("/p/paper/settings/environments/", typed)

    assert response.status_code in {400, 409}
    assert f'id="{at}-error"' in text(response)
    assert 'value="kept"' in text(response)


def new_key(client: Client, **fields: Any) -> Any:
    """Fill in the form that the page shows."""
    page = "/p/paper/settings/keys/"
    form = re.search(r'name="form" value="([^"]+)"', text(client.get(page)))[1]  # type: ignore[index]
    return client.post(page, {"form": form, "name": "router", "scopes": ["read"], "days": "30", "owner": "-", **fields})


def test_a_form_makes_one_key_however_often_it_is_sent(stage: Stage):
    ada = signed_in(stage.ada)
    page = "/p/paper/settings/keys/"
    form = re.search(r'name="form" value="([^"]+)"', text(ada.get(page)))[1]  # type: ignore[index]
    fields = {"form": form, "name": "router", "scopes": ["read"], "days": "30", "owner": "ada"}

    ada.post(page, fields)
    again = ada.post(page, fields, follow=True)

    assert "This form was submitted already." in text(again)
    assert stage.project.api_keys.count() == 1


@pytest.mark.parametrize(("days", "status"), [("", 200), ("90", 200), ("31", 400), ("x", 400)])
def test_only_a_key_that_was_chosen_to_never_ends(stage: Stage, days: str, status: int):
    assert new_key(signed_in(stage.ada), days=days).status_code == status
    endless = stage.project.api_keys.filter(expires_at=None).count()
    assert endless == (1 if days == "" else 0)


def test_a_key_is_shown_once_and_works_until_it_is_revoked(stage: Stage):
    ada = signed_in(stage.ada)
    page = "/p/paper/settings/keys/"

    response = new_key(ada)
    token = re.search(r"cbk_\w{12}_\w{32}", text(response))[0]  # type: ignore[index]

    assert "no-store" in response["Cache-Control"]
    assert token not in text(ada.get(page))
    headers = {"Authorization": f"Bearer {token}"}
    assert Client().get("/api/v1/me", headers=headers).status_code == 200
    ada.post(f"{page}{token.split('_')[1]}/revoke/")
    assert Client().get("/api/v1/me", headers=headers).status_code == 401


def test_a_key_without_a_scope_is_refused_with_the_name_kept(stage: Stage):
    response = new_key(signed_in(stage.ada), scopes=[])

    assert response.status_code == 400
    assert "at least one is needed" in text(response)
    assert 'value="router"' in text(response)


def test_the_audit_log_narrows_and_leaves_as_a_file(storied: Stage):
    vera = signed_in(storied.vera)
    page = "/p/paper/settings/audit/"

    html = text(vera.get(f"{page}?action=promotion.approved"))
    assert "promotion.approved" in html
    assert "prompt.created" not in html

    lines = b"".join(vera.get(f"{page}?action=version.&export=csv").streaming_content).decode().splitlines()
    assert lines[0].startswith("created_at,actor,action")
    assert len(lines) == 3
    assert b"".join(vera.get(f"{page}?export=jsonl").streaming_content).count(b"\n") > 5


def test_a_cell_that_a_spreadsheet_would_run_is_text(stage: Stage):
    prompt = stage.prompt()
    versions.commit(stage.edith, prompt, content=chat("x"), message="x")
    audit.record(stage.edith, "test.done", "=HYPERLINK(1)")

    body = b"".join(signed_in(stage.vera).get("/p/paper/settings/audit/?export=csv").streaming_content).decode()

    assert ",'=HYPERLINK(1)," in body


def test_the_audit_log_goes_on_page_by_page(stage: Stage):
    for index in range(60):
        audit.record(stage.edith, "test.done", f"thing {index}")
    vera = signed_in(stage.vera)

    first = text(vera.get("/p/paper/settings/audit/?action=test."))
    older = re.search(r'rel="next" href="([^"]+)"', first)[1].replace("&amp;", "&")  # type: ignore[index]
    second = text(vera.get(f"/p/paper/settings/audit/{older}"))

    assert "thing 59" in first
    assert "thing 9<" in second
    assert "thing 10<" in first


def test_people_change_their_own_account(stage: Stage):
    vera = signed_in(stage.vera)
    page = "/p/paper/profile/"

    vera.post(page, {"first_name": "Vera", "last_name": "Reads", "email": "vera@example.com"})
    stage.vera.user.refresh_from_db()  # type: ignore[union-attr]
    assert stage.vera.user.get_full_name() == "Vera Reads"  # type: ignore[union-attr]

    response = vera.post(page, {"first_name": "Kept", "last_name": "x" * 151, "email": "not an address"})
    assert response.status_code == 400
    assert 'value="Kept"' in text(response)
    assert 'id="email-error"' in text(response)

    change = {"old_password": "wrong", "new_password1": "battery staple horse", "new_password2": "battery staple horse"}
    assert vera.post(page, change).status_code == 422
    assert vera.post(page, {**change, "old_password": "correct horse"}).status_code == 302
    assert vera.get(page).status_code == 200


def test_colours_are_kept_in_the_browser(stage: Stage):
    client = signed_in(stage.vera)

    client.post("/theme/", {"theme": "dark"}, headers={"Referer": "http://testserver/p/paper/inbox/"})

    assert 'data-theme="dark"' in text(client.get("/p/paper/prompts/"))
    away = client.post("/theme/", {"theme": "light"}, headers={"Referer": "http://elsewhere.example/"})
    assert away["Location"] == "/"


# --- Signing in ------------------------------------------------------------------------------------------------------
def test_signing_in_leads_to_the_prompts(storied: Stage):
    client = Client()

    response = client.post("/login/", {"username": "vera", "password": "correct horse"}, follow=True)

    assert response.redirect_chain[-1][0] == "/p/paper/prompts/"
    assert "triage" in text(response)


def test_a_wrong_password_keeps_the_name(storied: Stage):
    response = Client().post("/login/", {"username": "vera", "password": "wrong"})

    assert response.status_code == 200
    assert 'value="vera"' in text(response)


def test_guessing_passwords_is_stopped(storied: Stage):
    client = Client()
    for _ in range(10):
        client.post("/login/", {"username": "vera", "password": "wrong"})

    response = client.post("/login/", {"username": "vera", "password": "correct horse"})

    assert response.status_code == 429


def test_every_page_has_a_strict_policy(storied: Stage):
    policy = signed_in(storied.vera).get("/p/paper/prompts/")["Content-Security-Policy"]

    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
