"""Recommendations: asked for, kept with all that they rest on, and held later against what came of them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from core.errors import Fault, Problem
from core.references import DEFAULT_ENVIRONMENT, parse_reference
from core.references import Environment as EnvironmentSelector
from finetunes.models import StrategyPolicy, StrategyRecommendation
from finetunes.strategy import decision, evidence, evidence_collector, published_decision, volume
from finetunes.strategy import policy as policies
from finetunes.strategy.evidence import Evidence, Figure
from finetunes.strategy.evidence_collector import Known
from finetunes.strategy.policy import Policy
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.models import Project, Prompt, PromptVersion
from registry.promotions import environments
from registry.prompts import lifecycle as prompts
from registry.prompts import resolution

SEED, DEFAULT = "seed", "default"
# What the published function is told, and what these are called here.
METRICS: Mapping[str, str] = {
    "monthly_tokens": "monthly_tokens",
    "avg_latency_ms": "latency_ms",
    "format_error_rate": "format_error_rate",
    "dev_cost_hours": "dev_cost_hours",
}
# A prediction is called true where what came is within so much of it.
NEAR = 0.25


@dataclass(frozen=True)
class Outcome:
    """What came of a recommendation: whether it was followed, and the volume since against the one it counted on."""

    was_followed: bool | None
    predicted_tokens: float | None
    tokens_now: float | None

    @property
    def came_true(self) -> bool | None:
        """Whether the volume was about as it was taken to be; None where nothing can be said yet."""
        if not self.predicted_tokens or self.tokens_now is None:
            return None
        return abs(self.tokens_now / self.predicted_tokens - 1) <= NEAR


def policy_of(project: Project) -> tuple[Policy, int]:
    """The project's policy and its number; 0 for the one that comes with Cuebook."""
    newest = StrategyPolicy.objects.filter(project=project).order_by("-number").first()
    return (Policy(**newest.members), newest.number) if newest else (policies.DEFAULT, 0)


@transaction.atomic
def set_policy(actor: Actor, given: Mapping[str, Any], *, seen: int | None = None) -> StrategyPolicy:
    """Make the next version of the project's policy; what is not given stays as it is. `seen` is the number of the one
    that was changed: `request.precondition` where it is another one by now."""
    actor.require(Right.ADMINISTER)
    # Two that set it at once wait for each other here.
    Project.objects.select_for_update(no_key=True).get(pk=actor.project.pk)
    now, number = policy_of(actor.project)
    if seen is not None and seen != number:
        raise Problem("request.precondition", f"Policy {number} has been made meanwhile; look at it first.")
    wanted = policies.read(given, now)
    made = StrategyPolicy.objects.create(
        project=actor.project, number=number + 1, members=wanted.as_dict(), by_name=actor.name
    )
    changed = {name: value for name, value in wanted.as_dict().items() if value != getattr(now, name)}
    before = {name: getattr(now, name) for name in changed}
    audit.record(actor, "strategy_policy.set", made, before=before, after=changed)
    return made


def read_metrics(given: Mapping[str, Any]) -> dict[str, float]:
    """The published function's four metrics; `strategy.invalid` with every fault."""
    sentence = f"Metrics are: {', '.join(METRICS)}."
    faults = [Fault(f"/metrics/{name}", "unknown", sentence) for name in sorted(given.keys() - METRICS.keys())]
    found: dict[str, float] = {}
    for name in METRICS:
        value = given.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            faults.append(Fault(f"/metrics/{name}", "type", "Must be a number."))
        elif not abs(value) <= evidence.LARGEST:
            faults.append(Fault(f"/metrics/{name}", "range", f"Must be at most {evidence.LARGEST:g}."))
        else:
            found[name] = float(value)
    if faults:
        raise Problem("strategy.invalid", faults[0].message, faults=faults)
    return found


def _of_metrics(policy: Policy, given: Mapping[str, Any]) -> dict[str, Figure]:
    """Evidence from typed metrics; those that are not given are not known, and prices are the policy's."""
    sentence = f"Metrics are: {', '.join(METRICS)}."
    unknown = sorted(given.keys() - METRICS.keys())
    if unknown:
        faults = [Fault(f"/metrics/{name}", "unknown", sentence) for name in unknown]
        raise Problem("strategy.invalid", sentence, faults=faults)
    named = {METRICS[name]: value for name, value in given.items() if value is not None}
    return {**evidence_collector.defaults(policy), **evidence.read(named, "/metrics")}


@dataclass(frozen=True)
class Drafted:
    """A recommendation that is not kept yet."""

    known: Known | None
    policy: str
    number: int
    members: Mapping[str, Any]
    inputs: Evidence
    result: Mapping[str, Any]


