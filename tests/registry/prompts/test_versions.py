"""Committing: the next number for new content, the same version for the same content, whatever happens at once."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection

from core.errors import Problem
from core.references import parse_reference
from registry.models import PromptVersion
from registry.prompts import lifecycle as prompts
from registry.prompts import versions
from registry.prompts.resolution import resolve
from tests.conftest import Stage, chat


def test_the_first_commit_is_number_one(stage: Stage):
    prompt = stage.prompt()

    committed = versions.commit(stage.edith, prompt, content=chat("Hello {{ name }}"), message="First")

    assert committed.created
    assert committed.version.number == 1
    assert committed.version.author == stage.edith.user
    assert committed.version.content_hash.startswith("sha256:")


def test_the_same_content_again_is_the_same_version(stage: Stage):
    prompt = stage.prompt()
    first = stage.commit(prompt, "Hello")
    stage.commit(prompt, "Good day")

    again = versions.commit(stage.edith, prompt, content={**chat("Hello"), "tools": [], "model": {}})

    assert not again.created
    assert again.version == first
    assert prompt.versions.count() == 2


def test_two_prompts_may_have_the_same_content(stage: Stage):
    first = stage.commit(stage.prompt("one"), "Hello")
    second = stage.commit(stage.prompt("two"), "Hello")

    assert first.content_hash == second.content_hash
    assert first != second


def test_the_parent_is_the_newest_version_unless_another_is_named(stage: Stage):
    prompt = stage.prompt()
    first, second = stage.commit(prompt, "one"), stage.commit(prompt, "two")

    from_first = versions.commit(stage.edith, prompt, content=chat("three"), parent=1).version

    assert second.parent == first
    assert from_first.parent == first


def test_a_commit_on_top_of_something_unseen_is_refused(stage: Stage):
    prompt = stage.prompt()
    seen = stage.commit(prompt, "one")
    stage.commit(prompt, "two")

    with pytest.raises(Problem) as refused:
        versions.commit(stage.edith, prompt, content=chat("three"), expected_latest=seen.content_hash)

    assert refused.value.code == "request.precondition"


def test_an_archived_prompt_takes_no_commit(stage: Stage):
    prompt = stage.prompt()
    prompts.archive(stage.edith, prompt)

    with pytest.raises(Problem) as refused:
        stage.commit(prompt, "Hello")

    assert refused.value.code == "prompt.archived"


def test_an_example_set_that_does_not_exist_pins_nothing(stage: Stage):
    with pytest.raises(Problem) as refused:
        stage.commit(stage.prompt(), "Hello", examples={"set": f"sha256:{'0' * 64}"})

    assert refused.value.code == "content.unknown_example_set"


def test_a_message_of_600_characters_is_refused(stage: Stage):
    with pytest.raises(Problem) as refused:
        versions.commit(stage.edith, stage.prompt(), content=chat("Hello"), message="x" * 600)

    assert refused.value.code == "request.invalid"


def commit_at_once(stage: Stage, texts: list[str]) -> list[PromptVersion]:
    """Commit all texts to one prompt from as many threads, released together."""
    prompt = stage.prompt()
    barrier = Barrier(len(texts))

    def run(text: str) -> PromptVersion:
        barrier.wait()
        try:
            return versions.commit(stage.edith, prompt, content=chat(text)).version
        finally:
            connection.close()

    with ThreadPoolExecutor(len(texts)) as pool:
        return list(pool.map(run, texts))


def test_eight_simultaneous_commits_of_different_content_get_consecutive_numbers(live_stage: Stage):
    committed = commit_at_once(live_stage, [f"Text {index}" for index in range(8)])

    assert sorted(version.number for version in committed) == list(range(1, 9))
    assert {version.parent.number if version.parent else 0 for version in committed} == set(range(8))


def test_eight_simultaneous_commits_of_equal_content_make_one_version(live_stage: Stage):
    committed = commit_at_once(live_stage, ["The same"] * 8)

    assert {version.pk for version in committed} == {committed[0].pk}
    assert PromptVersion.objects.count() == 1


@pytest.mark.parametrize(
    ("selector", "number"),
    [("1", 1), ("latest", 3), ("staging", 2), ("production", 1), ("hash", 2), ("prefix", 2)],
)
def test_every_kind_of_selector_finds_its_version(stage: Stage, selector: str, number: int):
    prompt = stage.prompt()
    versions = [stage.commit(prompt, text) for text in ("one", "two", "three")]
    stage.release(versions[0], "production")
    stage.release(versions[1], "staging")
    named = {"hash": versions[1].content_hash, "prefix": versions[1].content_hash[:19]}.get(selector, selector)

    resolved = resolve(stage.project, parse_reference(f"support.triage@{named}"))

    assert resolved.number == number


def test_no_selector_means_production(stage: Stage):
    prompt = stage.prompt()
    stage.release(stage.commit(prompt, "one"))
    stage.commit(prompt, "two")

    assert resolve(stage.project, parse_reference("support.triage")).number == 1
