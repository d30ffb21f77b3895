"""The pages: for members only, in few queries, with every text escaped and every refusal said."""

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import get_resolver

from registry import audit, checks, drafts, keys, promotion, versions
from registry.access import Actor, command_line, machine
from registry.models import PromptVersion
from tests.conftest import Stage, chat
from tests.test_architecture import addresses

TRIAGE = "/p/paper/prompts/support.triage"
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


def text(response: Any) -> str:
    return str(response.content.decode())


# --- Who may see what ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("page", PAGES)
def test_every_member_sees_it(triage: Stage, page: str):
    assert signed_in(triage.vera).get(page).status_code == 200


@pytest.mark.parametrize("page", EDITORS_PAGES)
def test_writing_is_for_editors(triage: Stage, page: str):
    assert signed_in(triage.edith).get(page).status_code == 200
    refused = signed_in(triage.vera).get(page)
    assert refused.status_code == 403
    assert "You may not edit prompts" in text(refused)


@pytest.mark.parametrize("page", ADMINS_PAGES)
def test_settings_are_for_admins(triage: Stage, page: str):
    assert signed_in(triage.ada).get(page).status_code == 200


def test_keys_are_for_admins_alone(triage: Stage):
    assert signed_in(triage.rhea).get(ADMINS_PAGES[0]).status_code == 403


def pages_of_a_project() -> list[str]:
    filled = {"<slug:project>": "paper", "<str:name>": "support.triage", "<int:number>": "1", "<str:verb>": "approve"}
    found = []
    for address in addresses(get_resolver()):
        if address.startswith("p/<slug:project>"):
            for part, value in filled.items():
                address = address.replace(part, value)
            found.append("/" + re.sub(r"<[^>]+>", "vera", address))
    return found


@pytest.mark.parametrize("page", pages_of_a_project())
def test_an_outsider_gets_404_everywhere_and_a_stranger_signs_in(triage: Stage, otis: Actor, page: str):
    for method in ("get", "post"):
        assert getattr(signed_in(otis), method)(page).status_code in {404, 405}, method
        answer = getattr(Client(), method)(page)
        assert answer.status_code == 405 or answer["Location"].startswith("/login/")


# --- What pages say --------------------------------------------------------------------------------------------------
def test_the_prompt_page_says_what_is_live_and_why(triage: Stage):
    html = text(signed_in(triage.vera).get(f"{TRIAGE}/"))

    assert "Sort &lt;b&gt;tickets&lt;/b&gt;" in html
    assert "Labels &lt;went&gt; missing" in html
    assert "Production went back to" in html
    assert not re.search(r"<script(?![^>]*\b(src|type=\"application/json\"))|\sstyle=|\son\w+=", html)


def test_the_comparison_marks_what_differs(triage: Stage):
    for view in ("inline", "split"):
        html = text(signed_in(triage.vera).get(f"{TRIAGE}/compare/?from=1&to=2&view={view}"))

        assert "<mark>i</mark>" in html
        assert "/model/temperature" in html


def test_a_description_is_markdown_without_html_images_or_scripts(triage: Stage):
    prompt = triage.project.prompts.get()
    prompt.description = "**Bold** <script>x</script> ![i](http://x.example/i.png) [l](javascript:alert(1))"
    prompt.save(update_fields=["description"])

    html = text(signed_in(triage.vera).get(f"{TRIAGE}/"))

    assert "<strong>Bold</strong>" in html
    assert "&lt;script&gt;" in html
    assert "<img" not in html
    assert 'href="javascript' not in html


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
def test_an_odd_address_is_a_page_that_says_so(triage: Stage, page: str, status: int):
    response = signed_in(triage.vera).get(page)

    assert response.status_code == status
    assert "<html" in text(response)


def test_a_refusal_is_within_the_frame_for_members(triage: Stage):
    html = text(signed_in(triage.vera).get("/p/paper/prompts/unknown/"))

    assert "There is no prompt “unknown”" in html
    assert 'aria-label="Main"' in html


