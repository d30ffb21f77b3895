"""Going back: to the previous version, further back, or to any version that was live."""

import pytest

from core.errors import Problem
from registry.models import Prompt, PromptVersion, ReleaseKind
from registry.promotions import environments
from registry.promotions.approvals import live_release
from registry.promotions.environments import Rules
from registry.prompts import lifecycle as prompts
from tests.conftest import Stage


@pytest.fixture
def prompt(stage: Stage) -> Prompt:
    """Versions 1, 2 and 3 were live in production one after the other; 4 never was."""
    prompt = stage.prompt()
    for text in ("one", "two", "three"):
        stage.release(stage.commit(prompt, text))
    stage.commit(prompt, "four")
    return prompt


def live(stage: Stage, prompt: Prompt) -> int:
    release = live_release(stage.environment("production"), prompt)
    assert release
    return release.version.number


def number(prompt: Prompt, version_number: int) -> PromptVersion:
    return prompt.versions.get(number=version_number)


def test_back_to_the_previous_version(stage: Stage, prompt: Prompt):
    release = stage.roll_back(prompt, reason="Labels went missing")

    assert live(stage, prompt) == 2
    assert (release.kind, release.number, release.reason) == (ReleaseKind.ROLLBACK, 4, "Labels went missing")
    assert release.restores
    assert release.restores.number == 2


def test_back_again_goes_further_back(stage: Stage, prompt: Prompt):
    stage.roll_back(prompt)
    stage.roll_back(prompt)
    assert live(stage, prompt) == 1

    with pytest.raises(Problem) as refused:
        stage.roll_back(prompt)
    assert refused.value.code == "release.nothing_to_roll_back_to"


def test_back_to_a_named_version_and_forward_again(stage: Stage, prompt: Prompt):
    stage.roll_back(prompt, to=number(prompt, 1))
    assert live(stage, prompt) == 1
    stage.roll_back(prompt, to=number(prompt, 3))
    assert live(stage, prompt) == 3
    stage.roll_back(prompt)
    assert live(stage, prompt) == 2


@pytest.mark.parametrize(("version_number", "code"), [(3, "release.already_live"), (4, "release.never_released")])
def test_what_was_never_live_there_needs_a_promotion(stage: Stage, prompt: Prompt, version_number: int, code: str):
    with pytest.raises(Problem) as refused:
        stage.roll_back(prompt, to=number(prompt, version_number))

    assert refused.value.code == code


def test_what_was_live_before_protection_was_never_approved(stage: Stage):
    prompt = stage.prompt()
    for text in ("one", "two"):
        stage.release(stage.commit(prompt, text), "staging")
    environments.change_rules(stage.ada, stage.environment("staging"), Rules(True, 1, ()))

    with pytest.raises(Problem) as refused:
        stage.roll_back(prompt, "staging", to=number(prompt, 1))
    assert refused.value.code == "release.never_approved"
    with pytest.raises(Problem) as refused:
        stage.roll_back(prompt, "staging")
    assert refused.value.code == "release.nothing_to_roll_back_to"


def test_nothing_live_nothing_to_roll_back(stage: Stage, prompt: Prompt):
    with pytest.raises(Problem) as refused:
        stage.roll_back(prompt, "staging")

    assert refused.value.code == "release.nothing_live"


def test_a_rollback_of_something_unseen_is_refused(stage: Stage, prompt: Prompt):
    with pytest.raises(Problem) as refused:
        stage.roll_back(prompt, expected_live=number(prompt, 2).content_hash)

    assert refused.value.code == "request.precondition"
    stage.roll_back(prompt, expected_live=number(prompt, 3).content_hash)


def test_what_is_live_cannot_be_archived(stage: Stage, prompt: Prompt):
    with pytest.raises(Problem) as refused:
        prompts.archive(stage.edith, prompt)

    assert refused.value.members["environments"] == ["production"]
