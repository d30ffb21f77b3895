"""Inference configs that follow a prompt's recommendations: another answer than what is live opens a promotion."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from core.errors import Problem
from finetunes.models import StrategyRecommendation, TunedModel
from finetunes.strategy import decision, evidence, recommendations
from inference.configs import lifecycle as configs
from inference.configs.record import Record
from inference.models import InferenceConfig
from registry.accounts import audit, permissions
from registry.accounts.permissions import Actor
from registry.models import UNDECIDED, Environment, Promotion, PromotionStatus, PromptVersion
from registry.promotions import workflow

# So sure has a recommendation to be before it opens a promotion by itself.
MIN_CONFIDENCE = 0.8
REFUSED = (PromotionStatus.REJECTED, PromotionStatus.WITHDRAWN)
# Where retrieval looks when the config does not say.
DEFAULT_COLLECTION = "knowledge-base"


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
    reason = f"Recommendation {kept.pk}: {decision.TITLES[kept.strategy].lower()}. {kept.result['reasons'][0]}"
    _, made = configs.commit(actor, config.task, found.as_dict(), message=reason[:500])
    return workflow.request(actor, config.holder, made.version, environment, reason=reason)


def wanted(
    config: InferenceConfig, environment: Environment, version: PromptVersion, answer: str, *, looked_up: bool
) -> Record | None:
    """The record that an answer comes to. None where it is live already, a promotion waits, people have rejected just
    that last time, or nothing can be said: too little evidence, no tuned model that is published, no model's name."""
    live = configs.live_statement(config, environment)
    found = recorded(version, answer, live.record if live else None, looked_up=looked_up)
    if found is None or not found.model:
        return None
    found = configs.pinned(config.project, found)
    asked = Promotion.objects.filter(prompt=config.holder, environment=environment).select_related("version")
    newest = asked.order_by("-id").first()
    was_refused = newest is not None and newest.status in REFUSED and configs.stated(newest.version).record == found
    if (live and found == live.record) or was_refused or asked.filter(status__in=UNDECIDED).exists():
        return None
    return found


def recorded(version: PromptVersion, answer: str, now: Record | None, *, looked_up: bool) -> Record | None:
    """What an answer makes of a version: its own settings, the tuned model where that is part of the answer, and facts
    looked up where they change."""
    if answer == decision.UNKNOWN:
        return None
    settings: Mapping[str, Any] = version.content.get("model", {})
    form = version.content.get("response", {}).get("format", "text")
    is_looked_up = looked_up or answer == decision.RETRIEVAL
    collection = (now.collection if now else "") or DEFAULT_COLLECTION
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
    if not decision.TUNING[answer]:
        return base
    rows = TunedModel.objects.filter(job__training_set__source__prompt=version.prompt, job__cross_validation=None)
    model = rows.filter(published__isnull=False, model__isnull=False).order_by("-id").select_related("model").first()
    if model is None or model.model is None or model.published is None:
        return None
    reference = f"{version.prompt.name}@{model.published.number}"
    return replace(base, strategy=answer, model=model.model.name, prompt=reference)


def look(environment_name: str) -> list[Promotion]:
    """Recommend anew for every config that follows a prompt; another answer than what is live, where it is sure enough,
    opens a promotion. Beat calls it once a day; safe to repeat."""
    made = []
    for config in configs.loaded().filter(follows__isnull=False):
        environment = Environment.objects.filter(project=config.project, name=environment_name).first()
        if environment is None or config.follows is None:
            continue
        actor = replace(permissions.command_line(config.project), name="strategy")
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
    if sure < MIN_CONFIDENCE or found.known is None:
        return None
    # A trimmed prompt is somebody's to write: what is asked stays as it is until then.
    looked_up = evidence.is_so(found.inputs, "dynamic_knowledge")
    if wanted(config, environment, found.known.version, answer, looked_up=looked_up) is None:
        return None
    kept = recommendations.recommend(actor, prompt=followed, environment=environment.name)
    return propose_from(actor, config, recommendations.numbered(config.project, kept.pk), environment)