# --- Lists -----------------------------------------------------------------------------------------------------------
def fill(stage: Stage, count: int) -> None:
    ci, _ = keys.issue(command_line(stage.project), name="ci", scopes=["write"])
    for index in range(count):
        prompt = stage.prompt(f"folder.p-{index}")
        version = versions.commit(stage.edith, prompt, content=chat(f"text {index}")).version
        stage.release(version, "staging")
        stage.release(version, "production")
        checks.record(machine(ci), version, name="evals", status="failed")
        waits = versions.commit(stage.edith, prompt, content=chat(f"next {index}")).version
        promotion.request(stage.edith, prompt, waits, stage.environment("production"), reason="Better")
        drafts.save(stage.rhea, prompt, document=chat("draft"), revision=0)
        keys.issue(command_line(stage.project), name=f"key-{index}", scopes=["read"])


# 1. session; 2. user; 3. project; 4. membership; the last two: 5. projects of the switcher; 6. the inbox's count.
FRAME = 6
LISTS = {
    # 7. count; 8. prompts with heads; 9. live; 10. undecided; 11. checks; 12. environments; 13. folders; 14. tags;
    # 15. members
    "/p/paper/prompts/": FRAME + 9,
    "/p/paper/prompts/?folder=folder&environment=staging&author=edith&order=care": FRAME + 9,
    # 7. count; 8. promotions; 9. environments
    "/p/paper/promotions/": FRAME + 3,
    # 7. to review; 8. to answer; 9. to release; 10. drafts; 11. elsewhere
    "/p/paper/inbox/": FRAME + 5,
    # 7. names; 8. descriptions and tags; 9. texts
    "/p/paper/search/?q=text": FRAME + 3,
    # 7. members
    "/p/paper/settings/members/": FRAME + 1,
    # 7. environments
    "/p/paper/settings/environments/": FRAME + 1,
    # 7. keys; 8. to 10. the session that remembers which form may make a key
    "/p/paper/settings/keys/": FRAME + 4,
    # 7. entries
    "/p/paper/settings/audit/": FRAME + 1,
    # 7. prompt; 8. its head; 9. versions; 10. releases; 11. whether there is a draft; 12. tokens of the newest
    "/p/paper/prompts/folder.p-0/history/": FRAME + 6,
}


def test_lists_take_the_same_queries_however_long(stage: Stage):
    client = signed_in(stage.ada)

    def counted() -> dict[str, list[str]]:
        queries = {}
        for page in LISTS:
            client.get(page)
            with CaptureQueriesContext(connection) as captured:
                assert client.get(page).status_code == 200
            queries[page] = [query["sql"] for query in captured.captured_queries]
        return queries

    fill(stage, 2)
    few = counted()
    fill_more(stage, 6)
    many = counted()

    for page, expected in LISTS.items():
        assert (len(few[page]), len(many[page])) == (expected, expected), "\n".join([page, *many[page]])


def fill_more(stage: Stage, count: int) -> None:
    for index in range(100, 100 + count):
        prompt = stage.prompt(f"folder.q-{index}")
        stage.release(stage.commit(prompt, f"text {index}"), "staging")
        promotion.request(stage.edith, prompt, stage.commit(prompt, "more"), stage.environment("production"))
    first = stage.project.prompts.get(name="folder.p-0")
    for index in range(count):
        stage.commit(first, f"version {index}")


def test_filters_keep_each_other_in_every_link(stage: Stage):
    fill(stage, 1)

    html = text(signed_in(stage.vera).get("/p/paper/prompts/?folder=folder&environment=staging&order=-tokens"))

    sort = re.search(r'href="(\?[^"]+)"[^>]*>Name<', html)
    assert sort
    assert "folder=folder" in sort[1]
    assert "environment=staging" in sort[1]


def test_a_page_of_many_shows_fifty_and_links_on(stage: Stage):
    for index in range(51):
        stage.prompt(f"p-{index:02}")

    first = text(signed_in(stage.vera).get("/p/paper/prompts/?order=name"))

    assert first.count('class="rowlink"') == 50
    assert 'rel="next"' in first
    assert "order=name" in re.search(r'rel="next" href="([^"]+)"', first)[1]  # type: ignore[index]


