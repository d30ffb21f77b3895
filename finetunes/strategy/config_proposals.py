"""Promotions of inference configs that follow a prompt's recommendations, opened when the recommendation changes."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from core.errors import Problem
from core.model_settings import read_settings
from finetunes.models import StrategyRecommendation, TunedModel
from finetunes.strategy import decision, evidence, recommendations
from inference.configs import lifecycle as configs
from inference.configs.record import Record
from inference.models import InferenceConfig
from registry.accounts import audit, permissions
from registry.accounts.permissions import Actor
from registry.models import UNDECIDED, Environment, Promotion, PromotionStatus, PromptVersion
from registry.promotions import workflow

# The least confidence with which a recommendation opens a promotion by itself.
MIN_CONFIDENCE = 0.8
REFUSED_STATES = (PromotionStatus.REJECTED, PromotionStatus.WITHDRAWN)


def propose_from(
    actor: Actor, config: InferenceConfig, recommendation: StrategyRecommendation, environment: Environment
) -> Promotion | None:
    """Commit the config that a recommendation asks for and request its promotion; None where there is nothing to
    propose (`record_to_propose`)."""
    if recommendation.version is None:
        return None
    uses_retrieval = evidence.is_flag_set(evidence.inputs_from_dict(recommendation.inputs), "dynamic_knowledge")
    record = record_to_propose(
        config, environment, recommendation.version, recommendation.strategy, uses_retrieval=uses_retrieval
    )
    if record is None:
        return None
    title = decision.TITLES[recommendation.strategy].lower()
    reason = f"Recommendation {recommendation.pk}: {title}. {recommendation.result['reasons'][0]}"
    _, config_version = configs.commit(actor, config.task, record.as_dict(), message=reason[:500])
    return workflow.request(actor, config.holder, config_version.version, environment, reason=reason)


def record_to_propose(
    config: InferenceConfig, environment: Environment, version: PromptVersion, strategy: str, *, uses_retrieval: bool
) -> Record | None:
    """Return the record to propose for a strategy. None where it is live already, a promotion is open, reviewers
    rejected the same record last time, or it cannot be made: too little evidence, no published tuned model, no model
    name, nothing that is looked up by the version itself."""
    live_version = configs.live_config_version(config, environment)
    record = record_for_strategy(
        version, strategy, live_version.record if live_version else None, uses_retrieval=uses_retrieval
    )
    if record is None or not record.model:
        return None
    record = configs.pin_prompt(config.project, record)
    promotions = Promotion.objects.filter(prompt=config.holder, environment=environment).select_related("version")
    newest = promotions.order_by("-id").first()
    was_refused = (
        newest is not None
        and newest.status in REFUSED_STATES
        and configs.read_config_version(newest.version).record == record
    )
    if (
        (live_version and record == live_version.record)
        or was_refused
        or promotions.filter(status__in=UNDECIDED).exists()
    ):
        return None
    return record


def record_for_strategy(
    version: PromptVersion, strategy: str, live_record: Record | None, *, uses_retrieval: bool
) -> Record | None:
    """Make the record of a version for a strategy: its own settings, the tuned model where the strategy has one, and
    retrieval where facts change."""
    if strategy == decision.UNKNOWN:
        return None
    settings: Mapping[str, Any] = version.content.get("model", {})
    response_format = version.content.get("response", {}).get("format", "text")
    has_to_look_up = uses_retrieval or strategy == decision.RETRIEVAL
    if has_to_look_up and "retrieval" not in version.content:
        # The inference service would refuse it: what is looked up, and how, a version has to say.
        return None
    is_looked_up = has_to_look_up or bool(live_record and live_record.retrieval and "retrieval" in version.content)
    own_collection = str(version.content.get("retrieval", {}).get("collection", ""))
    collection = (live_record.collection if live_record else "") or own_collection
    base = Record(
        strategy="prompt",
        model=str(settings.get("name") or ""),
        prompt=f"{version.prompt.name}@{version.number}",
        max_tokens=read_settings(settings).max_output_tokens,
        temperature=settings.get("temperature"),
        response_format="text" if response_format == "text" else "json",
        retrieval=is_looked_up,
        collection=collection if is_looked_up else "",
    )
    if live_record:
        # What is no part of a strategy stays as it is.
        base = replace(
            base,
            input=live_record.input,
            fallback=live_record.fallback,
            timeout_seconds=live_record.timeout_seconds,
            repair=live_record.repair,
            cache_seconds=live_record.cache_seconds if base.temperature == 0 else None,
        )
    if not decision.TUNING[strategy]:
        return base
    rows = TunedModel.objects.filter(job__training_set__source__prompt=version.prompt, job__cross_validation=None)
    model = rows.filter(published__isnull=False, model__isnull=False).order_by("-id").select_related("model").first()
    if model is None or model.model is None or model.published is None:
        return None
    if is_looked_up and "retrieval" not in model.published.content:
        # The short prompt shows nothing of what would be found.
        if has_to_look_up:
            return None
        base = replace(base, retrieval=False, collection="")
    reference = f"{version.prompt.name}@{model.published.number}"
    return replace(base, strategy=strategy, model=model.model.name, prompt=reference)


def propose_changes(environment_name: str) -> list[Promotion]:
    """Recommend again for every config that follows a prompt, and open a promotion where the recommendation has enough
    confidence and differs from what is live: for whoever set it to follow, of prompts that are live themselves. Beat
    calls it once a day; safe to repeat."""
    promotions = []
    for config in configs.configs_with_related().filter(follows__isnull=False):
        environment = Environment.objects.filter(project=config.project, name=environment_name).first()
        if environment is None or config.follows is None:
            continue
        config.follows.project = config.project
        try:
            promotion = _propose_if_changed(configs.follower_of(config), config, environment)
        except Problem as problem:
            strategy = replace(permissions.actor_for_command_line(config.project), name="strategy")
            audit.record(strategy, "config.not_proposed", config, after={"why": problem.detail[:500]})
            continue
        promotions += [promotion] if promotion else []
    return promotions


def _propose_if_changed(actor: Actor, config: InferenceConfig, environment: Environment) -> Promotion | None:
    followed = config.follows
    if followed is None:
        return None
    draft = recommendations.draft(config.project, prompt=followed, environment=environment.name)
    strategy, confidence = str(draft.result["strategy"]), float(draft.result["confidence"])
    if confidence < MIN_CONFIDENCE or draft.prompt_evidence is None:
        return None
    # A shorter prompt has to be written by a user; the config keeps the old one until then.
    uses_retrieval = evidence.is_flag_set(draft.inputs, "dynamic_knowledge")
    version = draft.prompt_evidence.version
    record = record_to_propose(config, environment, version, strategy, uses_retrieval=uses_retrieval)
    if record is None:
        return None
    configs.require_live(record, environment)
    recommendation = recommendations.recommend(actor, prompt=followed, environment=environment.name)
    return propose_from(
        actor, config, recommendations.get_recommendation(config.project, recommendation.pk), environment
    )
