"""Partials: pinned at commit, without cycles, at most five deep, and found from both ends."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from core.errors import Problem
from registry.models import Inclusion
from registry.prompts import includes, versions
from registry.prompts import lifecycle as prompts
from tests.conftest import Stage, chat


def including(*names: str) -> str:
    return " ".join(f"{{% include '{name}' %}}" for name in names)


def test_an_include_is_pinned_to_the_newest_version_until_one_is_live(stage: Stage):
    tone = stage.prompt("shared.tone")
    old, new = stage.commit(tone, "Be kind"), stage.commit(tone, "Be brief")
    prompt = stage.prompt()

    first = stage.commit(prompt, including("shared.tone"))
    stage.release(old)
    second = stage.commit(prompt, including("shared.tone"))

    assert first.content["includes"] == {"shared.tone": new.content_hash}
    assert second.content["includes"] == {"shared.tone": old.content_hash}
    assert first.content_hash != second.content_hash


@pytest.mark.parametrize("selector", ["1", "staging", "hash"])
def test_an_include_may_name_its_version(stage: Stage, selector: str):
    tone = stage.prompt("shared.tone")
    old = stage.commit(tone, "Be kind")
    stage.commit(tone, "Be brief")
    stage.release(old, "staging")
    name = f"shared.tone@{old.content_hash[:19] if selector == 'hash' else selector}"

    version = stage.commit(stage.prompt(), including(name))

    assert version.content["includes"] == {name: old.content_hash}
    assert versions.render(version, {})["messages"][0]["content"] == "Be kind"


def test_a_version_behaves_the_same_when_its_partial_changes(stage: Stage):
    tone = stage.prompt("shared.tone")
    stage.commit(tone, "Be kind")
    version = stage.commit(stage.prompt(), including("shared.tone"))

    stage.release(stage.commit(tone, "Be brief"))

    assert versions.render(version, {})["messages"][0]["content"] == "Be kind"


def test_a_pin_that_comes_with_the_content_is_kept(stage: Stage):
    tone = stage.prompt("shared.tone")
    old = stage.commit(tone, "Be kind")
    stage.commit(tone, "Be brief")

    version = stage.commit(stage.prompt(), including("shared.tone"), includes={"shared.tone": old.content_hash})

    assert version.content["includes"] == {"shared.tone": old.content_hash}


def test_uses_and_used_by(stage: Stage):
    tone = stage.commit(stage.prompt("shared.tone"), "Be kind")
    middle = stage.commit(stage.prompt("shared.middle"), including("shared.tone"))
    top = stage.commit(stage.prompt(), including("shared.middle"))

    assert list(Inclusion.objects.filter(version=top).values_list("included", flat=True)) == [middle.pk]
    assert prompts.prompts_including(tone.prompt) == ["shared.middle"]
    assert set(includes.get_partials([top])) == {middle.content_hash, tone.content_hash}


def test_what_another_prompt_includes_cannot_be_archived_until_it_no_longer_does(stage: Stage):
    tone = stage.prompt("shared.tone")
    stage.commit(tone, "Be kind")
    prompt = stage.prompt()
    stage.commit(prompt, including("shared.tone"))

    with pytest.raises(Problem) as refused:
        prompts.archive(stage.edith, tone)
    assert refused.value.members["included_by"] == ["support.triage"]
    stage.commit(prompt, "On its own")
    assert prompts.archive(stage.edith, tone).archived_at


def test_a_live_version_keeps_its_partial_from_being_archived(stage: Stage):
    tone = stage.prompt("shared.tone")
    stage.commit(tone, "Be kind")
    prompt = stage.prompt()
    stage.release(stage.commit(prompt, including("shared.tone")))
    stage.commit(prompt, "On its own")

    with pytest.raises(Problem):
        prompts.archive(stage.edith, tone)


def test_a_prompt_cannot_include_itself(stage: Stage):
    prompt = stage.prompt("a")
    stage.commit(prompt, "x")

    with pytest.raises(Problem) as refused:
        stage.commit(prompt, including("a"))

    assert refused.value.code == "template.include_cycle"
    assert refused.value.members["path"] == ["a", "a"]


def test_a_cycle_is_refused_with_its_path(stage: Stage):
    a, b, c = (stage.prompt(name) for name in "abc")
    stage.commit(a, "x")
    stage.commit(b, including("a"))
    stage.commit(c, including("b"))

    with pytest.raises(Problem) as refused:
        stage.commit(a, including("c"))

    assert refused.value.code == "template.include_cycle"
    assert refused.value.members["path"] == ["a", "c", "b", "a"]
    assert "a → c → b → a" in refused.value.detail


def test_five_deep_is_allowed_and_six_is_refused_with_its_path(stage: Stage):
    stage.commit(stage.prompt("p0"), "bottom")
    for depth in range(1, 6):
        version = stage.commit(stage.prompt(f"p{depth}"), including(f"p{depth - 1}"))
    assert versions.render(version, {})["messages"][0]["content"] == "bottom"

    with pytest.raises(Problem) as refused:
        stage.commit(stage.prompt("p6"), including("p5"))

    assert refused.value.code == "template.include_depth"
    assert refused.value.members["path"] == ["p6", "p5", "p4", "p3", "p2", "p1", "p0"]


def test_a_lattice_of_includes_costs_no_more_than_its_versions(stage: Stage):
    """Four layers of ten that each include the whole next layer: ten thousand paths, forty versions."""
    below: list[str] = []
    for layer in range(4):
        names = [f"layer{layer}.p{index}" for index in range(10)]
        for name in names:
            stage.commit(stage.prompt(name), f"{name}: {including(*below)}")
        below = names

    with CaptureQueriesContext(connection) as captured:
        version = stage.commit(stage.prompt(), including(*below))

    assert len(includes.get_partials([version])) == 40
    # Two for each of the ten names, and a fixed number besides.
    assert len(captured.captured_queries) < 50


def test_the_size_of_includes_is_bounded(stage: Stage):
    names = []
    for index in range(3):
        names.append(f"large.p{index}")
        stage.commit(stage.prompt(names[-1]), "x", model={"extra": ["y" * 900_000, index]})

    with pytest.raises(Problem) as refused:
        stage.commit(stage.prompt(), including(*names))

    assert refused.value.code == "template.include_size"


@pytest.mark.parametrize(
    "name",
    [
        "missing",
        "shared.tone@9",
        "shared.tone@production",
        "Not A Name",
        "shared.tone@",
        "archived",
        "dialogue",
    ],
)
def test_what_cannot_be_included_is_named(stage: Stage, name: str):
    stage.commit(stage.prompt("shared.tone"), "Be kind")
    archived = stage.prompt("archived")
    stage.commit(archived, "x")
    prompts.archive(stage.edith, archived)
    dialogue = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    versions.commit(stage.edith, stage.prompt("dialogue"), content={"kind": "chat", "messages": dialogue})

    with pytest.raises(Problem) as refused:
        stage.commit(stage.prompt(), including(name))

    assert refused.value.code == "template.unknown_include"
    assert refused.value.members["include"] == name


def test_a_pin_that_nothing_includes_is_refused(stage: Stage):
    tone = stage.commit(stage.prompt("shared.tone"), "Be kind")

    with pytest.raises(Problem) as refused:
        stage.commit(stage.prompt(), "On its own", includes={"shared.tone": tone.content_hash})

    assert refused.value.faults[0].pointer == "/includes/shared.tone"


def test_another_projects_prompt_cannot_be_included(stage: Stage, otis: object):
    other_prompt = prompts.create(otis, name="theirs")  # type: ignore[arg-type]
    versions.commit(otis, other_prompt, content=chat("secret"))  # type: ignore[arg-type]

    with pytest.raises(Problem) as refused:
        stage.commit(stage.prompt(), including("theirs"))

    assert refused.value.code == "template.unknown_include"