# --- Prompts ---------------------------------------------------------------------------------------------------------
def test_a_new_prompt_leads_to_the_editor(stage: Stage):
    client = signed_in(stage.edith)

    made = client.post("/p/paper/new-prompt/", {"name": "docs.translate", "description": "x", "tags": "a, b,"})

    assert made["Location"] == "/p/paper/prompts/docs.translate/edit/"
    assert stage.project.prompts.get().tags == ["a", "b"]


@pytest.mark.parametrize("name", ["Not A Name", "support.triage", "batch", ""])
def test_a_refused_form_keeps_what_was_typed_and_says_what_is_wrong_at_the_field(triage: Stage, name: str):
    typed = {"name": name, "description": "Long <text>", "tags": "one, two"}

    response = signed_in(triage.edith).post("/p/paper/new-prompt/", typed)
    html = text(response)

    assert response.status_code in {400, 409}
    assert "Long &lt;text&gt;" in html
    assert 'value="one, two"' in html
    assert 'id="name-error"' in html
    assert 'aria-invalid="true"' in html


def test_a_prompt_is_described_archived_and_restored(stage: Stage):
    prompt = stage.prompt()
    client = signed_in(stage.edith)

    client.post(f"{TRIAGE}/about/", {"description": "What it does", "tags": "x"})
    client.post(f"{TRIAGE}/archive/")
    prompt.refresh_from_db()
    assert (prompt.description, prompt.tags, prompt.archived_at is None) == ("What it does", ["x"], False)
    assert client.get(f"{TRIAGE}/edit/").status_code == 409

    client.post(f"{TRIAGE}/restore/")
    prompt.refresh_from_db()
    assert prompt.archived_at is None


def test_what_is_in_use_is_not_archived_and_the_page_says_why(triage: Stage):
    html = text(signed_in(triage.edith).post(f"{TRIAGE}/archive/", follow=True))

    assert "support.triage is live in production" in html


# --- Promotions ------------------------------------------------------------------------------------------------------
def binding(html: str) -> str:
    return re.search(r'name="seen" value="([^"]*)"', html)[1]  # type: ignore[index]


def test_a_version_is_asked_for_reviewed_and_made_live(triage: Stage):
    triage.commit(triage.project.prompts.get(), "three")
    edith, rhea = signed_in(triage.edith), signed_in(triage.rhea)
    form = {"version": "3", "environment": "production", "reason": "Fewer words"}

    page = edith.post(f"{TRIAGE}/promote/", form)["Location"]
    html = text(edith.get(page))
    assert "Fewer words" in html
    assert "You may not approve" in html
    assert ">Approve<" not in html

    html = text(rhea.get(page))
    assert ">Approve<" in html
    html = text(rhea.post(f"{page}approve/", {"seen": binding(html), "text": "Good."}, follow=True))
    assert "Approved." in html
    assert "Good." in html

    html = text(edith.get(page))
    assert "Make it live" in html
    edith.post(f"{page}apply/", {"seen": binding(html)})
    assert triage.project.prompts.get().releases.first().version.number == 3  # type: ignore[union-attr]


def test_who_wrote_it_is_told_why_the_button_is_not_theirs(triage: Stage):
    prompt = triage.project.prompts.get()
    version = versions.commit(triage.rhea, prompt, content=chat("by Rhea")).version
    asked = promotion.request(triage.edith, prompt, version, triage.environment("production"))

    html = text(signed_in(triage.rhea).get(f"/p/paper/promotions/{asked.pk}/"))

    assert "You wrote this version, so someone else approves it." in html
    assert ">Approve<" not in html


def test_an_approval_of_something_else_than_was_seen_is_refused_with_the_words_kept(triage: Stage):
    prompt = triage.project.prompts.get()
    asked = promotion.request(triage.edith, prompt, triage.commit(prompt, "three"), triage.environment("production"))
    page = f"/p/paper/promotions/{asked.pk}/"
    stale = binding(text(signed_in(triage.rhea).get(page)))
    triage.release(triage.commit(prompt, "four"))

    response = signed_in(triage.rhea).post(f"{page}approve/", {"seen": stale, "text": "Looks <good>"})

    assert response.status_code == 412
    assert "What you looked at has changed" in text(response)
    assert "Looks &lt;good&gt;" in text(response)


