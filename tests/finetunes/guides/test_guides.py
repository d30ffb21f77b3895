"""Guides: a task's steps are read from what is there, and nothing is ticked by hand."""

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

WANTED = {"prompt": "support.route", "dataset": "support.tickets", "latency_ms": 900, "quality": 0.5}


def states(stage: Stage) -> list[str]:
    return [step.state for step in steps.steps(guides.named(stage.project, "routing"))]


def test_a_task_goes_its_way_by_facts(
    stage: Stage, version: PromptVersion, tickets: Dataset, base: ProviderModel, sandbox: Running, monkeypatch: Any
):
    guides.define(stage.edith, "routing", {})
    assert states(stage) == ["here", *["ahead"] * 5]
    datasets.change(stage.edith, tickets, added=[case(f"More {n} of it", "billing", split="test") for n in range(50)])
    guides.define(stage.edith, "routing", WANTED)
    assert states(stage) == ["done", "here", *["ahead"] * 4]

    finish(make_run(stage, version, datasets.named(stage.project, "support.tickets"), base, split="test").pk)
    assert states(stage)[1:3] == ["done", "here"]
    asked = {"monthly_tokens": 1e5, "latency_ms": 100, "format_error_rate": 0.01}
    recommendations.recommend(stage.edith, prompt=prompts.named(stage.project, "support.route"), inputs=asked)
    # It does without tuning: no data has to be prepared.
    assert states(stage)[2:5] == ["done", "done", "here"]
    stage.release(version)
    assert states(stage)[4:] == ["done", "here"]
    monitors.create(stage.edith, version.prompt, figure="failure_rate", bound=0.5)
    watch = steps.steps(guides.named(stage.project, "routing"))[5]
    assert [fact.is_there for fact in watch.facts] == [True, True, True, False]
    assert watch.facts[3].text == "14 days left."

    later = timezone.now() + timedelta(days=15)
    monkeypatch.setattr(steps.timezone, "now", lambda: later)
    assert states(stage) == ["done"] * 6


def test_where_tuning_is_recommended_its_steps_are_asked_for(stage: Stage, version: PromptVersion, tickets: Dataset):
    guides.define(stage.edith, "routing", WANTED)
    call_log.record(permissions.command_line(stage.project), [{"prompt": "support.route@1", "tokens_in": 10}])
    asked = {"monthly_tokens": 1e9, "latency_ms": 900, "format_error_rate": 0.01}
    recommendations.recommend(stage.edith, prompt=prompts.named(stage.project, "support.route"), inputs=asked)

    found = steps.steps(guides.named(stage.project, "routing"))

    assert [fact.is_there for fact in found[3].facts] == [True, False]
    assert [fact.text for fact in found[4].facts][:2] == [
        "No tuned model is compared with the prompt.",
        "It is not published.",
    ]
    assert all(fact.address for fact in found[3].facts)


@pytest.mark.parametrize(
    "given",
    [{"latency_ms": -1}, {"quality": 2}, {"quality": "good"}, {"cost_per_call_usd": "x"}, {"prompt": "no.such"}],
)
def test_what_cannot_be_is_refused(stage: Stage, given: dict[str, Any]):
    with pytest.raises(Problem):
        guides.define(stage.edith, "routing", given)
    for name in ("Not a name", "", "a" * 101):
        with pytest.raises(Problem, match="name is"):
            guides.define(stage.edith, name, {})
    with pytest.raises(Problem, match="may not"):
        guides.define(stage.vera, "routing", {})
    with pytest.raises(Problem, match="no guide"):
        guides.named(stage.project, "routing")


@pytest.mark.usefixtures("tickets")
def test_pages_and_shell(stage: Stage, client: Client, version: PromptVersion):
    assert stage.edith.user
    client.force_login(stage.edith.user)
    page = "/p/paper/strategy/guides/"
    assert client.post(page, {"name": "Not a name"}).status_code == 400
    made = client.post(page, {"name": "routing", "prompt": "support.route", "latency_ms": "1,500", "quality": "0,9"})
    assert made["Location"] == f"{page}routing/"
    shown = client.get(made["Location"]).content.decode()
    assert "p99 at most 1,500 ms, quality at least 0.9" in shown
    assert client.post(made["Location"], {"quality": "x"}).status_code == 400
    assert client.post(made["Location"], {"dataset": "support.tickets"}).status_code == 302
    assert "routing" in client.get(page).content.decode()

    told = StringIO()
    call_command("guide", "routing", "--project", "paper", "--cost", "0.01", stdout=told)
    assert "1. Define the task [here]" in told.getvalue()
    assert "$0.01 a call" in told.getvalue()
    with pytest.raises(CommandError, match="no project"):
        call_command("guide", "routing", "--project", "moon")
    with pytest.raises(CommandError, match="number from"):
        call_command("guide", "routing", "--project", "paper", "--quality", "3")
