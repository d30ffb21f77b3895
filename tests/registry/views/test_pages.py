"""The pages: for members only, in few queries, with every text escaped and every refusal said."""

import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from registry.accounts import api_keys
from registry.accounts.permissions import actor_for_command_line, actor_for_key
from registry.models import PromptVersion
from registry.promotions import checks, workflow
from registry.prompts import drafts, versions
from tests.conftest import Stage, chat
from tests.registry.views.pages import TRIAGE, signed_in, text


# --- What pages say --------------------------------------------------------------------------------------------------
def test_the_prompt_page_says_what_is_live_and_why(storied: Stage):
    html = text(signed_in(storied.vera).get(f"{TRIAGE}/"))

    assert "Sort &lt;b&gt;tickets&lt;/b&gt;" in html
    assert "Labels &lt;went&gt; missing" in html
    assert "Production rolled back to" in html
    assert not re.search(r"<script(?![^>]*\b(src|type=\"application/json\"))|\sstyle=|\son\w+=", html)


def test_the_comparison_marks_what_differs(storied: Stage):
    for view in ("inline", "split"):
        html = text(signed_in(storied.vera).get(f"{TRIAGE}/compare/?from=1&to=2&view={view}"))

        assert "<mark>i</mark>" in html
        assert "/model/temperature" in html


def test_a_description_is_markdown_without_html_images_or_scripts(storied: Stage):
    prompt = storied.project.prompts.get()
    prompt.description = "**Bold** <script>x</script> ![i](http://x.example/i.png) [l](javascript:alert(1))"
    prompt.save(update_fields=["description"])

    html = text(signed_in(storied.vera).get(f"{TRIAGE}/"))

    assert "<strong>Bold</strong>" in html
    assert "&lt;script&gt;" in html
    assert "<img" not in html
    assert 'href="javascript' not in html


def test_a_refusal_is_within_the_frame_for_members(storied: Stage):
    html = text(signed_in(storied.vera).get("/p/paper/prompts/unknown/"))

    assert "There is no prompt “unknown”" in html
    assert 'aria-label="Main"' in html


# --- Lists -----------------------------------------------------------------------------------------------------------
def fill(stage: Stage, count: int) -> None:
    ci, _ = api_keys.issue(actor_for_command_line(stage.project), name="ci", scopes=["write"])
    for index in range(count):
        prompt = stage.prompt(f"folder.p-{index}")
        version = versions.commit(stage.edith, prompt, content=chat(f"text {index}")).version
        stage.release(version, "staging")
        stage.release(version, "production")
        checks.record(actor_for_key(ci), version, name="evals", status="failed")
        waits = versions.commit(stage.edith, prompt, content=chat(f"next {index}")).version
        workflow.request(stage.edith, prompt, waits, stage.environment("production"), reason="Better")
        drafts.save(stage.rhea, prompt, document=chat("draft"), revision=0)
        api_keys.issue(actor_for_command_line(stage.project), name=f"key-{index}", scopes=["read"])


# 1. session; 2. user; 3. project; 4. membership; the last two: 5. projects of the switcher; 6. the inbox's count.
FRAME = 6
LISTS = {
    # 7. count; 8. prompts with heads; 9. live; 10. undecided; 11. checks; 12. environments; 13. folders; 14. tags;
    # 15. members
    "/p/paper/prompts/": FRAME + 9,
    "/p/paper/prompts/?folder=folder&environment=staging&author=edith&order=care": FRAME + 9,
    # 7. count; 8. promotions; 9. environments
    "/p/paper/promotions/": FRAME + 3,
    # 7. to review; 8. to answer; 9. to release; 10. drafts; 11. elsewhere; 12. invitations
    "/p/paper/inbox/": FRAME + 6,
    # 7. names; 8. descriptions and tags; 9. texts; 10.-16. things of seven kinds
    "/p/paper/search/?q=text": FRAME + 10,
    # 7. invitations; 8. members
    "/p/paper/settings/members/": FRAME + 2,
    # 7. environments
    "/p/paper/settings/environments/": FRAME + 1,
    # 7. keys; 8. what they have asked today; 9. who may hold one; 10. the environments; 11. to 13. the session that
    # remembers which form may make a key
    "/p/paper/settings/keys/": FRAME + 7,
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
        workflow.request(stage.edith, prompt, stage.commit(prompt, "more"), stage.environment("production"))
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

    created = client.post("/p/paper/new-prompt/", {"name": "docs.translate", "description": "x", "tags": "a, b,"})

    assert created["Location"] == "/p/paper/prompts/docs.translate/edit/"
    assert stage.project.prompts.get().tags == ["a", "b"]


@pytest.mark.parametrize("name", ["Not A Name", "support.triage", "batch", ""])
def test_a_refused_form_keeps_what_was_typed_and_says_what_is_wrong_at_the_field(storied: Stage, name: str):
    typed = {"name": name, "description": "Long <text>", "tags": "one, two"}

    response = signed_in(storied.edith).post("/p/paper/new-prompt/", typed)
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


def test_what_is_in_use_is_not_archived_and_the_page_says_why(storied: Stage):
    html = text(signed_in(storied.edith).post(f"{TRIAGE}/archive/", follow=True))

    assert "support.triage is live in production" in html


# --- Search and palette ----------------------------------------------------------------------------------------------
def test_the_palette_lists_prompts_and_places(storied: Stage):
    palette = {"HX-Request": "true"}

    html = text(signed_in(storied.edith).get("/p/paper/search/?palette=1&q=tri", headers=palette))
    assert 'role="option"' in html
    assert "<html" not in html

    html = text(signed_in(storied.vera).get("/p/paper/search/?palette=1&q=new", headers=palette))
    assert "New prompt" not in html
    assert "New prompt" in text(signed_in(storied.edith).get("/p/paper/search/?palette=1&q=new pro", headers=palette))


# --- Snippets --------------------------------------------------------------------------------------------------------
def test_snippets_name_the_reference_that_was_chosen(storied: Stage):
    html = text(signed_in(storied.vera).get(f"{TRIAGE}/use/?at=2"))

    assert "/api/v1/prompts/support.triage/versions/2" in html
    digest = PromptVersion.objects.get(number=2).content_hash
    assert digest in text(signed_in(storied.vera).get(f"{TRIAGE}/use/?at={digest}"))


def test_snippets_pass_variables_that_are_not_declared(storied: Stage):
    content = chat("Answer {{ question }} of {{ person.name }}.")
    versions.commit(storied.edith, storied.project.prompts.get(), content=content, message="undeclared")

    html = text(signed_in(storied.vera).get(f"{TRIAGE}/use/?at=latest"))

    assert "&quot;question&quot;" in html
    assert "&quot;person&quot;" in html
