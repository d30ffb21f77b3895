"""Who may open which page, and what is at an address that is none. One scene for all: nothing here changes it."""

import re

import pytest
from django.test import Client
from django.urls import get_resolver

from registry.accounts.permissions import Actor
from tests.conftest import Stage
from tests.registry.conftest import tell_story
from tests.registry.views.pages import TRIAGE, signed_in, text
from tests.test_architecture import addresses

pytestmark = pytest.mark.django_db
PAGES = [
    "/p/paper/prompts/",
    "/p/paper/prompts/?archived=1",
    f"{TRIAGE}/",
    f"{TRIAGE}/history/",
    f"{TRIAGE}/versions/2/",
    f"{TRIAGE}/use/",
    f"{TRIAGE}/compare/",
    f"{TRIAGE}/compare/?from=1&to=2&view=split&whole=1",
    f"{TRIAGE}/rollback/?environment=production",
    f"{TRIAGE}/evaluations/panel/",
    f"{TRIAGE}/usage/panel/",
    f"{TRIAGE}/strategy/panel/",
    "/p/paper/promotions/",
    "/p/paper/inbox/",
    "/p/paper/search/?q=triage",
    "/p/paper/profile/",
    "/p/paper/settings/members/",
    "/p/paper/settings/environments/",
    "/p/paper/settings/audit/",
]
EDITORS_PAGES = [
    "/p/paper/new-prompt/",
    f"{TRIAGE}/edit/",
    f"{TRIAGE}/edit/?from=1",
    f"{TRIAGE}/about/",
    f"{TRIAGE}/promote/",
]
ADMINS_PAGES = ["/p/paper/settings/keys/", "/p/paper/settings/environments/production/"]


@pytest.fixture(scope="module")
def storied(shared_stage: Stage) -> Stage:
    return tell_story(shared_stage)


@pytest.mark.parametrize("page", PAGES)
def test_every_member_sees_it(storied: Stage, page: str):
    assert signed_in(storied.vera).get(page).status_code == 200


@pytest.mark.parametrize("page", EDITORS_PAGES)
def test_writing_is_for_editors(storied: Stage, page: str):
    assert signed_in(storied.edith).get(page).status_code == 200
    refused = signed_in(storied.vera).get(page)
    assert refused.status_code == 403
    assert "You may not edit prompts" in text(refused)


@pytest.mark.parametrize("page", ADMINS_PAGES)
def test_settings_are_for_admins(storied: Stage, page: str):
    assert signed_in(storied.ada).get(page).status_code == 200


def test_keys_are_for_admins_alone(storied: Stage):
    assert signed_in(storied.rhea).get(ADMINS_PAGES[0]).status_code == 403


def pages_of_a_project() -> list[str]:
    filled = {"<slug:project>": "paper", "<str:name>": "support.triage", "<int:number>": "1", "<int:key>": "1"}
    filled |= {"<int:result>": "1", "<int:answer>": "1"}
    filled["<str:verb>"] = "approve"
    paths = []
    for address in addresses(get_resolver()):
        if address.startswith("p/<slug:project>"):
            for part, value in filled.items():
                address = address.replace(part, value)
            paths.append("/" + re.sub(r"<[^>]+>", "vera", address))
    return paths


@pytest.mark.parametrize("page", pages_of_a_project())
def test_an_outsider_gets_404_everywhere_and_a_stranger_signs_in(storied: Stage, otis: Actor, page: str):
    for method in ("get", "post"):
        assert getattr(signed_in(otis), method)(page).status_code in {404, 405}, method
        answer = getattr(Client(), method)(page)
        assert answer.status_code == 405 or answer["Location"].startswith("/login/")


@pytest.mark.parametrize(
    ("page", "status"),
    [
        ("/p/unknown/prompts/", 404),
        ("/p/paper/prompts/unknown/", 404),
        (f"{TRIAGE}/versions/99/", 404),
        (f"{TRIAGE}/versions/99999999999999999999/", 404),
        (f"{TRIAGE}/compare/?from=nonsense!&to=1", 400),
        (f"{TRIAGE}/compare/?from=&to=", 200),
        (f"{TRIAGE}/history/?before=nonsense", 200),
        (f"{TRIAGE}/history/?before=2026-13-45", 200),
        (f"{TRIAGE}/use/?at=nowhere", 200),
        (f"{TRIAGE}/use/?at=!!", 200),
        (f"{TRIAGE}/rollback/?environment=nowhere", 404),
        (f"{TRIAGE}/rollback/?environment=staging", 409),
        ("/p/paper/prompts/?page=9999", 200),
        ("/p/paper/prompts/?search=nothing-like-this&order=nonsense", 200),
        ("/p/paper/promotions/99/", 404),
        ("/p/paper/promotions/?status=nonsense&page=-1", 200),
        ("/p/paper/settings/audit/?before=x&since=nonsense&until=9999-12-31", 200),
        ("/p/paper/settings/audit/?since=2026-99-99", 200),
        ("/nonsense", 404),
    ],
)
def test_an_odd_address_is_a_page_that_says_so(storied: Stage, page: str, status: int):
    response = signed_in(storied.vera).get(page)

    assert response.status_code == status
    assert "<html" in text(response)
