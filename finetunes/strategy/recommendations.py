"""Recommendations: made and saved with their evidence, and compared later with the outcome."""

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
from finetunes.strategy import decision, evidence, evidence_collector, published_decision
from finetunes.strategy import policy as policies
from finetunes.strategy.evidence import Evidence, Figure
from finetunes.strategy.evidence_collector import PromptEvidence
from finetunes.strategy.monthly_volume import monthly_volume_of
from finetunes.strategy.policy import Policy
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.models import Project, Prompt, PromptVersion
from registry.promotions import environments
from registry.prompts import lifecycle as prompts
from registry.prompts import resolution

PUBLISHED_POLICY, DEFAULT_POLICY = "seed", "default"
# Arguments of the published function, and the inputs that they are.
METRICS: Mapping[str, str] = {
    "monthly_tokens": "monthly_tokens",
    "avg_latency_ms": "latency_ms",
    "format_error_rate": "format_error_rate",
    "dev_cost_hours": "dev_cost_hours",
}
# The relative error within which a predicted volume counts as right.
VOLUME_TOLERANCE = 0.25


@dataclass(frozen=True)
class Outcome:
    """Outcome of a recommendation: whether it was followed, and the volume now beside the predicted one."""

    was_followed: bool | None
    predicted_tokens: float | None
    tokens_now: float | None

    @property
    def came_true(self) -> bool | None:
        """Say whether the volume is about as predicted; None where it is not known yet."""
        if not self.predicted_tokens or self.tokens_now is None:
            return None
        return abs(self.tokens_now / self.predicted_tokens - 1) <= VOLUME_TOLERANCE


def current_policy(project: Project) -> tuple[Policy, int]:
    """Return the project's policy and its number; 0 is Cuebook's default."""
    newest = StrategyPolicy.objects.filter(project=project).order_by("-number").first()
    return (Policy(**newest.members), newest.number) if newest else (policies.DEFAULT_POLICY, 0)


@transaction.atomic
def set_policy(actor: Actor, document: Mapping[str, Any], *, seen: int | None = None) -> StrategyPolicy:
    """Make the next version of the project's policy; missing members stay as they are. `seen` is the number of the
    version that the user edited: `request.precondition` where it is no longer the newest."""
    actor.require(Right.ADMINISTER)
    # Concurrent changes wait for each other here.
    Project.objects.select_for_update(no_key=True).get(pk=actor.project.pk)
    current, number = current_policy(actor.project)
    if seen is not None and seen != number:
        raise Problem("request.precondition", f"Policy {number} was saved in the meantime; review it first.")
    policy = policies.read_policy(document, current)
    row = StrategyPolicy.objects.create(
        project=actor.project, number=number + 1, members=policy.as_dict(), by_name=actor.name
    )
    changed = {name: value for name, value in policy.as_dict().items() if value != getattr(current, name)}
    before = {name: getattr(current, name) for name in changed}
    audit.record(actor, "strategy_policy.set", row, before=before, after=changed)
    return row


def read_metrics(document: Mapping[str, Any]) -> dict[str, float]:
    """Read the published function's four metrics; raises `strategy.invalid` with every fault."""
    sentence = f"Metrics are: {', '.join(METRICS)}."
    faults = [Fault(f"/metrics/{name}", "unknown", sentence) for name in sorted(document.keys() - METRICS.keys())]
    metrics: dict[str, float] = {}
    for name in METRICS:
        value = document.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            faults.append(Fault(f"/metrics/{name}", "type", "Must be a number."))
        elif not abs(value) <= evidence.MAX_VALUE:
            faults.append(Fault(f"/metrics/{name}", "range", f"Must be at most {evidence.MAX_VALUE:g}."))
        else:
            metrics[name] = float(value)
    if faults:
        raise Problem("strategy.invalid", faults[0].message, faults=faults)
    return metrics


