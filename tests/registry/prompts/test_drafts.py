"""Drafts: saved as they are typed, one person's, and never in anybody's way."""

import re
import threading
from typing import Any

import pytest
from django.db import connection
from rest_framework.test import APIClient

from core.errors import Problem
from registry.models import AuditEntry, PromptDraft
from registry.prompts import drafts, versions
from registry.prompts import lifecycle as prompts
from tests.conftest import Stage, chat
from tests.registry.views.pages import signed_in, text


def refusal(call: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(Problem) as caught:
        call(*arguments, **options)
    return caught.value.code


def save(actor: Any, prompt: Any, text: str, revision: int = 0, **options: Any) -> int:
    return drafts.save(actor, prompt, document=chat(text), revision=revision, **options)


def test_a_draft_survives_and_is_its_writers_alone(stage: Stage):
    prompt = stage.prompt()

    save(stage.edith, prompt, "half a sent")

    assert drafts.open_editor_document(stage.edith, prompt).document == chat("half a sent")
    assert drafts.open_editor_document(stage.rhea, prompt).document == drafts.NEW_DOCUMENT
    assert AuditEntry.objects.filter(action__startswith="draft").count() == 0


def test_a_sheet_starts_from_the_newest_version_or_from_a_chosen_one(stage: Stage):
    prompt = stage.prompt()
    first, second = stage.commit(prompt, "one"), stage.commit(prompt, "two")
    prompt.refresh_from_db()

    assert drafts.open_editor_document(stage.edith, prompt).base == second
    sheet = drafts.open_editor_document(stage.edith, prompt, first)
    assert (sheet.base, sheet.seen) == (first, second)


def test_what_cannot_be_committed_can_be_kept(stage: Stage):
    prompt = stage.prompt()
    broken = {"kind": "chat", "messages": [{"role": "user", "content": "{{ half"}], "response": {"schema": '{"typ'}}

    revision = drafts.save(stage.edith, prompt, document=broken, revision=0)

    assert drafts.open_editor_document(stage.edith, prompt).document == broken
    assert refusal(drafts.commit, stage.edith, prompt, revision=revision, message="x") == "content.invalid"
    assert drafts.get_draft(stage.edith, prompt) is not None


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ("text", "content.invalid"),
        ({"text": "\0"}, "content.invalid"),
        ({"text": "x" * 1_100_000}, "content.too_large"),
    ],
)
def test_what_the_database_cannot_hold_is_refused(stage: Stage, document: Any, code: str):
    assert refusal(drafts.save, stage.edith, stage.prompt(), document=document, revision=0) == code


def test_two_windows_do_not_overwrite_each_other(stage: Stage):
    prompt = stage.prompt()
    first = save(stage.edith, prompt, "first window")
    save(stage.edith, prompt, "second window", first)

    assert refusal(save, stage.edith, prompt, "stale", first) == "draft.changed_elsewhere"
    assert refusal(save, stage.edith, prompt, "stale") == "draft.changed_elsewhere"
    assert drafts.open_editor_document(stage.edith, prompt).document == chat("second window")


def test_a_revision_never_comes_again(stage: Stage):
    """A window that was opened before another one discarded, or committed, and began anew."""
    prompt = stage.prompt()
    stale = save(stage.edith, prompt, "from before")
    drafts.discard(stage.edith, prompt, revision=stale)
    save(stage.edith, prompt, "begun anew")

    assert refusal(save, stage.edith, prompt, "stale", stale) == "draft.changed_elsewhere"
    assert refusal(drafts.commit, stage.edith, prompt, revision=stale, message="old form") == "draft.changed_elsewhere"
    assert refusal(drafts.discard, stage.edith, prompt, revision=stale) == "draft.changed_elsewhere"
    assert drafts.open_editor_document(stage.edith, prompt).document == chat("begun anew")


