"""Drafts: saved as they are typed, one person's, and never in anybody's way."""

import threading
from typing import Any

import pytest
from django.db import connection

from registry import drafts, versions
from registry.models import AuditEntry, PromptDraft
from registry.problems import Problem
from tests.conftest import Stage, chat


def refusal(call: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(Problem) as caught:
        call(*arguments, **options)
    return caught.value.code


def test_a_draft_survives_and_is_its_writers_alone(stage: Stage):
    prompt = stage.prompt()

    revision = drafts.save(stage.edith, prompt, document=chat("half a sent"), revision=0)

    assert revision == 1
    assert drafts.open_sheet(stage.edith, prompt).document == chat("half a sent")
    assert drafts.open_sheet(stage.rhea, prompt).document == drafts.NEW_DOCUMENT
    assert AuditEntry.objects.filter(action__startswith="draft").count() == 0


def test_a_sheet_starts_from_the_newest_version_or_from_a_chosen_one(stage: Stage):
    prompt = stage.prompt()
    first, second = stage.commit(prompt, "one"), stage.commit(prompt, "two")
    prompt.refresh_from_db()

    assert drafts.open_sheet(stage.edith, prompt).base == second
    sheet = drafts.open_sheet(stage.edith, prompt, first)
    assert (sheet.base, sheet.seen) == (first, second)


def test_what_cannot_be_committed_can_be_kept(stage: Stage):
    prompt = stage.prompt()
    broken = {"kind": "chat", "messages": [{"role": "user", "content": "{{ half"}], "response": {"schema": '{"typ'}}

    drafts.save(stage.edith, prompt, document=broken, revision=0)

    assert drafts.open_sheet(stage.edith, prompt).document == broken
    assert refusal(drafts.commit, stage.edith, prompt, revision=1, message="x") == "content.invalid"
    assert drafts.of(stage.edith, prompt) is not None


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
    drafts.save(stage.edith, prompt, document=chat("first window"), revision=0)
    drafts.save(stage.edith, prompt, document=chat("second window"), revision=1)

    assert refusal(drafts.save, stage.edith, prompt, document=chat("stale"), revision=1) == "draft.changed_elsewhere"
    assert refusal(drafts.save, stage.edith, prompt, document=chat("stale"), revision=0) == "draft.changed_elsewhere"
    assert drafts.open_sheet(stage.edith, prompt).document == chat("second window")


def test_a_window_may_overwrite_itself_whatever_answer_it_got(stage: Stage):
    prompt = stage.prompt()

    def save(text: str, serial: int, revision: int = 0, window: str = "a") -> int:
        return drafts.save(
            stage.edith, prompt, document=chat(text), revision=revision, window=drafts.Window(window, serial)
        )

    assert save("first", 1) == 1
    # Its answer was lost, so the window still names revision 0.
    assert save("second", 2) == 2
    # An earlier save that arrives late changes nothing.
    assert save("first, late", 1) == 2
    assert drafts.open_sheet(stage.edith, prompt).document == chat("second")
    with pytest.raises(Problem):
        save("another window", 9, window="b")
    assert save("another window that has read it", 9, revision=2, window="b") == 3
    with pytest.raises(Problem):
        save("the first window, stale", 10)


def test_of_two_windows_that_save_at_once_one_wins(live_stage: Stage):
    prompt = live_stage.prompt()
    drafts.save(live_stage.edith, prompt, document=chat("start"), revision=0)
    outcomes: list[str] = []
    ready = threading.Barrier(2)

    def save(text: str) -> None:
        ready.wait()
        try:
            drafts.save(live_stage.edith, prompt, document=chat(text), revision=1)
            outcomes.append(text)
        except Problem as problem:
            outcomes.append(problem.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=save, args=[text]) for text in ("left", "right")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes)[0] == "draft.changed_elsewhere"
    assert drafts.open_sheet(live_stage.edith, prompt).document == chat(sorted(outcomes)[1])


def test_a_commit_ends_the_draft_and_names_its_parent(stage: Stage):
    prompt = stage.prompt()
    first = stage.commit(prompt, "one")
    stage.commit(prompt, "two")
    drafts.save(stage.edith, prompt, document=chat("three"), revision=0, base=1, seen=2)

    committed = drafts.commit(stage.edith, prompt, revision=1, message="From the first")

    assert committed.created
    assert (committed.version.number, committed.version.parent) == (3, first)
    assert not PromptDraft.objects.exists()
    prompt.refresh_from_db()
    assert prompt.head == committed.version
    assert prompt.head_text == "three"