def _evidence_from_metrics(policy: Policy, metrics: Mapping[str, Any]) -> dict[str, Figure]:
    """Make evidence from metrics in a request; missing metrics are not known, and prices are the policy's."""
    sentence = f"Metrics are: {', '.join(METRICS)}."
    unknown = sorted(metrics.keys() - METRICS.keys())
    if unknown:
        faults = [Fault(f"/metrics/{name}", "unknown", sentence) for name in unknown]
        raise Problem("strategy.invalid", sentence, faults=faults)
    by_input = {METRICS[name]: value for name, value in metrics.items() if value is not None}
    return {**evidence_collector.default_figures(policy), **evidence.read_inputs(by_input, "/metrics")}


@dataclass(frozen=True)
class RecommendationDraft:
    """A recommendation that is not saved yet."""

    prompt_evidence: PromptEvidence | None
    policy: str
    number: int
    members: Mapping[str, Any]
    inputs: Evidence
    result: Mapping[str, Any]


def draft(
    project: Project,
    *,
    prompt: Prompt | None = None,
    version: PromptVersion | None = None,
    metrics: Mapping[str, Any] | None = None,
    inputs: Mapping[str, Any] | None = None,
    policy: str = DEFAULT_POLICY,
    environment: str = DEFAULT_ENVIRONMENT,
) -> RecommendationDraft:
    """Recommend without saving: for a prompt, from its evidence and the inputs entered (which take precedence), or from
    metrics alone."""
    if policy not in (PUBLISHED_POLICY, DEFAULT_POLICY):
        sentence = "policy is seed or default."
        raise Problem("strategy.invalid", sentence, faults=[Fault("/policy", "choice", sentence)])
    if (prompt is None) == (metrics is None):
        sentence = "Give either a prompt or metrics."
        raise Problem("strategy.invalid", sentence, faults=[Fault("/metrics", "required", sentence)])
    rules, number = current_policy(project)
    prompt_evidence = evidence_collector.collect(prompt, rules, environment, version) if prompt else None
    if policy == PUBLISHED_POLICY:
        exact_metrics = (
            read_metrics(metrics) if metrics is not None else _published_metrics(prompt_evidence, inputs or {})
        )
        published = published_decision.Metrics(**exact_metrics)
        # JSON in the database has no negative zero, and the published function has.
        exact = {name: value or str(value) for name, value in asdict(published).items()}
        result = {**published_decision.answer_as_dict(published), "metrics": exact}
        return RecommendationDraft(
            prompt_evidence, PUBLISHED_POLICY, 0, {}, _metrics_as_figures(prompt_evidence, exact_metrics), result
        )
    typed = evidence.read_inputs(inputs or {})
    figures = {**(prompt_evidence.inputs if prompt_evidence else _evidence_from_metrics(rules, metrics or {})), **typed}
    return RecommendationDraft(
        prompt_evidence, DEFAULT_POLICY, number, rules.as_dict(), figures, decision.recommend(figures, rules).as_dict()
    )


@transaction.atomic
def recommend(actor: Actor, **request: Any) -> StrategyRecommendation:
    """Recommend as `draft` does, and save the recommendation with its evidence. Viewers may do this; a key that may
    only read leaves no rows."""
    actor.require(Right.SEE if actor.key is None else Right.EDIT)
    unsaved = draft(actor.project, **request)
    prompt_evidence = unsaved.prompt_evidence
    recommendation = StrategyRecommendation.objects.create(
        project=actor.project,
        prompt=prompt_evidence.prompt if prompt_evidence else None,
        version=prompt_evidence.version if prompt_evidence else None,
        environment=prompt_evidence.environment if prompt_evidence else "",
        policy=unsaved.policy,
        policy_number=unsaved.number,
        policy_members=dict(unsaved.members),
        inputs=evidence.inputs_as_dict(unsaved.inputs),
        strategy=str(unsaved.result["strategy"]),
        result=dict(unsaved.result),
        is_simulation=prompt_evidence.is_simulation if prompt_evidence else False,
        by=actor.user,
        by_key=actor.key,
        by_name=actor.name,
    )
    audit.record(
        actor,
        "strategy.recommended",
        recommendation,
        after={"strategy": recommendation.strategy, "policy": recommendation.policy},
    )
    return recommendation


