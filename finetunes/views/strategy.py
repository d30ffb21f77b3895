"""Pages of strategy: the recommendation for a prompt with its evidence, what-if, saved recommendations and reports."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from core.errors import Problem
from core.references import DEFAULT_ENVIRONMENT
from finetunes.guides.checklist import checklist_for
from finetunes.models import StrategyRecommendation, TunedModel
from finetunes.presentation import address_of, checklist_rows
from finetunes.strategy import benchmarks, config_proposals, costs, decision, evidence, recommendations, report
from finetunes.strategy import policy as policies
from finetunes.strategy.evidence import INPUTS, Figure, Origin
from finetunes.strategy.evidence_collector import PromptEvidence, price_from_summary
from finetunes.strategy.policy import Policy
from finetunes.strategy.recommendations import RecommendationDraft
from inference.configs import lifecycle as configs
from infra.charts import CurveChart, curve_chart
from registry.accounts.permissions import Actor, Right
from registry.models import Environment
from registry.promotions import environments
from registry.prompts import lifecycle as prompts
from registry.views.frame import (
    PAGE_SIZE,
    decimal,
    done,
    errors_of,
    in_project,
    only_post,
    page,
    page_url,
    refused,
    whole,
)

# Inputs with a slider, each by a factor of ten either way in forty steps; unmeasured ones are typed in.
SLIDERS = ("monthly_tokens", "latency_ms", "format_error_rate", "dev_cost_hours", "prompt_price", "tuned_price")
MAX_STEP, STEPS_A_TENFOLD = 20, 20
FLAGS = ("dynamic_knowledge", "complex_reasoning", "consistent_style")
POINTS = 24
MAX_HISTORY_SHOWN = 10


@in_project
def strategy_page(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """Show the recommendation for a prompt with its evidence. With POST, save it."""
    prompt = prompts.get_prompt(actor.project, name)
    environment = environments.get_environment(
        actor.project, request.GET.get("environment") or DEFAULT_ENVIRONMENT
    ).name
    if request.method == "POST":
        try:
            typed = _typed(actor, name, environment, request.POST)
            recommendation = recommendations.recommend(actor, prompt=prompt, environment=environment, inputs=typed)
        except Problem as problem:
            return refused(request, problem, page_url("finetunes:strategy", actor, name))
        address = page_url("finetunes:recommendation-detail", actor, recommendation.pk)
        return done(request, "Recommendation saved, with its evidence", address)
    try:
        context = _answer_context(actor, name, environment, request.GET)
    except Problem as problem:
        return refused(request, problem, _prompt_page(actor, name))
    prompt_evidence: PromptEvidence = context["prompt_evidence"]
    context |= {
        "section": "prompts",
        "environment": environment,
        "benchmark": _benchmark(prompt_evidence, recommendations.current_policy(actor.project)[0]),
        "published": benchmarks.PUBLISHED,
        "checklist": checklist_rows(checklist_for(prompt_evidence), actor.project.slug),
        "history": _history(prompt_evidence),
    }
    return page(request, actor, "finetunes/strategy.html", context)


@in_project
def strategy_answer(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """Show the recommendation alone, while the user moves its inputs."""
    environment = environments.get_environment(
        actor.project, request.GET.get("environment") or DEFAULT_ENVIRONMENT
    ).name
    context = _answer_context(actor, name, environment, request.GET)
    return render(request, "finetunes/_strategy_answer.html", {"project": actor.project, **context})


def _prompt_page(actor: Actor, name: str) -> str:
    return f"/p/{actor.project.slug}/prompts/{name}/"


def _answer_context(actor: Actor, name: str, environment: str, form: Mapping[str, str]) -> dict[str, Any]:
    prompt = prompts.get_prompt(actor.project, name)
    plain = recommendations.draft(actor.project, prompt=prompt, environment=environment)
    typed, faults = _read(plain.inputs, form)
    draft = plain
    if typed:
        draft = recommendations.draft(actor.project, prompt=prompt, environment=environment, inputs=typed)
    prompt_evidence = draft.prompt_evidence
    policy = Policy(**draft.members)
    return {
        "prompt": prompt,
        "prompt_evidence": prompt_evidence,
        "version": prompt_evidence.version if prompt_evidence else None,
        "result": draft.result,
        "is_simulation": prompt_evidence.is_simulation if prompt_evidence else False,
        "published_result": _published_result(actor, draft),
        "moved": bool(typed),
        "faults": faults,
        "inputs": [
            (key, kind, _with_address(actor, draft.inputs[key]), _figure_text(key, draft.inputs[key]))
            for key, kind in INPUTS.items()
            if key in draft.inputs
        ],
        "sliders": [
            (key, INPUTS[key], form.get(f"w-{key}", "0"), decision.format_amount(draft.inputs[key].value, key))
            for key in SLIDERS
            if key in plain.inputs
        ],
        "unmeasured": [
            (key, INPUTS[key], decision.unit_title(key), form.get(f"t-{key}", ""))
            for key in SLIDERS
            if key not in plain.inputs
        ],
        "flags": [(key, INPUTS[key], bool(form.get(f"f-{key}"))) for key in FLAGS],
        "crossing": _crossing(draft, policy),
        "totals": _totals(draft.result),
        "limits": _limits(draft, policy),
        "policy": policy,
        "policy_number": draft.number,
    }


def _typed(actor: Actor, name: str, environment: str, form: Mapping[str, str]) -> dict[str, Any]:
    prompt = prompts.get_prompt(actor.project, name)
    plain = recommendations.draft(actor.project, prompt=prompt, environment=environment)
    typed, faults = _read(plain.inputs, form)
    if faults:
        raise Problem("strategy.invalid", faults[0])
    return typed


def _read(measured: Mapping[str, Figure], form: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """Read what was moved or typed in; what cannot be read is left out, with a fault."""
    typed: dict[str, Any] = {}
    faults: list[str] = []
    for key in SLIDERS:
        text = (form.get(f"w-{key}") if key in measured else form.get(f"t-{key}")) or ""
        number = decimal(text) if text.strip() else 0.0
        if number is None:
            faults.append(f"{INPUTS[key].title} is not a number: {text[:40]}")
            continue
        if not number and (key in measured or not text.strip()):
            continue
        if key in measured:
            step = max(-MAX_STEP, min(MAX_STEP, number))
            typed[key] = min(measured[key].value * 10 ** (step / STEPS_A_TENFOLD), INPUTS[key].maximum)
        else:
            typed[key] = number
    typed |= {key: True for key in FLAGS if form.get(f"f-{key}")}
    try:
        evidence.read_inputs(typed)
    except Problem as problem:
        refused_inputs = [
            f"{INPUTS[fault.pointer.rsplit('/', 1)[-1]].title}: {fault.message}" for fault in problem.faults
        ]
        return {}, [*faults, *refused_inputs]
    return typed, faults


def _with_address(actor: Actor, figure: Figure) -> Figure:
    return replace(figure, link=address_of(figure.link, actor.project.slug))


def _figure_text(key: str, figure: Figure) -> str:
    value = decision.format_amount(figure.value, key)
    if figure.low == figure.high or figure.origin != Origin.MEASURED:
        return value
    low, high = (decision.format_amount(end, key).split(" ")[0] for end in (figure.low, figure.high))
    return f"{value} ({low} to {high})"


def _limits(draft: RecommendationDraft, policy: Policy) -> list[tuple[str, str, str, str, bool | None, bool | None]]:
    """Return the figures with a limit: title, now, tuned, limit, whether now is beyond it, whether tuned is."""
    quality = draft.inputs.get("quality")
    rows: list[Any] = [
        (
            *("Quality", decision.format_amount(quality.value, "quality") if quality else "–", "–"),
            *(f"{policy.min_quality:.1%} at least", quality.value < policy.min_quality if quality else None, None),
        )
    ]
    for title, key, limit in (
        ("Mean latency", "latency_ms", policy.latency_sla_ms),
        ("Format errors", "format_error_rate", policy.format_error_rate),
    ):
        figures = [draft.inputs.get(key), draft.inputs.get(f"tuned_{key}")]
        texts = [decision.format_amount(figure.value, key) if figure else "–" for figure in figures]
        over = [figure.value > limit if figure else None for figure in figures]
        rows.append((title, *texts, f"{decision.format_amount(limit, key)} at most", *over))
    return rows


def _published_result(actor: Actor, draft: RecommendationDraft) -> Mapping[str, Any] | None:
    """Return the result of the published function for the same figures; None where one of them is missing."""
    names = recommendations.METRICS
    if any(key not in draft.inputs for key in names.values()):
        return None
    metrics = {name: draft.inputs[key].value for name, key in names.items()}
    return recommendations.draft(actor.project, metrics=metrics, policy=recommendations.PUBLISHED_POLICY).result


def _crossing(draft: RecommendationDraft, policy: Policy) -> CurveChart | None:
    """Plot total cost against volume, up to some multiple of the present and of the break-even volume."""
    volume = draft.inputs.get("monthly_tokens")
    even = draft.result.get("break_even_tokens")
    if volume is None:
        return None
    furthest = max(2 * volume.value, 2 * min(even or 0.0, 20 * volume.value), 1e6)
    volumes = [furthest * place / POINTS for place in range(POINTS + 1)]
    lines = costs.totals_over_volume(draft.inputs, policy, volumes, ("prompt", "fine-tune", "hybrid"))
    series = [(name, [(tokens / 1e6, dollars) for tokens, dollars in pairs]) for name, pairs in lines.items()]
    title = f"US dollars in {policy.horizon_months:g} months"
    return curve_chart("crossing", title, series, across="million tokens a month")


def _totals(result: Mapping[str, Any]) -> list[tuple[str, Mapping[str, float], float | None]]:
    """Return the costs of each approach, the cheapest first: title, total with its range, and of 1,000 calls."""
    ranges, by_call = result.get("tco_usd") or {}, result.get("cost_per_1000_calls_usd") or {}
    rows = [(decision.TITLES[name], ranges[name], by_call.get(name)) for name in costs.APPROACHES if name in ranges]
    return sorted(rows, key=lambda row: row[1]["value"])


def _benchmark(prompt_evidence: PromptEvidence, policy: Policy) -> list[benchmarks.BenchmarkRow]:
    runs = prompt_evidence.by_approach
    # Prices of all are for the same tokens: those of the prompt alone, where it was measured.
    prompt_run = runs[benchmarks.PROMPT] or prompt_evidence.run
    run_summary = (prompt_run.summary or {}) if prompt_run else {}
    input_tokens = (run_summary.get("tokens_in") or {}).get("value")
    rows = []
    for approach, run in runs.items():
        if run is None:
            continue
        price = price_from_summary(run.summary or {}, input_tokens)
        rows.append(benchmarks.measured_row(approach, run.summary or {}, price[0] if price else None, policy, run.pk))
    return rows


def _history(prompt_evidence: PromptEvidence) -> list[tuple[StrategyRecommendation, recommendations.Outcome]]:
    rows = (
        recommendations.recommendations_with_related()
        .filter(prompt=prompt_evidence.prompt)
        .order_by("-id")[:MAX_HISTORY_SHOWN]
    )
    models = TunedModel.objects.filter(
        job__training_set__source__prompt=prompt_evidence.prompt, published__isnull=False
    )
    published = list(models.values_list("published__created_at", flat=True))
    return [(row, recommendations.outcome(row, prompt_evidence, published)) for row in rows]


@in_project
def recommendation_list(request: HttpRequest, actor: Actor) -> HttpResponse:
    rows = recommendations.recommendations_with_related().filter(project=actor.project).order_by("-id")
    context: dict[str, Any] = {
        "section": "strategy",
        "page": Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page")),
    }
    context["titles"] = decision.TITLES
    return page(request, actor, "finetunes/recommendation_list.html", context)


@in_project
def recommendation_detail(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    """Show a saved recommendation, to print and to audit."""
    recommendation = recommendations.get_recommendation(actor.project, key)
    again = recommendations.recompute(recommendation)
    inputs = evidence.inputs_from_dict(recommendation.inputs)
    context: dict[str, Any] = {
        "section": "strategy",
        "recommendation": recommendation,
        "result": recommendation.result,
        "title": decision.TITLES.get(recommendation.strategy, recommendation.strategy),
        "inputs": [
            (name, INPUTS[name], _with_address(actor, figure), _figure_text(name, figure))
            for name, figure in inputs.items()
        ],
        "is_same": again["strategy"] == recommendation.strategy
        and again["reasons"] == recommendation.result["reasons"],
        "totals": _totals(recommendation.result),
    }
    if recommendation.prompt_id:
        context["configs"] = configs.configs_with_related().filter(project=actor.project)
        context["environments"] = Environment.objects.filter(project=actor.project).order_by("position")
    return page(request, actor, "finetunes/recommendation_detail.html", context)


@in_project
@only_post
def recommendation_propose(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    """Request the promotion of an inference config that follows the recommendation."""
    address = page_url("finetunes:recommendation-detail", actor, key)
    try:
        recommendation = recommendations.get_recommendation(actor.project, key)
        config = configs.get_config(actor.project, request.POST.get("task", ""))
        environment = environments.get_environment(actor.project, request.POST.get("environment", ""))
        promotion = config_proposals.propose_from(actor, config, recommendation, environment)
        if promotion is None:
            sentence = "Nothing to propose: it is followed, a promotion is open, or no tuned model is published."
            raise Problem("config.nothing_new", sentence)
    except Problem as problem:
        return refused(request, problem, address)
    return redirect(reverse("registry:promotion-detail", args=[actor.project.slug, promotion.pk]))


@in_project
def recommendation_report(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    """Return the recommendation as Markdown."""
    recommendation = recommendations.get_recommendation(actor.project, key)
    response = HttpResponse(report.markdown(recommendation), content_type="text/markdown; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="recommendation-{recommendation.pk}.md"'
    return response


@in_project
def policy_page(request: HttpRequest, actor: Actor) -> HttpResponse:
    """Show the policy of the project. With POST, save its next version, with the numbers that were changed."""
    policy, number = recommendations.current_policy(actor.project)
    now = {name: f"{value:.12g}" for name, value in policy.as_dict().items()}
    values = now
    context: dict[str, Any] = {"section": "strategy", "number": number}
    status = 200
    if request.method == "POST":
        actor.require(Right.ADMINISTER)
        values = {name: request.POST.get(name, "")[:40].strip() for name in now}
        changed = {name: text for name, text in values.items() if text != now[name]}
        numbers = {name: text if (value := decimal(text)) is None else value for name, text in changed.items()}
        try:
            recommendations.set_policy(actor, numbers, seen=whole(request.POST.get("seen", "")))
            return done(
                request,
                "Policy saved",
                page_url("finetunes:strategy-policy", actor),
            )
        except Problem as problem:
            context["errors"] = errors_of(problem)
            status = problem.kind.status
    errors = context.get("errors", {})
    context["rows"] = [
        (name, title, unit, values[name], errors.get(name, "")) for name, (title, unit) in policies.TITLES.items()
    ]
    return page(request, actor, "finetunes/policy.html", context, status=status)
