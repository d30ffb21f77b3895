"""Plans: all that a call of a task or a prompt needs, read from the database once and kept in memory."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import close_old_connections

from core.errors import Problem
from core.references import DEFAULT_ENVIRONMENT, Reference, parse_reference
from evaluations.models import ProviderModel
from evaluations.providers import configuration as providers
from evaluations.providers import profiles
from evaluations.providers.chat import Endpoint
from evaluations.providers.prices import Price
from inference.configs import lifecycle as configs
from inference.configs.record import Record
from inference.gateway.inputs import InputPlaces, input_places
from inference.gateway.request_reading import PROMPT, Target
from inference.models import InferenceConfig
from inference.texts.policy import KeptTexts, policy_of
from registry.accounts import api_keys, permissions
from registry.accounts.key_limits import NO_LIMITS, DailyLimits, limits_of
from registry.accounts.permissions import Right
from registry.content.model_profiles.facts import ModelProfile
from registry.examples import few_shot
from registry.models import Environment, Project, PromptVersion
from registry.prompts import includes, resolution, versions
from registry.prompts.versions import renderer_pool
from registry.retrieval import context


@dataclass(frozen=True)
class Caller:
    """Whoever calls: a key of a project."""

    key: int
    project: int
    rights: frozenset[Right]
    expires_at: datetime | None
    # Of calls that name no environment.
    environment: str = DEFAULT_ENVIRONMENT
    # Its public id, by which records name it; and what it may ask on a day.
    key_id: str = ""
    limits: DailyLimits = NO_LIMITS


@dataclass(frozen=True)
class Route:
    """One way to ask: a version, through a model. `parameters` are the config's, in place of the version's own."""

    name: str
    version: int
    version_name: str
    content: Mapping[str, Any]
    partials: Mapping[str, Any]
    # The examples that are the same for each call.
    picks: few_shot.Picks | None
    places: InputPlaces
    # The names of all variables that the version uses, placeholders among them.
    variables: frozenset[str]
    model: str
    endpoint: Endpoint
    profile: ModelProfile
    price: Price | None
    is_simulation: bool
    parameters: Mapping[str, Any] = field(default_factory=dict)


# What a config asks that names no prompt: the messages of the call, as they come.
MESSAGES = "messages"
MESSAGES_ALONE: Mapping[str, Any] = {"kind": "chat", "messages": [{"role": "placeholder", "name": MESSAGES}]}


@dataclass(frozen=True)
class Plan:
    """How a target is asked now: its route, and the one that is taken where that fails; what its config says of time,
    repair and kept answers (inference.configs.record)."""

    project: int
    environment: str
    route: Route
    fallback: Route | None = None
    config_hash: str = ""
    timeout_seconds: float | None = None
    repair: bool = False
    cache_seconds: int | None = None
    # What the project keeps of its calls' texts.
    texts: KeptTexts = field(default_factory=KeptTexts)
    # What its config names and nobody can find: the calls do without.
    warnings: tuple[str, ...] = ()
    # The arm of an experiment that it is the plan of: run, step and arm.
    exposure: Mapping[str, Any] | None = None
    # What is asked beside its calls, and served to nobody.
    shadows: "tuple[Shadow, ...]" = ()


@dataclass(frozen=True)
class Shadow:
    """An arm that is asked beside what is served: the key of its row, its plan, of how many calls in 10,000, and for
    how many US dollars a day at most."""

    arm: int
    plan: Plan
    weight: int
    daily_dollars: Decimal


def load_caller(token: str) -> Caller:
    """Return who a token belongs to; `auth.invalid_key`, or `access.denied` for a key without the scope."""
    close_old_connections()
    key = api_keys.authenticate(token)
    actor = permissions.actor_for_key(key)
    actor.require(Right.INFER)
    return Caller(
        key=key.pk,
        project=key.project_id,
        rights=actor.rights,
        expires_at=key.expires_at,
        environment=key.environment or DEFAULT_ENVIRONMENT,
        key_id=key.key_id,
        limits=limits_of(key),
    )


def read_plan(project: Project, target: Target) -> Plan:
    """Return how a target of a project is asked now, or raise the Problem with it."""
    if target.kind == PROMPT:
        version = resolution.resolve(project, parse_reference(f"{target.name}@{target.selector}"))
        is_environment = Environment.objects.filter(project=project, name=target.selector).exists()
        route = _route(project, "prompt", version, version.content)
        environment = target.selector if is_environment else ""
        return Plan(project.pk, environment, route, texts=policy_of(project))
    config = configs.get_config(project, target.name)
    try:
        config_version = configs.get_config_version(config, target.selector)
    except Problem as problem:
        if problem.code != "prompt.unknown_selector":
            raise
        sentence = f"Nothing of {target.name} is live in {target.selector}, and no version of it is called so."
        raise Problem("prompt.unknown_selector", sentence) from None
    record = config_version.record
    version = _pinned(project, record.prompt) if record.prompt else config_version.version
    content = version.content if record.prompt else MESSAGES_ALONE
    if record.retrieval:
        if "retrieval" not in content:
            sentence = f"The config of {target.name} searches {record.collection}, and its prompt says not how."
            raise Problem("gateway.no_retrieval", sentence)
        # Another one than the version was written with, perhaps: that of another country.
        content = {**content, "retrieval": {**content["retrieval"], "collection": record.collection}}
    if record.response_format == "json" and content.get("response", {}).get("format", "text") == "text":
        # The version says nothing of the answer's form.
        content = {**content, "response": {"format": "json_object"}}
    route = _route(project, record.strategy, version, content, record.model, _parameters(record), record.input)
    if not record.prompt:
        route = replace(route, places=InputPlaces(history=MESSAGES, is_all=True))
    warnings = []
    fallback = None
    if record.fallback:
        try:
            version = _pinned(project, record.fallback["prompt"])
            model = record.fallback.get("model", "")
            fallback = _route(project, "fallback", version, version.content, model, {}, record.input)
        except Problem as problem:
            warnings.append(f"There is no fallback: {problem.detail}")
    for each in (route, *([fallback] if fallback else [])):
        if record.input and not each.places.is_all and each.places.question != record.input:
            sentence = f"The config takes the last message as {record.input}; {each.version_name} has no such variable."
            warnings.append(sentence)
    return Plan(
        project=project.pk,
        environment=target.selector,
        route=route,
        fallback=fallback,
        config_hash=config_version.version.content_hash,
        timeout_seconds=record.timeout_seconds,
        repair=record.repair,
        cache_seconds=record.cache_seconds,
        texts=policy_of(project),
        warnings=tuple(warnings),
    )


def list_targets(project_id: int, environment: str) -> list[str]:
    """Return the tasks that have a live config, as `model` takes them; by their name alone those of an environment,
    which is the key's own."""
    close_old_connections()
    live = InferenceConfig.objects.filter(project=project_id, holder__releases__isnull=False).order_by("task")
    pairs = list(live.values_list("task", "holder__releases__environment__name").distinct())
    own = [f"task:{task}" for task, name in pairs if name == environment]
    return [*own, *(f"task:{task}@{name}" for task, name in sorted(pairs))]


