"""The pages: for members only, in few queries, with every text escaped."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from registry import promotion, versions
from registry.access import Actor
from tests.conftest import Stage, chat

PAGES = [
    "/p/paper/prompts/",
    "/p/paper/prompts/support.triage/",
    "/p/paper/prompts/support.triage/?version=2",
    "/p/paper/prompts/support.triage/compare/?from=1&to=2",
]


@pytest.fixture
def triage(stage: Stage) -> Stage:
    prompt = stage.prompt()
    stage.release(stage.commit(prompt, "Sort <b>tickets</b>"))
    stage.release(stage.commit(prompt, "Sort <i>tickets</i>", model={"temperature": 0.1}))
    stage.roll_back(prompt, reason="Labels <went> missing")
    return stage


def signed_in(actor: Actor) -> Client:
    client = Client()
    assert actor.user
    client.force_login(actor.user)
    return client


@pytest.mark.parametrize("page", PAGES)
def test_a_member_sees_it_and_an_outsider_gets_404(triage: Stage, otis: Actor, page: str):
    assert signed_in(triage.vera).get(page).status_code == 200
    assert signed_in(otis).get(page).status_code == 404
    anonymous = Client().get(page)
    assert (anonymous.status_code, anonymous["Location"].split("?")[0]) == (302, "/login/")


def test_the_prompt_page_says_what_is_live_and_why(triage: Stage):
    html = signed_in(triage.vera).get(PAGES[1]).content.decode()

    assert "Sort &lt;b&gt;tickets&lt;/b&gt;" in html
    assert "Labels &lt;went&gt; missing" in html
    assert "rolled back" in html
    assert "<script" not in html
    assert "style=" not in html


def test_the_comparison_marks_what_differs(triage: Stage):
    html = signed_in(triage.vera).get(PAGES[3]).content.decode()

    assert "<mark>i</mark>" in html
    assert "/model/temperature" in html


def test_a_reviewer_approves_and_an_editor_applies_on_the_page(triage: Stage):
    prompt = triage.project.prompts.get()
    asked = promotion.request(triage.edith, prompt, triage.commit(prompt, "three"), triage.environment("production"))
    act = f"/p/paper/promotions/{asked.pk}"

    def say(actor: Actor, verb: str) -> str:
        return signed_in(actor).post(f"{act}/{verb}/", follow=True).content.decode()

    assert "edith may not approve or reject" in say(triage.edith, "approve")
    assert "0 of 1 approvals" in say(triage.edith, "apply")
    assert "1 of 1 approval" in say(triage.rhea, "approve")
    assert "done (apply)" in say(triage.edith, "apply")
    assert signed_in(triage.edith).get(f"{act}/apply/").status_code == 405
    assert signed_in(triage.edith).post(f"{act}/explode/").status_code == 404


def test_an_outsider_cannot_act_on_a_promotion(triage: Stage, otis: Actor):
    prompt = triage.project.prompts.get()
    asked = promotion.request(triage.edith, prompt, triage.commit(prompt, "three"), triage.environment("production"))

    for project in ("paper", "elsewhere"):
        assert signed_in(otis).post(f"/p/{project}/promotions/{asked.pk}/approve/").status_code == 404


@pytest.mark.parametrize(
    ("page", "status"),
    [
        ("/p/unknown/prompts/", 404),
        ("/p/paper/prompts/unknown/", 404),
        ("/p/paper/prompts/support.triage/?version=99", 404),
        ("/p/paper/prompts/support.triage/?version=%20", 400),
        ("/p/paper/prompts/support.triage/compare/?from=nonsense!&to=1", 400),
        ("/p/paper/prompts/?page=9999", 200),
        ("/p/paper/prompts/?search=nothing-like-this", 200),
        ("/nonsense", 404),
    ],
)
def test_an_odd_address_is_a_page_that_says_so(triage: Stage, page: str, status: int):
    response = signed_in(triage.vera).get(page)

    assert response.status_code == status
    assert "<html" in response.content.decode()


@pytest.mark.parametrize("count", [2, 30])
def test_the_list_takes_the_same_queries_however_long(stage: Stage, count: int):
    """1. session; 2. user; 3. project; 4. membership; 5. count; 6. prompts; 7. newest; 8. live; 9. environments;
    10. projects of the switcher."""
    for index in range(count):
        stage.release(versions.commit(stage.edith, stage.prompt(f"p-{index}"), content=chat("x")).version, "staging")
    client = signed_in(stage.vera)
    client.get(PAGES[0])

    with CaptureQueriesContext(connection) as captured:
        client.get(PAGES[0])

    assert len(captured.captured_queries) == 10


def test_signing_in_leads_to_the_prompts(triage: Stage):
    client = Client()

    response = client.post("/login/", {"username": "vera", "password": "correct horse"}, follow=True)

    assert response.redirect_chain[-1][0] == "/p/paper/prompts/"
    assert "support.triage" in response.content.decode()


def test_a_wrong_password_keeps_the_name(triage: Stage):
    response = Client().post("/login/", {"username": "vera", "password": "wrong"})

    assert response.status_code == 200
    assert 'value="vera"' in response.content.decode()


def test_guessing_passwords_is_stopped(triage: Stage):
    client = Client()
    for _ in range(10):
        client.post("/login/", {"username": "vera", "password": "wrong"})

    response = client.post("/login/", {"username": "vera", "password": "correct horse"})

    assert response.status_code == 429


def test_every_page_has_a_strict_policy(triage: Stage):
    policy = signed_in(triage.vera).get(PAGES[0])["Content-Security-Policy"]

    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
