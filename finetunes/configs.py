"""Inference configs: kept as versions, promoted like prompts, and proposed anew when another strategy is recommended.

A config's versions are versions of a text prompt (`config.<task>`) whose text is its record as JSON: so everything that
prompts have (hash, approvals, checks, rollback, history, delivery) holds for configs, and nothing is written twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from finetunes import evidence, inference, recommendations, strategy
from finetunes.inference import Record
from finetunes.models import InferenceConfig, StrategyRecommendation, TunedModel
from registry import access, audit, promotion, prompts, resolution, versions
from registry.access import Actor, Right
from registry.models import (
    UNDECIDED,
    Environment,
    Project,
    Promotion,
    PromotionStatus,
    Prompt,
    PromptVersion,
    Release,
)
from registry.problems import Fault, Problem
from registry.references import parse_reference

PREFIX = "config."
LONGEST_TASK = 100
TAG = "inference-config"
# So sure has a recommendation to be before it opens a promotion by itself.
SURE = 0.8
REFUSED = (PromotionStatus.REJECTED, PromotionStatus.WITHDRAWN)
# What is looked in where nobody has said.
USUAL_COLLECTION = "knowledge-base"


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
    record = _pinned(actor.project, inference.read(given))
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


def _pinned(project: Project, record: Record) -> Record:
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
    return promotion.request(actor, config.holder, head, environment, reason=reason)


@transaction.atomic
def follow(actor: Actor, config: InferenceConfig, prompt: Prompt | None) -> InferenceConfig:
    """Say whose recommendations a config follows: another answer than what is live opens a promotion by itself."""
    actor.require(Right.EDIT)
    InferenceConfig.objects.filter(pk=config.pk).update(follows=prompt)
    before = {"follows": str(config.follows) if config.follows else None}
    audit.record(actor, "config.follows", config, before=before, after={"follows": str(prompt) if prompt else None})
    return named(config.project, config.task)


def propose_from(
    actor: Actor, config: InferenceConfig, kept: StrategyRecommendation, environment: Environment
) -> Promotion | None:
    """Commit and propose what a recommendation comes to; None where there is nothing to propose (`wanted`)."""
    if kept.version is None:
        return None
    looked_up = evidence.is_so(evidence.stored(kept.inputs), "dynamic_knowledge")
    found = wanted(config, environment, kept.version, kept.strategy, looked_up=looked_up)
    if found is None:
        return None
    reason = f"Recommendation {kept.pk}: {strategy.TITLES[kept.strategy].lower()}. {kept.result['reasons'][0]}"
    _, made = commit(actor, config.task, found.as_dict(), message=reason[:500])
    return promotion.request(actor, config.holder, made.version, environment, reason=reason)


def wanted(
    config: InferenceConfig, environment: Environment, version: PromptVersion, answer: str, *, looked_up: bool
) -> Record | None:
    """The record that an answer comes to. None where it is live already, a promotion waits, people have rejected just
    that last time, or nothing can be said: too little evidence, no tuned model that is published, no model's name."""
    live = _live(config, environment)
    found = recorded(version, answer, live.record if live else None, looked_up=looked_up)
    if found is None or not found.model:
        return None
    found = _pinned(config.project, found)
    asked = Promotion.objects.filter(prompt=config.holder, environment=environment).select_related("version")
    newest = asked.order_by("-id").first()
    was_refused = newest is not None and newest.status in REFUSED and stated(newest.version).record == found
    if (live and found == live.record) or was_refused or asked.filter(status__in=UNDECIDED).exists():
        return None
    return found


def recorded(version: PromptVersion, answer: str, now: Record | None, *, looked_up: bool) -> Record | None:
    """What an answer makes of a version: its own settings, the tuned model where that is part of the answer, and facts
    looked up where they change."""
    if answer == strategy.UNKNOWN:
        return None
    settings: Mapping[str, Any] = version.content.get("model", {})
    form = version.content.get("response", {}).get("format", "text")
    is_looked_up = looked_up or answer == strategy.RETRIEVAL
    collection = (now.collection if now else "") or USUAL_COLLECTION
    base = Record(
        strategy="prompt",
        model=str(settings.get("name") or ""),
        prompt=f"{version.prompt.name}@{version.number}",
        max_tokens=settings.get("max_tokens"),
        temperature=settings.get("temperature"),
        response_format="text" if form == "text" else "json",
        retrieval=is_looked_up,
        collection=collection if is_looked_up else "",
    )
    if not strategy.TUNING[answer]:
        return base
    rows = TunedModel.objects.filter(job__training_set__source__prompt=version.prompt, job__cross_validation=None)
    model = rows.filter(published__isnull=False, model__isnull=False).order_by("-id").select_related("model").first()
    if model is None or model.model is None or model.published is None:
        return None
    reference = f"{version.prompt.name}@{model.published.number}"
    return replace(base, strategy=answer, model=model.model.name, prompt=reference)


def _live(config: InferenceConfig, environment: Environment) -> Stated | None:
    rows = Release.objects.filter(prompt=config.holder, environment=environment).select_related("version")
    release = rows.order_by("-number").first()
    return stated(release.version) if release else None


def look(environment_name: str) -> list[Promotion]:
    """Recommend anew for every config that follows a prompt; another answer than what is live, where it is sure enough,
    opens a promotion. Beat calls it once a day; safe to repeat."""
    made = []
    for config in loaded().filter(follows__isnull=False):
        environment = Environment.objects.filter(project=config.project, name=environment_name).first()
        if environment is None or config.follows is None:
            continue
        actor = replace(access.command_line(config.project), name="strategy")
        config.follows.project = config.project
        try:
            found = _news(actor, config, environment)
        except Problem as problem:
            audit.record(actor, "config.not_proposed", config, after={"why": problem.detail[:500]})
            continue
        made += [found] if found else []
    return made


def _news(actor: Actor, config: InferenceConfig, environment: Environment) -> Promotion | None:
    followed = config.follows
    if followed is None:
        return None
    found = recommendations.drafted(config.project, prompt=followed, environment=environment.name)
    answer, sure = str(found.result["strategy"]), float(found.result["confidence"])
    if sure < SURE or found.known is None:
        return None
    # A trimmed prompt is somebody's to write: what is asked stays as it is until then.
    looked_up = evidence.is_so(found.inputs, "dynamic_knowledge")
    if wanted(config, environment, found.known.version, answer, looked_up=looked_up) is None:
        return None
    kept = recommendations.recommend(actor, prompt=followed, environment=environment.name)
    return propose_from(actor, config, recommendations.numbered(config.project, kept.pk), environment)