def _published_metrics(prompt_evidence: PromptEvidence | None, typed: Mapping[str, Any]) -> dict[str, float]:
    figures = {**(prompt_evidence.inputs if prompt_evidence else {}), **evidence.read_inputs(typed)}
    missing = [name for name, input_name in METRICS.items() if input_name not in figures]
    if missing:
        names = ", ".join(evidence.INPUTS[METRICS[name]].title.lower() for name in missing)
        sentence = f"Not measured: {names}. Measure it, or enter it."
        raise Problem("strategy.not_measured", sentence, missing=missing)
    return {name: figures[input_name].value for name, input_name in METRICS.items()}


def _metrics_as_figures(prompt_evidence: PromptEvidence | None, metrics: Mapping[str, float]) -> dict[str, Figure]:
    figures = prompt_evidence.inputs if prompt_evidence else {}
    return {
        input_name: figures[input_name]
        if input_name in figures and figures[input_name].value == metrics[name]
        else _exact_figure(metrics[name])
        for name, input_name in METRICS.items()
    }


def _exact_figure(value: float) -> Figure:
    return Figure(value, value, value, evidence.Origin.ASSUMED, "entered")


def recompute(recommendation: StrategyRecommendation) -> dict[str, Any]:
    """Compute a saved recommendation again from its saved inputs, to audit it."""
    if recommendation.policy == PUBLISHED_POLICY:
        exact = {name: float(value) for name, value in recommendation.result["metrics"].items()}
        return published_decision.answer_as_dict(published_decision.Metrics(**exact))
    return decision.recommend(
        evidence.inputs_from_dict(recommendation.inputs), Policy(**recommendation.policy_members)
    ).as_dict()


def includes_tuning(recommendation: StrategyRecommendation) -> bool:
    """Say whether a tuned model is part of the answer."""
    return decision.TUNING.get(recommendation.strategy, 0) > 0


def outcome(
    recommendation: StrategyRecommendation, prompt_evidence: PromptEvidence, published_at: Sequence[datetime]
) -> Outcome:
    """Return the outcome of a recommendation: whether publishing a tuned model since, or not, agrees with it, and the
    volume now, computed in the same way as the predicted one."""
    followed = None
    if recommendation.strategy != decision.UNKNOWN:
        followed = any(at > recommendation.created_at for at in published_at) == includes_tuning(recommendation)
    predicted = recommendation.inputs.get("monthly_tokens")
    now = monthly_volume_of(prompt_evidence.prompt, prompt_evidence.live).tokens_a_month(prompt_evidence.run)
    return Outcome(followed, predicted["value"] if predicted else None, now.value if now else None)


def recommendations_with_related() -> QuerySet[StrategyRecommendation]:
    """Recommendations with their related rows."""
    return StrategyRecommendation.objects.select_related("project", "prompt", "version__prompt", "by")


def get_recommendation(project: Project, number: int) -> StrategyRecommendation:
    """Return the project's recommendation with this number, or raise `strategy.not_found`."""
    recommendation = recommendations_with_related().filter(project=project, pk=number).first()
    if recommendation is None:
        raise Problem("strategy.not_found", f"There is no recommendation {number}.")
    return recommendation


def read_request(project: Project, document: Mapping[str, Any]) -> dict[str, Any]:
    """Read a request for a recommendation: `prompt` (support.route@production) or `metrics`, `inputs`, `policy`. Calls
    are counted in the prompt's environment; with any other selector, in production."""
    request: dict[str, Any] = {
        "metrics": document.get("metrics"),
        "inputs": document.get("inputs") or {},
        "policy": document.get("policy") or DEFAULT_POLICY,
    }
    text = document.get("prompt")
    if not text:
        return request
    reference = parse_reference(str(text))
    request["prompt"] = prompts.get_prompt(project, reference.name)
    if isinstance(reference.selector, EnvironmentSelector):
        environments.get_environment(project, reference.selector.name)
        return {**request, "environment": reference.selector.name}
    return {**request, "version": resolution.resolve(project, reference)}
