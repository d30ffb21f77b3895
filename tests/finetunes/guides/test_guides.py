"""Guides: a task's steps are read from facts, and nothing is ticked by hand."""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from core.errors import Problem
from evaluations.datasets import lifecycle as datasets
from evaluations.models import Dataset, ProviderModel
from finetunes.guides import lifecycle as guides
from finetunes.guides import steps
from finetunes.presentation import address_of, fact_text
from finetunes.strategy import recommendations
from inference.calls import log as call_log
from inference.monitoring import monitors
from registry.accounts import permissions
from registry.models import PromptVersion
from registry.prompts import lifecycle as prompts
from tests.conftest import Stage
from tests.evaluations.conftest import case, make_run
from tests.evaluations.runs.test_pages import finish
from tests.sandbox import Running

TARGETS = {"prompt": "support.route", "dataset": "support.tickets", "latency_ms": 900, "quality": 0.5}


def states(stage: Stage) -> list[str]:
    return [step.state for step in steps.steps_for_guide(guides.get_guide(stage.project, "routing"))]


def test_a_task_goes_its_way_by_facts(
    stage: Stage, version: PromptVersion, tickets: Dataset, base: ProviderModel, sandbox: Running, monkeypatch: Any
):
    guides.define(stage.edith, "routing", {})
    assert states(stage) == ["here", *["ahead"] * 5]
    datasets.change(stage.edith, tickets, added=[case(f"More {n} of it", "billing", split="test") for n in range(50)])
    guides.define(stage.edith, "routing", TARGETS)
    assert states(stage) == ["done", "here", *["ahead"] * 4]

    finish(make_run(stage, version, datasets.get_dataset(stage.project, "support.tickets"), base, split="test").pk)
    assert states(stage)[1:3] == ["done", "here"]
    inputs = {"monthly_tokens": 1e5, "latency_ms": 100, "format_error_rate": 0.01}
    recommendations.recommend(stage.edith, prompt=prompts.get_prompt(stage.project, "support.route"), inputs=inputs)
    # It does without tuning: no data has to be prepared.
    assert states(stage)[2:5] == ["done", "done", "here"]
    stage.release(version)
    assert states(stage)[4:] == ["done", "here"]
    monitors.create(stage.edith, version.prompt, figure="failure_rate", bound=0.5)
    watch = steps.steps_for_guide(guides.get_guide(stage.project, "routing"))[5]
    assert [fact.is_there for fact in watch.facts] == [True, True, True, False]
    assert fact_text(watch.facts[3]) == "14 days left."

    later = timezone.now() + timedelta(days=15)
    monkeypatch.setattr(steps.timezone, "now", lambda: later)
    assert states(stage) == ["done"] * 6


def test_where_tuning_is_recommended_its_steps_are_asked_for(stage: Stage, version: PromptVersion, tickets: Dataset):
    guides.define(stage.edith, "routing", TARGETS)
    call_log.record(permissions.actor_for_command_line(stage.project), [{"prompt": "support.route@1", "tokens_in": 10}])
    inputs = {"monthly_tokens": 1e9, "latency_ms": 900, "format_error_rate": 0.01}
    recommendations.recommend(stage.edith, prompt=prompts.get_prompt(stage.project, "support.route"), inputs=inputs)

    guide_steps = steps.steps_for_guide(guides.get_guide(stage.project, "routing"))

    assert [fact.is_there for fact in guide_steps[3].facts] == [True, False]
    assert [fact.text for fact in guide_steps[4].facts][:2] == [
        "No tuned model is compared with the prompt.",
        "It is not published.",
    ]
    assert all(address_of(fact.link, "paper") for fact in guide_steps[3].facts)


@pytest.mark.parametrize(
    "members",
    [{"latency_ms": -1}, {"quality": 2}, {"quality": "good"}, {"cost_per_call_usd": "x"}, {"prompt": "no.such"}],
)
def test_what_cannot_be_is_refused(stage: Stage, members: dict[str, Any]):
    with pytest.raises(Problem):
        guides.define(stage.edith, "routing", members)
    for name in ("Not a name", "", "a" * 101):
        with pytest.raises(Problem, match="name is"):
            guides.define(stage.edith, name, {})
    with pytest.raises(Problem, match="may not"):
        guides.define(stage.vera, "routing", {})
    with pytest.raises(Problem, match="no guide"):
        guides.get_guide(stage.project, "routing")


@pytest.mark.usefixtures("tickets")
def test_pages_and_shell(stage: Stage, client: Client, version: PromptVersion):
    assert stage.edith.user
    client.force_login(stage.edith.user)
    page = "/p/paper/strategy/guides/"
    assert client.post(page, {"name": "Not a name"}).status_code == 400
    response = client.post(
        page, {"name": "routing", "prompt": "support.route", "latency_ms": "1,500", "quality": "0,9"}
    )
    assert response["Location"] == f"{page}routing/"
    html = client.get(response["Location"]).content.decode()
    assert "p99 at most 1,500 ms, quality at least 0.9" in html
    assert client.post(response["Location"], {"quality": "x"}).status_code == 400
    assert client.post(response["Location"], {"dataset": "support.tickets"}).status_code == 302
    assert "routing" in client.get(page).content.decode()

    output = StringIO()
    call_command("guide", "routing", "--project", "paper", "--cost", "0.01", stdout=output)
    assert "1. Define the task [here]" in output.getvalue()
    assert "$0.01 a call" in output.getvalue()
    with pytest.raises(CommandError, match="no project"):
        call_command("guide", "routing", "--project", "moon")
    with pytest.raises(CommandError, match="number from"):
        call_command("guide", "routing", "--project", "paper", "--quality", "3")