def drafted(
    project: Project,
    *,
    prompt: Prompt | None = None,
    version: PromptVersion | None = None,
    metrics: Mapping[str, Any] | None = None,
    inputs: Mapping[str, Any] | None = None,
    policy: str = DEFAULT,
    environment: str = DEFAULT_ENVIRONMENT,
) -> Drafted:
    """What would be recommended: for a prompt, from what is known of it and what was typed in beside that (which counts
    more), or from typed metrics alone. Nothing is kept."""
    if policy not in (SEED, DEFAULT):
        sentence = "policy is seed or default."
        raise Problem("strategy.invalid", sentence, faults=[Fault("/policy", "choice", sentence)])
    if (prompt is None) == (metrics is None):
        sentence = "Give either a prompt or metrics."
        raise Problem("strategy.invalid", sentence, faults=[Fault("/metrics", "required", sentence)])
    rules, number = policy_of(project)
    known = evidence_collector.of_prompt(prompt, rules, environment, version) if prompt else None
    if policy == SEED:
        wanted = read_metrics(metrics) if metrics is not None else _seed_metrics(known, inputs or {})
        seeded = published_decision.Metrics(**wanted)
        # JSON in the database has no negative zero, and the published function has.
        exact = {name: value or str(value) for name, value in asdict(seeded).items()}
        result = {**published_decision.document(seeded), "metrics": exact}
        return Drafted(known, SEED, 0, {}, _as_figures(known, wanted), result)
    typed = evidence.read(inputs or {})
    found = {**(known.inputs if known else _of_metrics(rules, metrics or {})), **typed}
    return Drafted(known, DEFAULT, number, rules.as_dict(), found, decision.recommend(found, rules).as_dict())


@transaction.atomic
def recommend(actor: Actor, **asked: Any) -> StrategyRecommendation:
    """Recommend, as `drafted` does, and keep it with all that it rests on. Whoever may see may ask."""
    actor.require(Right.SEE)
    found = drafted(actor.project, **asked)
    known = found.known
    made = StrategyRecommendation.objects.create(
        project=actor.project,
        prompt=known.prompt if known else None,
        version=known.version if known else None,
        environment=known.environment if known else "",
        policy=found.policy,
        policy_number=found.number,
        policy_members=dict(found.members),
        inputs=evidence.told(found.inputs),
        strategy=str(found.result["strategy"]),
        result=dict(found.result),
        is_simulation=known.is_simulation if known else False,
        by=actor.user,
        by_key=actor.key,
        by_name=actor.name,
    )
    audit.record(actor, "strategy.recommended", made, after={"strategy": made.strategy, "policy": made.policy})
    return made


def _seed_metrics(known: Known | None, typed: Mapping[str, Any]) -> dict[str, float]:
    found = {**(known.inputs if known else {}), **evidence.read(typed)}
    lacking = [name for name, called in METRICS.items() if called not in found]
    if lacking:
        names = ", ".join(evidence.INPUTS[METRICS[name]].title.lower() for name in lacking)
        sentence = f"Nobody knows: {names}. Measure it, or type it in."
        raise Problem("strategy.not_measured", sentence, missing=lacking)
    return {name: found[called].value for name, called in METRICS.items()}


def _as_figures(known: Known | None, wanted: Mapping[str, float]) -> dict[str, Figure]:
    there = known.inputs if known else {}
    return {
        called: there[called] if called in there and there[called].value == wanted[name] else _exactly(wanted[name])
        for name, called in METRICS.items()
    }


def _exactly(value: float) -> Figure:
    return Figure(value, value, value, evidence.Origin.ASSUMED, "typed in")


def again(kept: StrategyRecommendation) -> dict[str, Any]:
    """The same recommendation made once more from what was kept: what audits it."""
    if kept.policy == SEED:
        exact = {name: float(value) for name, value in kept.result["metrics"].items()}
        return published_decision.document(published_decision.Metrics(**exact))
    return decision.recommend(evidence.stored(kept.inputs), Policy(**kept.policy_members)).as_dict()


def tunes(kept: StrategyRecommendation) -> bool:
    """Whether a tuned model is part of the answer."""
    return decision.TUNING.get(kept.strategy, 0) > 0


def outcome(kept: StrategyRecommendation, known: Known, published_at: Sequence[datetime]) -> Outcome:
    """What came of a recommendation: whether a tuned model was published since, as it said or against it, and the
    volume of now, reckoned in the same way, against the one that it counted on."""
    followed = None
    if kept.strategy != decision.UNKNOWN:
        followed = any(at > kept.created_at for at in published_at) == tunes(kept)
    predicted = kept.inputs.get("monthly_tokens")
    now = volume.traffic_of(known.prompt, known.live).tokens_a_month(known.run)
    return Outcome(followed, predicted["value"] if predicted else None, now.value if now else None)


def loaded() -> QuerySet[StrategyRecommendation]:
    """Recommendations with what they are of."""
    return StrategyRecommendation.objects.select_related("project", "prompt", "version__prompt", "by")


def numbered(project: Project, number: int) -> StrategyRecommendation:
    """The project's recommendation with this number, or `strategy.not_found`."""
    found = loaded().filter(project=project, pk=number).first()
    if found is None:
        raise Problem("strategy.not_found", f"There is no recommendation {number}.")
    return found


def asked_for(project: Project, document: Mapping[str, Any]) -> dict[str, Any]:
    """A recommendation as it is asked for: `prompt` (support.route@production) or `metrics`, `inputs`, `policy`. A
    prompt's environment is where its calls are counted; of a version that is named otherwise, production."""
    asked: dict[str, Any] = {
        "metrics": document.get("metrics"),
        "inputs": document.get("inputs") or {},
        "policy": document.get("policy") or DEFAULT,
    }
    text = document.get("prompt")
    if not text:
        return asked
    reference = parse_reference(str(text))
    asked["prompt"] = prompts.named(project, reference.name)
    if isinstance(reference.selector, EnvironmentSelector):
        environments.named(project, reference.selector.name)
        return {**asked, "environment": reference.selector.name}
    return {**asked, "version": resolution.resolve(project, reference)}
