"""Search."""

import pytest

from registry.accounts import api_keys, permissions
from registry.models import Prompt
from registry.promotions import checks, workflow
from registry.prompts import lifecycle as prompts
from registry.prompts import listing, timeline
from registry.prompts.search import search
from tests.conftest import Stage


@pytest.fixture
def library(stage: Stage) -> Stage:
    for name, text in (
        ("support.triage", "Sort the ticket"),
        ("support.reply", "Answer kindly"),
        ("old.triage", "Gone"),
    ):
        stage.commit(stage.prompt(name), text)
    return stage


def names(stage: Stage, text: str) -> list[tuple[str, str, int | None]]:
    return [(hit.kind, hit.prompt, hit.number) for hit in search(stage.project, text)]


def test_a_name_that_starts_so_comes_first(library: Stage):
    library.commit(library.prompt("triage"), "x")

    assert [name for _, name, _ in names(library, "triage")] == ["triage", "old.triage", "support.triage"]


def test_a_reference_finds_its_version(library: Stage):
    library.commit(Prompt.objects.get(name="support.triage"), "two")

    assert names(library, "support.triage@1")[0] == ("reference", "support.triage", 1)
    assert names(library, "support.triage@latest")[0] == ("reference", "support.triage", 2)
    assert names(library, "support.triage@99") == []


def test_the_start_of_a_hash_finds_its_version_with_and_without_the_word(library: Stage):
    version = library.commit(Prompt.objects.get(name="support.reply"), "hashed")

    for text in (version.content_hash, version.content_hash[:19], version.content_hash[7:15]):
        assert ("hash", "support.reply", 2) in names(library, text)


def test_words_of_the_newest_text_find_the_prompt_with_an_excerpt(library: Stage):
    (hit,) = search(library.project, "answer KINDLY")

    assert (hit.kind, hit.prompt, hit.excerpt) == ("text", "support.reply", ("", "Answer kindly", ""))
    library.commit(Prompt.objects.get(name="support.reply"), "Something else")
    assert search(library.project, "answer kindly") == []


def test_words_are_found_wherever_they_stand(library: Stage):
    assert ("name", "support.triage", None) in names(library, "triage support")
    assert ("text", "support.reply", None) in names(library, "kindly answer")
    version = library.commit(Prompt.objects.get(name="support.reply"), "hashed again")
    assert ("hash", "support.reply", 2) in names(library, version.content_hash[:11])


def test_archived_prompts_and_other_projects_are_not_found(library: Stage, otis: object):
    prompts.archive(library.edith, Prompt.objects.get(name="old.triage"))

    assert [name for _, name, _ in names(library, "triage")] == ["support.triage"]
    assert search(otis.project, "triage") == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("text", ["", "   ", "@", "%", "_", "a@b@c", "\\", "(", "sha256:", "x" * 200])
def test_odd_searches_find_nothing_and_break_nothing(library: Stage, text: str):
    assert isinstance(search(library.project, text), list)


def test_lists_narrow_and_sort(library: Stage):
    project = library.project
    rows = listing.prompts_with_heads(project)
    library.release(library.commit(Prompt.objects.get(name="support.triage"), "word " * 50))

    assert {row.name for row in listing.prompts_in_folder(rows, "support")} == {"support.triage", "support.reply"}
    assert listing.prompts_in_folder(rows, "supp").count() == 0
    assert [row.name for row in listing.prompts_live_in(rows, "production")] == ["support.triage"]
    assert listing.prompts_by_author(rows, "edith").count() == 3
    assert listing.prompts_by_author(rows, "rhea").count() == 0
    assert next(iter(listing.order_prompts(rows, "-tokens"))).name == "support.triage"
    assert next(iter(listing.order_prompts(rows, "-changed"))).name == "support.triage"
    assert listing.folder_names(project) == ["old", "support"]


def test_what_needs_care_comes_first(library: Stage):
    triage, reply = (Prompt.objects.get(name=name) for name in ("support.triage", "support.reply"))
    live = library.commit(triage, "live")
    library.release(live)
    key, _ = api_keys.issue(permissions.actor_for_command_line(library.project), name="ci", scopes=["write"])
    checks.record(permissions.actor_for_key(key), live, name="evals", status="failed")
    workflow.request(library.edith, reply, library.commit(reply, "next"), library.environment("production"))

    order = [row.name for row in listing.order_prompts(listing.prompts_with_heads(library.project), "care")]
    assert order == ["support.triage", "support.reply", "old.triage"]

    checks.record(permissions.actor_for_key(key), live, name="evals", status="passed")
    order = [row.name for row in listing.order_prompts(listing.prompts_with_heads(library.project), "care")]
    assert order[0] == "support.reply"


def test_history_is_one_line_newest_first_and_in_pages(library: Stage):
    prompt = Prompt.objects.get(name="support.triage")
    library.release(library.commit(prompt, "two"))
    library.release(library.commit(prompt, "three"))

    whole = timeline.timeline_page(prompt)
    events = [(event.version.number, event.release is not None) for event in whole.moments]
    assert events == [(3, True), (3, False), (2, True), (2, False), (1, False)]
    assert whole.older is None

    pages, before = [], None
    while True:
        page = timeline.timeline_page(prompt, before=before, length=2)
        pages += page.moments
        before = page.older
        if before is None:
            break
    assert [(event.version.number, event.release is not None) for event in pages] == events
    assert all(event.release for event in timeline.timeline_page(prompt, releases_only=True).moments)


def test_the_head_follows_commits_and_its_tokens_count_partials(stage: Stage):
    tone = stage.commit(stage.prompt("shared.tone"), "one two three four")
    prompt = stage.prompt()
    version = stage.commit(prompt, 'Hi. {% include "shared.tone" %}')

    prompt.refresh_from_db()
    assert prompt.head == version
    assert version.tokens > tone.tokens
    assert stage.commit(prompt, "later").tokens < version.tokens