def test_sending_back_needs_words(triage: Stage):
    prompt = triage.project.prompts.get()
    asked = promotion.request(triage.edith, prompt, triage.commit(prompt, "three"), triage.environment("production"))

    response = signed_in(triage.rhea).post(f"/p/paper/promotions/{asked.pk}/request-changes/", {"text": " "})

    assert response.status_code == 400
    assert "Say what should change." in text(response)


def test_pressing_twice_does_no_harm(triage: Stage):
    prompt = triage.project.prompts.get()
    asked = promotion.request(triage.edith, prompt, triage.commit(prompt, "three"), triage.environment("production"))
    rhea = signed_in(triage.rhea)

    first = rhea.post(f"/p/paper/promotions/{asked.pk}/approve/")
    second = rhea.post(f"/p/paper/promotions/{asked.pk}/approve/")

    assert (first.status_code, second.status_code) == (302, 409)
    assert "Your approval stands already." in text(second)
    assert signed_in(triage.edith).post(f"/p/paper/promotions/{asked.pk}/explode/").status_code == 404


def test_rolling_back_shows_what_it_changes_and_takes_a_reason(stage: Stage):
    prompt = stage.prompt()
    stage.release(stage.commit(prompt, "one"))
    stage.release(stage.commit(prompt, "two"))
    edith = signed_in(stage.edith)

    html = text(edith.get(f"{TRIAGE}/rollback/?environment=production"))
    assert "v2 goes, v1 comes back" in html
    seen = re.search(r'name="seen" value="([^"]*)"', html)[1]  # type: ignore[index]

    edith.post(f"{TRIAGE}/rollback/", {"environment": "production", "to": "1", "seen": seen, "reason": "It was wrong"})
    release = prompt.releases.first()
    assert release
    assert (release.version.number, release.reason) == (1, "It was wrong")

    again = edith.post(f"{TRIAGE}/rollback/", {"environment": "production", "to": "1", "seen": seen, "reason": "Again"})
    assert again.status_code == 412
    assert "Again" in text(again)


# --- Settings --------------------------------------------------------------------------------------------------------
def test_members_are_added_changed_and_removed(stage: Stage, otis: Actor):
    ada = signed_in(stage.ada)
    page = "/p/paper/settings/members/"

    ada.post(page, {"username": "otis", "role": "viewer"})
    assert signed_in(otis).get("/p/paper/prompts/").status_code == 200
    ada.post(f"{page}otis/remove/")
    assert signed_in(otis).get("/p/paper/prompts/").status_code == 404

    response = ada.post(page, {"username": "nobody", "role": "viewer"})
    assert response.status_code == 404
    assert "There is nobody named “nobody”." in text(response)
    assert 'value="nobody"' in text(response)


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
    return client.post(page, {"form": form, "name": "router", "scopes": ["read"], "days": "30", **fields})


def test_a_form_makes_one_key_however_often_it_is_sent(stage: Stage):
    ada = signed_in(stage.ada)
    page = "/p/paper/settings/keys/"
    form = re.search(r'name="form" value="([^"]+)"', text(ada.get(page)))[1]  # type: ignore[index]
    fields = {"form": form, "name": "router", "scopes": ["read"], "days": "30"}

    ada.post(page, fields)
    again = ada.post(page, fields, follow=True)

    assert "This form was sent already." in text(again)
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


def test_the_audit_log_narrows_and_leaves_as_a_file(triage: Stage):
    vera = signed_in(triage.vera)
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


# --- Search and palette ----------------------------------------------------------------------------------------------
def test_the_palette_lists_prompts_and_places(triage: Stage):
    palette = {"HX-Request": "true"}

    html = text(signed_in(triage.edith).get("/p/paper/search/?palette=1&q=tri", headers=palette))
    assert 'role="option"' in html
    assert "<html" not in html

    html = text(signed_in(triage.vera).get("/p/paper/search/?palette=1&q=new", headers=palette))
    assert "New prompt" not in html
    assert "New prompt" in text(signed_in(triage.edith).get("/p/paper/search/?palette=1&q=new pro", headers=palette))


