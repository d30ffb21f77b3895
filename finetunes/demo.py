"""Demo data for fine-tunes and strategy: fine-tuning at the sandbox, prices for it, configs and a guide."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.db import transaction

from evaluations.models import Capability, Provider
from evaluations.providers import configuration as providers
from finetunes.guides import lifecycle as guides
from finetunes.jobs import provider_settings
from finetunes.models import FineTuningPrice
from inference.configs import lifecycle as configs
from registry import demo
from registry.accounts.permissions import Actor, actor_for_user
from registry.models import Project, User
from registry.promotions import environments, workflow
from registry.prompts import lifecycle as prompts
from registry.prompts import versions

BASE = "sandbox-small"
# Dearer to call than the base, as with most providers.
PRICES = {"training": "3", "tuned_input": "0.2", "tuned_output": "0.8"}

ANALYSIS = {
    "kind": "chat",
    "messages": [
        {"role": "system", "content": "Answer from the table alone, and name the rows that you used."},
        {"role": "user", "content": "{{ table }}\n\n{{ question }}"},
    ],
}
TRIAGE: Mapping[str, Any] = {
    "strategy": "prompt",
    "model": "sandbox/sandbox-small",
    "prompt": "support.triage@production",
    "input": "ticket",
}
HANDBOOK: Mapping[str, Any] = {
    **{"strategy": "prompt", "model": "sandbox/sandbox-small", "prompt": "support.answer@production"},
    **{"input": "question", "timeout_seconds": 30},
}
CONFIGS: Mapping[str, Mapping[str, Any]] = {
    "classification-task": {
        "strategy": "fine-tune",
        "model": "ft:sandbox-small:classification:v1",
        "max_tokens": 100,
        "temperature": 0.1,
        "response_format": "json",
    },
    "support-assistant": {
        "strategy": "hybrid",
        "model": "ft:sandbox-small:assistant:v1",
        "prompt": "support.reply@latest",
        "max_tokens": 500,
        "temperature": 0.3,
        "retrieval": {"collection": "knowledge-base"},
    },
    "ad-hoc-analysis": {
        "strategy": "prompt",
        "model": "gpt-6-luna",
        "prompt": "analysis.template@latest",
        "max_tokens": 2_000,
        "temperature": 0.7,
    },
}


@transaction.atomic
def seed(_credentials_file: Path) -> bool:
    """Set up fine-tuning at the demo's sandbox, unless it is set up; returns whether it was done now."""
    project = Project.objects.filter(slug=demo.PROJECT).first()
    sandbox = Provider.objects.filter(project=project, is_simulation=True).first() if project else None
    if project is None or sandbox is None or FineTuningPrice.objects.filter(model__provider=sandbox).exists():
        return False
    admin = actor_for_user(User.objects.get(username="admin"), project)
    sandbox.project = project
    providers.change(admin, sandbox, capabilities=[*sandbox.capabilities, Capability.FINE_TUNING])
    provider_settings.set_price(admin, providers.get_model(project, f"{sandbox.name}/{BASE}"), PRICES)
    editor = actor_for_user(User.objects.get(username="editor"), project)
    _configs(editor)
    _release_tasks(editor, actor_for_user(User.objects.get(username="reviewer"), project))
    members = {"prompt": "support.route", "dataset": "support.tickets", "latency_ms": 1_500, "quality": 0.8}
    guides.define(editor, "ticket-routing", members)
    return True


def _configs(editor: Actor) -> None:
    """Create the three configs of the source document, by the demo's own names."""
    analysis = prompts.create(editor, name="analysis.template", description="Answers a question about a table.")
    versions.commit(editor, analysis, content=ANALYSIS, message="First version")
    for task, record in CONFIGS.items():
        configs.commit(editor, task, record, message="As the source document has it")


def _release_tasks(editor: Actor, reviewer: Actor) -> None:
    """Have two tasks live, by the simulated model, so that the inference service answers: one by a prompt, one that
    looks things up."""
    production = environments.get_environment(editor.project, "production")
    for task, record in {"ticket-triage": TRIAGE, "handbook": HANDBOOK}.items():
        configs.commit(editor, task, record, message="Asks the simulated model")
        config = configs.get_config(editor.project, task)
        promotion = configs.propose(editor, config, production, reason="So that services can ask for it")
        workflow.approve(reviewer, promotion)
        workflow.apply(editor, promotion)