def _pinned(project: Project, reference: str) -> PromptVersion:
    parsed: Reference = parse_reference(reference)
    return resolution.resolve(project, parsed)


def _route(
    project: Project,
    name: str,
    version: PromptVersion,
    content: Mapping[str, Any],
    model: str = "",
    parameters: Mapping[str, Any] | None = None,
    question: str = "",
) -> Route:
    row = _model(project, model or str(content.get("model", {}).get("name", "")))
    context.require_collection(project, content)
    providers.require_usable(row, content, parameters)
    partials = {key: partial.content for key, partial in includes.get_partials([version]).items()}
    analysed = renderer_pool().survey(content, list(partials.values()), owner=project.pk)
    price = providers.price_of(row)
    return Route(
        name=name,
        version=version.pk,
        version_name=f"{version.prompt.name}@{version.number}",
        content=content,
        partials=partials,
        picks=versions.fixed_picks(project.pk, content),
        variables=analysed.variables,
        places=input_places(content, analysed.variables, question),
        model=row.name,
        endpoint=providers.endpoint(row.provider),
        profile=profiles.profile_of(row),
        price=price,
        is_simulation=row.provider.is_simulation,
        parameters=parameters or {},
    )


def _model(project: Project, name: str) -> ProviderModel:
    """Return the model of that name: `provider/model`, or the name alone where one provider has it."""
    if not name:
        raise Problem("gateway.no_model", "The version names no model; a config has to.")
    rows = providers.offered_models(project)
    named = [row for row in rows if str(row) == name] or [row for row in rows if row.name == name]
    if len(named) == 1:
        return named[0]
    names = " or ".join(str(row) for row in named)
    sentence = f"Several providers have {name}: name {names}." if named else f"No provider here has {name}."
    raise Problem("gateway.no_model", sentence)


def _parameters(record: Record) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    if record.max_tokens is not None:
        parameters["max_output_tokens"] = record.max_tokens
    if record.temperature is not None:
        parameters["temperature"] = record.temperature
    return parameters
