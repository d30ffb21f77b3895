"""What is in use is not archived, and what is archived is not taken into use."""

import threading
from typing import Any

import pytest
from django.db import connection, transaction

from core.errors import Problem
from inference.configs import lifecycle as configs
from registry.models import Collection, PromptVersion, Release
from registry.prompts import versions
from registry.retrieval import collections, usage
from tests.conftest import Stage
from tests.registry.retrieval.conftest import make_handbook
from tests.registry.retrieval.test_context import content

PLAIN = {"messages": [{"role": "user", "content": "{{ question }}"}]}


@pytest.fixture
def version(stage: Stage, handbook: Collection) -> PromptVersion:
    return versions.commit(stage.edith, stage.prompt("support.answer"), content=content(), message="x").version


def release_config(stage: Stage, **members: Any) -> None:
    record = {"strategy": "prompt", "model": "m", "prompt": "support.answer@1", "input": "question", **members}
    _, committed = configs.commit(stage.edith, "handbook", record)
    stage.release(committed.version)


def test_the_collection_of_a_live_config_is_in_use(stage: Stage, version: PromptVersion):
    german = collections.create(stage.edith, name="handbook-de")
    release_config(stage, retrieval={"collection": "handbook-de"})

    assert usage.prompts_searching(german) == ["config.handbook"]
    with pytest.raises(Problem) as refused:
        collections.archive(stage.edith, german)
    assert refused.value.code == "collection.in_use"


@pytest.mark.parametrize("member", ["prompt", "fallback"])
def test_the_collection_of_a_version_that_a_live_config_names_is_in_use(
    stage: Stage, version: PromptVersion, handbook: Collection, member: str
):
    other = versions.commit(stage.edith, stage.prompt("support.other"), content=PLAIN, message="x").version
    named = {"prompt": {}, "fallback": {"prompt": str(other), "fallback": {"prompt": "support.answer@1"}}}[member]
    release_config(stage, **named)
    # The newest version of the prompt itself searches nothing any more.
    versions.commit(stage.edith, version.prompt, content=PLAIN, message="x")

    assert usage.prompts_searching(handbook) == ["config.handbook"]


def test_what_searches_an_archived_collection_is_not_released(
    stage: Stage, version: PromptVersion, handbook: Collection
):
    versions.commit(stage.edith, version.prompt, content=PLAIN, message="x")
    collections.archive(stage.edith, handbook)

    with pytest.raises(Problem) as refused:
        stage.release(version)
    assert refused.value.code == "collection.archived"
    assert not Release.objects.filter(version=version).exists()


@pytest.mark.parametrize("verb", ["commit", "release"])
def test_archiving_waits_for_what_is_being_taken_into_use(live_stage: Stage, verb: str):
    handbook = make_handbook(live_stage)
    prompt = live_stage.prompt("support.answer")
    old = versions.commit(live_stage.edith, prompt, content=content(), message="x").version
    versions.commit(live_stage.edith, prompt, content=PLAIN, message="x")
    refusals: list[str] = []

    def archive() -> None:
        try:
            collections.archive(live_stage.edith, handbook)
        except Problem as problem:
            refusals.append(problem.code)
        finally:
            connection.close()

    archiving = threading.Thread(target=archive)
    with transaction.atomic():
        if verb == "commit":
            versions.commit(live_stage.edith, prompt, content=content(k=3), message="x")
        else:
            live_stage.release(old)
        archiving.start()
        # It would be over by now, if it did not wait.
        archiving.join(0.5)
        assert archiving.is_alive()
    archiving.join()

    assert refusals == ["collection.in_use"]
    handbook.refresh_from_db()
    assert handbook.archived_at is None