# --- Odd input ------------------------------------------------------------------------------------------------------
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
def test_a_nul_in_a_field_is_refused(triage: Stage, page: str, field: str):
    response = signed_in(triage.ada).post(page, {field: "a\0b"})

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
def test_a_draft_of_any_shape_can_be_opened_saved_and_looked_at(triage: Stage, document: dict[str, Any]):
    prompt = triage.project.prompts.get()
    revision = drafts.save(triage.edith, prompt, document=document, revision=0)
    edith = signed_in(triage.edith)
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
def test_a_save_that_makes_no_sense_is_refused_in_words(triage: Stage, body: bytes):
    response = signed_in(triage.edith).post(f"{TRIAGE}/edit/draft/", body, content_type="application/json")

    assert response.status_code == 400
    assert response.json()["code"] in {"request.malformed", "request.invalid", "content.invalid"}


def test_a_viewer_is_refused_before_anything_is_read(triage: Stage):
    response = signed_in(triage.vera).post(f"{TRIAGE}/edit/draft/", b"{", content_type="application/json")

    assert response.status_code == 403


def test_who_was_signed_out_comes_back_to_the_page_of_the_form(triage: Stage):
    sent = {"Referer": f"http://testserver{TRIAGE}/promote/"}
    away = {"Referer": "http://elsewhere.example/x"}

    assert Client().post(f"{TRIAGE}/promote/", headers=sent)["Location"] == f"/login/?next={TRIAGE}/promote/"
    assert Client().post(f"{TRIAGE}/archive/", headers=away)["Location"] == "/login/?next=/"
    saved = Client().post(f"{TRIAGE}/edit/draft/", b"{}", content_type="application/json")
    assert (saved.status_code, saved.json()["code"]) == (401, "auth.required")


def test_an_address_that_only_takes_forms_says_so_within_the_frame(triage: Stage):
    response = signed_in(triage.edith).get(f"{TRIAGE}/archive/")

    assert response.status_code == 405
    assert 'aria-label="Main"' in text(response)


@pytest.mark.parametrize("page", [f"{TRIAGE}/edit/?from=²", f"{TRIAGE}/edit/?from=", f"{TRIAGE}/edit/?from=1x"])
def test_an_odd_start_is_no_start(triage: Stage, page: str):
    assert signed_in(triage.edith).get(page).status_code == 200


def test_a_name_that_nobody_can_have_is_just_wrong(stage: Stage):
    assert Client().post("/login/", {"username": "x" * 300, "password": "y"}).status_code == 200


def test_an_outsider_cannot_tell_a_project_from_none(triage: Stage, otis: Actor):
    client = signed_in(otis)

    assert text(client.get("/p/paper/prompts/")) == text(client.get("/p/never/prompts/"))


# --- Signing in ------------------------------------------------------------------------------------------------------
def test_signing_in_leads_to_the_prompts(triage: Stage):
    client = Client()

    response = client.post("/login/", {"username": "vera", "password": "correct horse"}, follow=True)

    assert response.redirect_chain[-1][0] == "/p/paper/prompts/"
    assert "triage" in text(response)


def test_a_wrong_password_keeps_the_name(triage: Stage):
    response = Client().post("/login/", {"username": "vera", "password": "wrong"})

    assert response.status_code == 200
    assert 'value="vera"' in text(response)


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


# --- Snippets --------------------------------------------------------------------------------------------------------
def test_snippets_name_the_reference_that_was_chosen(triage: Stage):
    html = text(signed_in(triage.vera).get(f"{TRIAGE}/use/?at=2"))

    assert "/api/v1/prompts/support.triage/versions/2" in html
    digest = PromptVersion.objects.get(number=2).content_hash
    assert digest in text(signed_in(triage.vera).get(f"{TRIAGE}/use/?at={digest}"))