def test_a_commit_of_something_else_than_was_looked_at_is_refused(stage: Stage):
    prompt = stage.prompt()
    drafts.save(stage.edith, prompt, document=chat("one"), revision=0)
    drafts.save(stage.edith, prompt, document=chat("two"), revision=1)

    assert refusal(drafts.commit, stage.edith, prompt, revision=1, message="") == "draft.changed_elsewhere"
    assert refusal(drafts.commit, stage.rhea, prompt, revision=1, message="") == "draft.not_found"


def test_somebody_elses_commit_stops_mine_until_it_is_merged(stage: Stage):
    prompt = stage.prompt()
    stage.commit(prompt, "a\nb\nc")
    drafts.save(stage.edith, prompt, document=chat("a\nb\nmine"), revision=0, base=1, seen=1)
    versions.commit(stage.rhea, prompt, content=chat("theirs\nb\nc"))
    prompt.refresh_from_db()

    assert drafts.open_sheet(stage.edith, prompt).is_behind
    assert refusal(drafts.commit, stage.edith, prompt, revision=1, message="") == "request.precondition"

    drafts.rebase(stage.edith, prompt, revision=1, newest=2, choices={})
    committed = drafts.commit(stage.edith, prompt, revision=2, message="Both").version

    assert committed.content["messages"][0]["content"] == "theirs\nb\nmine"
    assert committed.parent is not None
    assert committed.parent.number == 2


def test_a_merge_against_a_version_that_was_not_seen_is_refused(stage: Stage):
    prompt = stage.prompt()
    stage.commit(prompt, "one")
    drafts.save(stage.edith, prompt, document=chat("mine"), revision=0, base=1, seen=1)
    stage.commit(prompt, "two")
    stage.commit(prompt, "three")
    prompt.refresh_from_db()

    assert refusal(drafts.rebase, stage.edith, prompt, revision=1, newest=2, choices={}) == "request.precondition"


def test_a_first_version_can_be_merged_with_somebody_elses_first_version(stage: Stage):
    prompt = stage.prompt()
    drafts.save(stage.edith, prompt, document=chat("mine"), revision=0)
    stage.commit(prompt, "theirs")
    prompt.refresh_from_db()

    drafts.rebase(stage.edith, prompt, revision=1, newest=1, choices={})

    texts = [message["content"] for message in drafts.open_sheet(stage.edith, prompt).document["messages"]]
    assert sorted(texts) == ["mine", "theirs"]


def test_pins_of_what_is_no_longer_included_are_dropped(stage: Stage):
    stage.commit(stage.prompt("shared.tone"), "Be kind.")
    prompt = stage.prompt()
    version = stage.commit(prompt, 'Hello. {% include "shared.tone" %}')
    assert version.content["includes"]
    drafts.save(stage.edith, prompt, document={**version.content, **chat("Hello.")}, revision=0, base=1, seen=1)

    committed = drafts.commit(stage.edith, prompt, revision=1, message="")

    assert "includes" not in committed.version.content


def test_viewers_write_no_drafts(stage: Stage):
    prompt = stage.prompt()

    assert refusal(drafts.save, stage.vera, prompt, document=chat("x"), revision=0) == "access.denied"
    assert refusal(drafts.keep_samples, stage.vera, prompt, {"a": 1}) == "access.denied"


def test_samples_are_shared_by_all_who_edit(stage: Stage):
    prompt = stage.prompt()
    drafts.keep_samples(stage.edith, prompt, {"ticket": "Help"})
    drafts.keep_samples(stage.rhea, prompt, {"ticket": "Help!"})

    assert drafts.samples(prompt) == {"ticket": "Help!"}
    assert refusal(drafts.keep_samples, stage.edith, prompt, {"a": "\0"}) == "request.invalid"
    assert refusal(drafts.keep_samples, stage.edith, prompt, {"a": "x" * 300_000}) == "request.too_large"


def test_discarding_twice_is_no_fault(stage: Stage):
    prompt = stage.prompt()
    drafts.save(stage.edith, prompt, document=chat("x"), revision=0)

    drafts.discard(stage.edith, prompt)
    drafts.discard(stage.edith, prompt)

    assert drafts.of(stage.edith, prompt) is None
