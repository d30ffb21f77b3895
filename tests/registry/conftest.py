import pytest

from tests.conftest import Stage


@pytest.fixture
def storied(stage: Stage) -> Stage:
    return tell_story(stage)


def tell_story(stage: Stage) -> Stage:
    """Have a prompt go live twice and back once."""
    prompt = stage.prompt()
    stage.release(stage.commit(prompt, "Sort <b>tickets</b>"))
    stage.release(stage.commit(prompt, "Sort <i>tickets</i>", model={"temperature": 0.1}))
    stage.roll_back(prompt, reason="Labels <went> missing")
    return stage