def test_a_window_may_overwrite_itself_whatever_answer_it_got(stage: Stage):
    prompt = stage.prompt()

    def send(text: str, serial: int, revision: int = 0, window: str = "a") -> int:
        return save(stage.edith, prompt, text, revision, window=drafts.BrowserWindow(window, serial))

    send("first", 1)
    # Its answer was lost, so the window still names no revision.
    second = send("second", 2)
    # An earlier save that arrives late changes nothing.
    assert send("first, late", 1) == second
    assert drafts.open_editor_document(stage.edith, prompt).document == chat("second")
    assert refusal(send, "another window", 9, window="b") == "draft.changed_elsewhere"
    assert send("another window that has read it", 9, revision=second, window="b") > second
    assert refusal(send, "the first window, stale", 10) == "draft.changed_elsewhere"


def test_of_two_windows_that_save_at_once_one_wins(live_stage: Stage):
    prompt = live_stage.prompt()
    revision = save(live_stage.edith, prompt, "start")
    outcomes: list[str] = []
    ready = threading.Barrier(2)

    def send(text: str) -> None:
        ready.wait()
        try:
            save(live_stage.edith, prompt, text, revision)
            outcomes.append(text)
        except Problem as problem:
            outcomes.append(problem.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=send, args=[text]) for text in ("left", "right")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes)[0] == "draft.changed_elsewhere"
    assert drafts.open_editor_document(live_stage.edith, prompt).document == chat(sorted(outcomes)[1])


def test_a_commit_ends_the_draft_and_names_its_parent(stage: Stage):
    prompt = stage.prompt()
    first = stage.commit(prompt, "one")
    stage.commit(prompt, "two")
    revision = save(stage.edith, prompt, "three", base=1, seen=2)

    committed = drafts.commit(stage.edith, prompt, revision=revision, message="From the first")

    assert committed.created
    assert (committed.version.number, committed.version.parent) == (3, first)
    assert not PromptDraft.objects.exists()
    prompt.refresh_from_db()
    assert prompt.head == committed.version
    assert prompt.head_text == "three"


def test_a_commit_of_something_else_than_was_looked_at_is_refused(stage: Stage):
    prompt = stage.prompt()
    first = save(stage.edith, prompt, "one")
    second = save(stage.edith, prompt, "two", first)

    assert refusal(drafts.commit, stage.edith, prompt, revision=first, message="") == "draft.changed_elsewhere"
    assert refusal(drafts.commit, stage.rhea, prompt, revision=second, message="") == "draft.not_found"


def test_another_users_commit_stops_mine_until_it_is_merged(stage: Stage):
    prompt = stage.prompt()
    stage.commit(prompt, "a\nb\nc")
    revision = save(stage.edith, prompt, "a\nb\nmine", base=1, seen=1)
    versions.commit(stage.rhea, prompt, content=chat("theirs\nb\nc"))
    prompt.refresh_from_db()

    assert drafts.open_editor_document(stage.edith, prompt).is_behind
    assert refusal(drafts.commit, stage.edith, prompt, revision=revision, message="") == "request.precondition"

    revision = drafts.rebase(stage.edith, prompt, revision=revision, newest=2, choices={})
    committed = drafts.commit(stage.edith, prompt, revision=revision, message="Both").version

    assert committed.content["messages"][0]["content"] == "theirs\nb\nmine"
    assert committed.parent is not None
    assert committed.parent.number == 2


def test_a_merge_against_a_version_that_was_not_seen_is_refused(stage: Stage):
    prompt = stage.prompt()
    stage.commit(prompt, "one")
    revision = save(stage.edith, prompt, "mine", base=1, seen=1)
    stage.commit(prompt, "two")
    stage.commit(prompt, "three")
    prompt.refresh_from_db()

    call = drafts.rebase
    assert refusal(call, stage.edith, prompt, revision=revision, newest=2, choices={}) == "request.precondition"


def test_a_first_version_can_be_merged_with_another_users_first_version(stage: Stage):
    prompt = stage.prompt()
    revision = save(stage.edith, prompt, "mine")
    stage.commit(prompt, "theirs")
    prompt.refresh_from_db()

    drafts.rebase(stage.edith, prompt, revision=revision, newest=1, choices={})

    texts = [message["content"] for message in drafts.open_editor_document(stage.edith, prompt).document["messages"]]
    assert sorted(texts) == ["mine", "theirs"]


