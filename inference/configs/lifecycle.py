"""Inference configs: stored as versions, and promoted like prompts.

A config's versions are versions of a text prompt (`config.<task>`) whose text is its record as JSON: so everything that
prompts have (hash, approvals, checks, rollback, history, delivery) works for configs too, without being written twice.
"""

from dataclasses import dataclass, replace

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from core.errors import Fault, Problem
from core.references import parse_reference
from inference.configs import record_reading
from inference.configs.record import Record
from inference.models import InferenceConfig
from registry.accounts import api_keys, audit, permissions
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
MAX_TASK_LENGTH = 100
TAG = "inference-config"


@dataclass(frozen=True)
class ConfigVersion:
    """A version of a config with its record."""

    version: PromptVersion
    record: Record


def get_config(project: Project, task: str) -> InferenceConfig:
    """Return the project's config of that task, or raise `config.not_found`."""
    config = configs_with_related().filter(project=project, task=task).first()
    if config is None:
        raise Problem("config.not_found", f"There is no config for {task[:100]!r}.")
    config.project = config.holder.project = project
    return config


def configs_with_related() -> QuerySet[InferenceConfig]:
    """Return configs with their related rows."""
    return InferenceConfig.objects.select_related(
        "project", "holder__head", "follows", "follower", "follower_key__project"
    ).order_by("task")


def commit(actor: Actor, task: str, document: object, *, message: str = "") -> tuple[InferenceConfig, ConfigVersion]:
    """Commit the next version of a task's config; the first creates the config. Its prompt is pinned to the present
    content, so that the config's hash covers all that it means."""
    actor.require(Right.EDIT)
    if len(task) > MAX_TASK_LENGTH:
        sentence = f"A task's name has at most {MAX_TASK_LENGTH} characters."
        raise Problem("config.invalid", sentence, faults=[Fault("/task", "too_long", sentence)])
    record = pin_prompt(actor.project, record_reading.read_record(document))
    config = _get_or_create_config(actor, task)
    version_message = message or f"{record.strategy}, {record.model}"[:500]
    content = {"kind": "text", "text": record.text()}
    version = versions.commit(actor, config.holder, content=content, message=version_message).version
    version.prompt = config.holder
    return config, ConfigVersion(version, record)


@transaction.atomic
def _get_or_create_config(actor: Actor, task: str) -> InferenceConfig:
    config = configs_with_related().filter(project=actor.project, task=task).first()
    if config:
        config.project = config.holder.project = actor.project
        return config
    description = f"How {task} is asked of a model: an inference config, as JSON."
    holder = prompts.create(actor, name=f"{PREFIX}{task}", description=description, tags=[TAG])
    holder.project = actor.project
    try:
        with transaction.atomic():
            config = InferenceConfig.objects.create(project=actor.project, task=task, holder=holder, by_name=actor.name)
    except IntegrityError:
        raise Problem("prompt.name_taken", f"There is a config for {task} already.") from None
    audit.record(actor, "config.created", config, after={"task": task})
    return config


def pin_prompt(project: Project, record: Record) -> Record:
    """Return the record with the references of its prompts pinned to content hashes."""
    if record.prompt:
        record = replace(record, prompt=resolution.pinned(project, record.prompt))
    if record.fallback:
        prompt = resolution.pinned(project, record.fallback["prompt"])
        record = replace(record, fallback={**record.fallback, "prompt": prompt})
    return record


def read_config_version(version: PromptVersion) -> ConfigVersion:
    """Read a version of a config; raises `config.invalid` where a user committed something else by hand."""
    return ConfigVersion(version, record_reading.parse_record(str(version.content.get("text", ""))))


def unreadable_config(version: PromptVersion) -> Problem | None:
    """Return the refusal of a config's version that a service could not read, or that pins nothing: a user may commit
    anything to its prompt by hand."""
    if InferenceConfig.objects.filter(holder=version.prompt_id).exists():
        try:
            read_config_version(version)
        except Problem as problem:
            return problem
    return None


def collections_searched(version: PromptVersion) -> set[str]:
    """Return the names of the collections that a config's version searches: its own, and those of what it names. None
    where it is no config's, or cannot be read."""
    config = InferenceConfig.objects.filter(holder=version.prompt_id).select_related("project").first()
    if config is None:
        return set()
    try:
        record = read_config_version(version).record
        references = [record.prompt, (record.fallback or {}).get("prompt", "")]
        pinned = [
            resolution.resolve(config.project, parse_reference(reference)) for reference in references if reference
        ]
    except Problem:
        return set()
    contents = [other.content for other in pinned if "retrieval" in other.content]
    own = {record.collection} if record.collection else set()
    return own | {str(content["retrieval"]["collection"]) for content in contents}


def get_config_version(config: InferenceConfig, selector: str) -> ConfigVersion:
    """Return a config's version by environment, number, `latest` or hash."""
    return read_config_version(resolution.resolve(config.project, parse_reference(f"{config.holder.name}@{selector}")))


def propose(actor: Actor, config: InferenceConfig, environment: Environment, *, reason: str = "") -> Promotion:
    """Request the promotion of the newest version: reviewed, gated and rolled back like any prompt."""
    head = config.holder.head
    if head is None:
        raise Problem("prompt.no_versions", f"{config.task} has no version yet.")
    read_config_version(head)
    return workflow.request(actor, config.holder, head, environment, reason=reason)


@transaction.atomic
def follow(actor: Actor, config: InferenceConfig, prompt: Prompt | None) -> InferenceConfig:
    """Set the prompt whose recommendations a config follows: a changed recommendation opens a promotion by itself, for
    the actor, who stands behind it."""
    actor.require(Right.EDIT)
    InferenceConfig.objects.filter(pk=config.pk).update(
        follows=prompt, follower=actor.user if prompt else None, follower_key=actor.key if prompt else None
    )
    before = {"follows": str(config.follows) if config.follows else None}
    audit.record(actor, "config.follows", config, before=before, after={"follows": str(prompt) if prompt else None})
    return get_config(config.project, config.task)


def follower_of(config: InferenceConfig) -> Actor:
    """Return the actor for whom a config follows a prompt, with the rights of now; a Problem where nobody is left."""
    if config.follower:
        return permissions.actor_for_user(config.follower, config.project)
    if config.follower_key:
        api_keys.require_usable(config.follower_key)
        return permissions.actor_for_key(config.follower_key)
    raise Problem("config.no_follower", f"Nobody stands behind what {config.task} follows; set it again.")


def require_live(record: Record, environment: Environment) -> None:
    """Raise `config.not_live` where a pinned record's prompt is not the version that is live in the environment."""
    if not record.prompt:
        return
    name, _, content_hash = record.prompt.partition("@")
    releases = Release.objects.filter(environment=environment, prompt__name=name).select_related("version")
    live = releases.order_by("-number").first()
    if live is None or live.version.content_hash != content_hash:
        sentence = f"{record.prompt[:100]} is not live in {environment.name}, and a config there pins what is."
        raise Problem("config.not_live", sentence)


def live_config_version(config: InferenceConfig, environment: Environment) -> ConfigVersion | None:
    rows = Release.objects.filter(prompt=config.holder, environment=environment).select_related("version")
    release = rows.order_by("-number").first()
    return read_config_version(release.version) if release else None
