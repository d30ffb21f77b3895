"""Inference configs: kept as versions, and promoted like prompts.

A config's versions are versions of a text prompt (`config.<task>`) whose text is its record as JSON: so everything that
prompts have (hash, approvals, checks, rollback, history, delivery) holds for configs, and nothing is written twice.
"""

from dataclasses import dataclass, replace

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from core.errors import Fault, Problem
from core.references import parse_reference
from inference.configs import record as inference
from inference.configs.record import Record
from inference.models import InferenceConfig
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.models import (
    Environment,
    Project,
    Promotion,
    Prompt,
    PromptVersion,
    Release,
)
from registry.promotions import workflow
from registry.prompts import lifecycle as prompts
from registry.prompts import resolution, versions

PREFIX = "config."
LONGEST_TASK = 100
TAG = "inference-config"


@dataclass(frozen=True)
class Stated:
    """What a version of a config says."""

    version: PromptVersion
    record: Record


def named(project: Project, task: str) -> InferenceConfig:
    """The project's config of that task, or `config.not_found`."""
    found = loaded().filter(project=project, task=task).first()
    if found is None:
        raise Problem("config.not_found", f"There is no config for {task[:100]!r}.")
    found.project = found.holder.project = project
    return found


def loaded() -> QuerySet[InferenceConfig]:
    """Configs with what holds them."""
    return InferenceConfig.objects.select_related("project", "holder__head", "follows").order_by("task")


def commit(actor: Actor, task: str, given: object, *, message: str = "") -> tuple[InferenceConfig, Stated]:
    """Keep what a task's config says as its next version; the first makes the config. The prompt that it refers to is
    pinned to the content that it has now, so the config's hash is of all that it means."""
    actor.require(Right.EDIT)
    if len(task) > LONGEST_TASK:
        sentence = f"A task's name has at most {LONGEST_TASK} characters."
        raise Problem("config.invalid", sentence, faults=[Fault("/task", "too_long", sentence)])
    record = pinned(actor.project, inference.read(given))
    config = _ensured(actor, task)
    said = message or f"{record.strategy}, {record.model}"[:500]
    content = {"kind": "text", "text": record.text()}
    made = versions.commit(actor, config.holder, content=content, message=said).version
    made.prompt = config.holder
    return config, Stated(made, record)


@transaction.atomic
def _ensured(actor: Actor, task: str) -> InferenceConfig:
    there = loaded().filter(project=actor.project, task=task).first()
    if there:
        there.project = there.holder.project = actor.project
        return there
    description = f"How {task} is asked of a model: an inference config, as JSON."
    holder = prompts.create(actor, name=f"{PREFIX}{task}", description=description, tags=[TAG])
    holder.project = actor.project
    try:
        with transaction.atomic():
            made = InferenceConfig.objects.create(project=actor.project, task=task, holder=holder, by_name=actor.name)
    except IntegrityError:
        raise Problem("prompt.name_taken", f"There is a config for {task} already.") from None
    audit.record(actor, "config.created", made, after={"task": task})
    return made


def pinned(project: Project, record: Record) -> Record:
    """The record with its prompt's reference by content."""
    if not record.prompt:
        return record
    reference = parse_reference(record.prompt)
    version = resolution.resolve(project, reference)
    return replace(record, prompt=f"{reference.name}@{version.content_hash}")


def stated(version: PromptVersion) -> Stated:
    """What a version of a config says; `config.invalid` where somebody wrote something else there by hand."""
    return Stated(version, inference.parsed(str(version.content.get("text", ""))))


def selected(config: InferenceConfig, selector: str) -> Stated:
    """What a config says, by environment, number, `latest` or hash."""
    return stated(resolution.resolve(config.project, parse_reference(f"{config.holder.name}@{selector}")))


def propose(actor: Actor, config: InferenceConfig, environment: Environment, *, reason: str = "") -> Promotion:
    """Ask for the newest version to be made live: reviewed, gated and rolled back like any prompt."""
    head = config.holder.head
    if head is None:
        raise Problem("prompt.no_versions", f"{config.task} has no version yet.")
    stated(head)
    return workflow.request(actor, config.holder, head, environment, reason=reason)


@transaction.atomic
def follow(actor: Actor, config: InferenceConfig, prompt: Prompt | None) -> InferenceConfig:
    """Say whose recommendations a config follows: another answer than what is live opens a promotion by itself."""
    actor.require(Right.EDIT)
    InferenceConfig.objects.filter(pk=config.pk).update(follows=prompt)
    before = {"follows": str(config.follows) if config.follows else None}
    audit.record(actor, "config.follows", config, before=before, after={"follows": str(prompt) if prompt else None})
    return named(config.project, config.task)


def live_statement(config: InferenceConfig, environment: Environment) -> Stated | None:
    rows = Release.objects.filter(prompt=config.holder, environment=environment).select_related("version")
    release = rows.order_by("-number").first()
    return stated(release.version) if release else None