def test_pins_of_what_is_no_longer_included_are_dropped(stage: Stage):
    stage.commit(stage.prompt("shared.tone"), "Be kind.")
    prompt = stage.prompt()
    version = stage.commit(prompt, 'Hello. {% include "shared.tone" %}')
    assert version.content["includes"]
    without = {**version.content, **chat("Hello.")}
    revision = drafts.save(stage.edith, prompt, document=without, revision=0, base=1, seen=1)

    committed = drafts.commit(stage.edith, prompt, revision=revision, message="")

    assert "includes" not in committed.version.content


def test_viewers_write_no_drafts(stage: Stage):
    prompt = stage.prompt()

    assert refusal(save, stage.vera, prompt, "x") == "access.denied"
    assert refusal(drafts.save_samples, stage.vera, prompt, {"a": 1}) == "access.denied"


def test_samples_are_shared_by_all_who_edit(stage: Stage):
    prompt = stage.prompt()
    drafts.save_samples(stage.edith, prompt, {"ticket": "Help", "gone": 1})
    drafts.save_samples(stage.rhea, prompt, {"product": "Workbench"})
    drafts.save_samples(stage.rhea, prompt, {"gone": None})

    assert drafts.sample_values(prompt) == {"ticket": "Help", "product": "Workbench"}
    assert refusal(drafts.save_samples, stage.edith, prompt, {"a": "\0"}) == "request.invalid"
    assert refusal(drafts.save_samples, stage.edith, prompt, {"a": "x" * 300_000}) == "request.too_large"


def test_discarding_twice_is_no_fault(stage: Stage):
    prompt = stage.prompt()
    revision = save(stage.edith, prompt, "x")

    drafts.discard(stage.edith, prompt, revision=revision)
    drafts.discard(stage.edith, prompt, revision=revision)

    assert drafts.get_draft(stage.edith, prompt) is None


def test_what_a_partial_has_become_meanwhile_is_not_committed_unseen(stage: Stage):
    """The page shows what would be committed. An include that means another version by the time of the form is shown
    first."""
    stage.commit(stage.prompt("shared.tone"), "Be kind")
    prompt = stage.prompt()
    drafts.save(stage.edith, prompt, document=chat("{% include 'shared.tone' %} Sort it."), revision=0)
    page, edith = "/p/paper/prompts/support.triage/edit/commit/", signed_in(stage.edith)

    def form() -> dict[str, str]:
        html = text(edith.get(page))
        return {name: re.findall(rf'name="{name}" value="([^"]+)"', html)[0] for name in ("revision", "expected_hash")}

    seen = form()
    stage.commit(prompts.get_prompt(stage.project, "shared.tone"), "Be rude")
    refused = edith.post(page, {**seen, "message": "Sort"})

    assert refused.status_code == 409
    assert "shared.tone is shared.tone@2 now" in text(refused)
    assert not prompt.versions.exists()
    assert edith.post(page, {**form(), "message": "Sort"}).status_code == 302
    assert prompt.versions.get().inclusions.get().included.number == 2


def test_a_service_says_what_it_expects_to_commit(stage: Stage, api: APIClient):
    stage.commit(stage.prompt("shared.tone"), "Be kind")
    stage.prompt()
    url = "/api/v1/prompts/support.triage/versions"
    body = {"content": chat("{% include 'shared.tone' %} Sort it.")}
    first = api.post(url, body).json()

    same = api.post(url, {**body, "expected_hash": first["hash"]})
    stage.commit(prompts.get_prompt(stage.project, "shared.tone"), "Be rude")
    moved = api.post(url, {**body, "expected_hash": first["hash"]})

    assert same.status_code == 200
    assert (moved.status_code, moved.json()["code"]) == (409, "version.not_as_seen")
