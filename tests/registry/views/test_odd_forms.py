"""Forms and drafts that no page would send: each is refused in words, and nothing breaks."""

from typing import Any

import pytest
from django.test import Client

from registry.accounts.permissions import Actor
from registry.prompts import drafts
from tests.conftest import Stage
from tests.registry.views.pages import TRIAGE, signed_in, text


@pytest.mark.parametrize(
    ("page", "field"),
    [
        ("/p/paper/new-prompt/", "description"),
        (f"{TRIAGE}/about/", "description"),
        (f"{TRIAGE}/promote/", "reason"),
        (f"{TRIAGE}/rollback/", "reason"),
        ("/p/paper/profile/", "first_name"),
        ("/p/paper/settings/members/", "username"),
        ("/p/paper/settings/environments/", "required_checks"),
        ("/p/paper/settings/keys/", "name"),
        ("/login/", "username"),
    ],
)
def test_a_nul_in_a_field_is_refused(storied: Stage, page: str, field: str):
    response = signed_in(storied.ada).post(page, {field: "a\0b"})

    assert response.status_code == 400
    assert response.json()["code"] == "request.nul"


@pytest.mark.parametrize(
    "document",
    [
        {"kind": "chat", "messages": 5},
        {"messages": True},
        {"messages": [1, None]},
        {"examples": {"set": 5}},
        {"model": [], "response": 7, "tools": "x", "variables": [], "includes": 1},
        {"kind": 4, "text": {}},
    ],
)
def test_a_draft_of_any_shape_can_be_opened_saved_and_looked_at(storied: Stage, document: dict[str, Any]):
    prompt = storied.project.prompts.get()
    revision = drafts.save(storied.edith, prompt, document=document, revision=0)
    edith = signed_in(storied.edith)
    body = {"document": document, "revision": revision, "serial": 1, "window": "w", "save": True}

    assert edith.get(f"{TRIAGE}/edit/").status_code == 200
    assert edith.get(f"{TRIAGE}/edit/commit/").status_code == 200
    assert edith.post(f"{TRIAGE}/edit/draft/", body, content_type="application/json").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"revision": true, "serial": 1, "window": "w"}',
        b'{"revision": 1, "serial": -1, "window": "w"}',
        b'{"revision": 0, "serial": 1, "window": ""}',
        b'{"revision": 0, "serial": 1, "window": "w", "base": "1"}',
        b'{"revision": 0, "serial": 1, "window": "w", "document": "\\ud800", "save": true}',
        b'{"revision": 0, "serial": 1, "window": "w", "document": ' + b"[" * 500 + b"]" * 500 + b"}",
    ],
)
def test_a_save_that_makes_no_sense_is_refused_in_words(storied: Stage, body: bytes):
    response = signed_in(storied.edith).post(f"{TRIAGE}/edit/draft/", body, content_type="application/json")

    assert response.status_code == 400
    assert response.json()["code"] in {"request.malformed", "request.invalid", "content.invalid"}


def test_a_viewer_is_refused_before_anything_is_read(storied: Stage):
    response = signed_in(storied.vera).post(f"{TRIAGE}/edit/draft/", b"{", content_type="application/json")

    assert response.status_code == 403


def test_who_was_signed_out_comes_back_to_the_page_of_the_form(storied: Stage):
    sent = {"Referer": f"http://testserver{TRIAGE}/promote/"}
    away = {"Referer": "http://elsewhere.example/x"}

    assert Client().post(f"{TRIAGE}/promote/", headers=sent)["Location"] == f"/login/?next={TRIAGE}/promote/"
    assert Client().post(f"{TRIAGE}/archive/", headers=away)["Location"] == "/login/?next=/"
    saved = Client().post(f"{TRIAGE}/edit/draft/", b"{}", content_type="application/json")
    assert (saved.status_code, saved.json()["code"]) == (401, "auth.required")


def test_an_address_that_only_takes_forms_says_so_within_the_frame(storied: Stage):
    response = signed_in(storied.edith).get(f"{TRIAGE}/archive/")

    assert response.status_code == 405
    assert 'aria-label="Main"' in text(response)


@pytest.mark.parametrize("page", [f"{TRIAGE}/edit/?from=²", f"{TRIAGE}/edit/?from=", f"{TRIAGE}/edit/?from=1x"])
def test_an_odd_start_is_no_start(storied: Stage, page: str):
    assert signed_in(storied.edith).get(page).status_code == 200


def test_a_name_that_nobody_can_have_is_just_wrong(stage: Stage):
    assert Client().post("/login/", {"username": "x" * 300, "password": "y"}).status_code == 200


def test_an_outsider_cannot_tell_a_project_from_none(storied: Stage, otis: Actor):
    client = signed_in(otis)

    assert text(client.get("/p/paper/prompts/")) == text(client.get("/p/never/prompts/"))
