"""Pages of strategy: what is recommended for a prompt and why, what-if, what was recommended before, and reports."""

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

# What can be moved, each by a factor of ten either way in forty steps; what nobody has measured is typed in.
SLIDERS = ("monthly_tokens", "latency_ms", "format_error_rate", "dev_cost_hours", "prompt_price", "tuned_price")
FURTHEST, STEPS_A_TENFOLD = 20, 20
FLAGS = ("dynamic_knowledge", "complex_reasoning", "consistent_style")
POINTS = 24
HISTORY_SHOWN = 10


@in_project
def strategy_page(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """The answer first, then what it rests on. With POST, it is kept."""
    prompt = prompts.get_prompt(actor.project, name)
    environment = environments.get_environment(actor.project, request.GET.get("environment") or DEFAULT_ENVIRONMENT).name
    if request.method == "POST":
        try:
            typed = _typed(actor, name, environment, request.POST)
            made = recommendations.recommend(actor, prompt=prompt, environment=environment, inputs=typed)
        except Problem as problem:
            return refused(request, problem, page_url("finetunes:strategy", actor, name))
        return done(
            request, "Kept, with all that it rests on.", page_url("finetunes:recommendation-detail", actor, made.pk)
        )
    try:
        context = _answered(actor, name, environment, request.GET)
    except Problem as problem:
        return refused(request, problem, _prompt_page(actor, name))
    known: PromptEvidence = context["known"]
    context |= {
        "section": "prompts",
        "environment": environment,
        "benchmark": _benchmark(known, recommendations.current_policy(actor.project)[0]),
        "published": benchmarks.PUBLISHED,
        "checklist": checklist_rows(checklist_for(known), actor.project.slug),
        "history": _history(known),
    }
    return page(request, actor, "finetunes/strategy.html", context)


@in_project
def strategy_answer(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """The answer alone, while somebody moves what it rests on."""
    environment = environments.get_environment(actor.project, request.GET.get("environment") or DEFAULT_ENVIRONMENT).name
    context = _answered(actor, name, environment, request.GET)
    return render(request, "finetunes/_strategy_answer.html", {"project": actor.project, **context})


def _prompt_page(actor: Actor, name: str) -> str:
    return f"/p/{actor.project.slug}/prompts/{name}/"


def _answered(actor: Actor, name: str, environment: str, given: Mapping[str, str]) -> dict[str, Any]:
    prompt = prompts.get_prompt(actor.project, name)
    plain = recommendations.draft(actor.project, prompt=prompt, environment=environment)
    typed, faults = _read(plain.inputs, given)
    asked: dict[str, Any] = {"prompt": prompt, "environment": environment}
    found = recommendations.draft(actor.project, **asked, inputs=typed) if typed else plain
    known = found.prompt_evidence
    policy = Policy(**found.members)
    return {
        "prompt": prompt,
        "known": known,
        "version": known.version if known else None,
        "result": found.result,
        "is_simulation": known.is_simulation if known else False,
        "seeded": _seeded(actor, found),
        "moved": bool(typed),
        "faults": faults,
        "inputs": [
            (key, kind, _with_address(actor, found.inputs[key]), _shown(key, found.inputs[key]))
            for key, kind in INPUTS.items()
            if key in found.inputs
        ],
        "sliders": [
            (key, INPUTS[key], given.get(f"w-{key}", "0"), decision.format_amount(found.inputs[key].value, key))
            for key in SLIDERS
            if key in plain.inputs
        ],
        "unknown": [
            (key, INPUTS[key], decision.unit_title(key), given.get(f"t-{key}", ""))
            for key in SLIDERS
            if key not in plain.inputs
        ],
        "flags": [(key, INPUTS[key], bool(given.get(f"f-{key}"))) for key in FLAGS],
        "crossing": _crossing(found, policy),
        "totals": _totals(found),
        "levels": _levels(found, policy),
        "policy": policy,
        "policy_number": found.number,
    }


def _typed(actor: Actor, name: str, environment: str, given: Mapping[str, str]) -> dict[str, Any]:
    prompt = prompts.get_prompt(actor.project, name)
    plain = recommendations.draft(actor.project, prompt=prompt, environment=environment)
    typed, faults = _read(plain.inputs, given)
    if faults:
        raise Problem("strategy.invalid", faults[0])
    return typed


def _read(known: Mapping[str, Figure], given: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """What was moved or typed in; what cannot be read is said and left out."""
    typed: dict[str, Any] = {}
    faults: list[str] = []
    for key in SLIDERS:
        text = (given.get(f"w-{key}") if key in known else given.get(f"t-{key}")) or ""
        number = decimal(text) if text.strip() else 0.0
        if number is None:
            faults.append(f"{INPUTS[key].title} is not a number: {text[:40]}")
            continue
        if not number and (key in known or not text.strip()):
            continue
        if key in known:
            step = max(-FURTHEST, min(FURTHEST, number))
            typed[key] = min(known[key].value * 10 ** (step / STEPS_A_TENFOLD), INPUTS[key].maximum)
        else:
            typed[key] = number
    typed |= {key: True for key in FLAGS if given.get(f"f-{key}")}
    try:
        evidence.read_inputs(typed)
    except Problem as problem:
        said = [f"{INPUTS[one.pointer.rsplit('/', 1)[-1]].title}: {one.message}" for one in problem.faults]
        return {}, [*faults, *said]
    return typed, faults


def _with_address(actor: Actor, figure: Figure) -> Figure:
    return replace(figure, link=address_of(figure.link, actor.project.slug))


def _shown(key: str, figure: Figure) -> str:
    value = decision.format_amount(figure.value, key)
    if figure.low == figure.high or figure.origin != Origin.MEASURED:
        return value
    low, high = (decision.format_amount(end, key).split(" ")[0] for end in (figure.low, figure.high))
    return f"{value} ({low} to {high})"


def _levels(found: RecommendationDraft, policy: Policy) -> list[tuple[str, str, str, str, bool | None, bool | None]]:
    """(title, now, tuned, allowed, whether now is over, whether tuned is) of what has to stay within bounds."""
    rows = []
    for title, key, limit in (
        ("Mean latency", "latency_ms", policy.latency_sla_ms),
        ("Format errors", "format_error_rate", policy.format_error_rate),
    ):
        figures = [found.inputs.get(key), found.inputs.get(f"tuned_{key}")]
        shown = [decision.format_amount(one.value, key) if one else "–" for one in figures]
        over = [one.value > limit if one else None for one in figures]
        rows.append((title, *shown, decision.format_amount(limit, key), *over))
    return rows  # type: ignore[return-value]


def _seeded(actor: Actor, found: RecommendationDraft) -> Mapping[str, Any] | None:
    """What the published function says of the same figures; None where it cannot be asked."""
    names = recommendations.METRICS
    if any(called not in found.inputs for called in names.values()):
        return None
    metrics = {name: found.inputs[called].value for name, called in names.items()}
    return recommendations.draft(actor.project, metrics=metrics, policy=recommendations.PUBLISHED_POLICY).result


def _crossing(found: RecommendationDraft, policy: Policy) -> CurveChart | None:
    """Total cost against volume, up to some times what is asked now and what tuning takes to pay."""
    volume = found.inputs.get("monthly_tokens")
    even = found.result.get("break_even_tokens")
    if volume is None:
        return None
    furthest = max(2 * volume.value, 2 * min(even or 0.0, 20 * volume.value), 1e6)
    volumes = [furthest * place / POINTS for place in range(POINTS + 1)]
    lines = costs.totals_over_volume(found.inputs, policy, volumes, ("prompt", "fine-tune", "hybrid"))
    series = [(one, [(tokens / 1e6, dollars) for tokens, dollars in pairs]) for one, pairs in lines.items()]
    title = f"US dollars in {policy.horizon_months:g} months"
    return curve_chart("crossing", title, series, across="million tokens a month")


def _totals(found: RecommendationDraft) -> list[tuple[str, Mapping[str, float]]]:
    ranges = found.result.get("tco_usd") or {}
    rows = [(decision.TITLES[one], ranges[one]) for one in costs.APPROACHES if one in ranges]
    return sorted(rows, key=lambda row: row[1]["value"])


def _benchmark(known: PromptEvidence, policy: Policy) -> list[benchmarks.BenchmarkRow]:
    candidates = (
        (benchmarks.PROMPT, known.run),
        (benchmarks.TUNED, known.tuned.candidate if known.tuned else None),
        (benchmarks.RETRIEVAL, known.retrieval),
    )
    asked = ((known.run.summary or {}).get("tokens_in") or {}).get("value") if known.run else None
    rows = []
    for approach, run in candidates:
        if run is None:
            continue
        price = price_from_summary(run.summary or {}, asked)
        rows.append(benchmarks.measured_row(approach, run.summary or {}, price[0] if price else None, policy, run.pk))
    return rows


def _history(known: PromptEvidence) -> list[tuple[StrategyRecommendation, recommendations.Outcome]]:
    rows = recommendations.recommendations_with_related().filter(prompt=known.prompt).order_by("-id")[:HISTORY_SHOWN]
    models = TunedModel.objects.filter(job__training_set__source__prompt=known.prompt, published__isnull=False)
    published = list(models.values_list("published__created_at", flat=True))
    return [(row, recommendations.outcome(row, known, published)) for row in rows]


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
    """A recommendation as it was kept: what is printed, and what audits it."""
    kept = recommendations.get_recommendation(actor.project, key)
    again = recommendations.recompute(kept)
    inputs, totals = evidence.inputs_from_dict(kept.inputs), kept.result.get("tco_usd")
    context: dict[str, Any] = {
        "section": "strategy",
        "kept": kept,
        "result": kept.result,
        "title": decision.TITLES.get(kept.strategy, kept.strategy),
        "inputs": [
            (name, INPUTS[name], _with_address(actor, figure), _shown(name, figure)) for name, figure in inputs.items()
        ],
        "is_same": again["strategy"] == kept.strategy and again["reasons"] == kept.result["reasons"],
        "totals": [(decision.TITLES[one], totals[one]) for one in costs.APPROACHES if totals],
    }
    if kept.prompt_id:
        context["configs"] = configs.configs_with_related().filter(project=actor.project)
        context["environments"] = Environment.objects.filter(project=actor.project).order_by("position")
    return page(request, actor, "finetunes/recommendation_detail.html", context)


@in_project
@only_post
def recommendation_propose(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    """Open a promotion of an inference config that does what was recommended."""
    address = page_url("finetunes:recommendation-detail", actor, key)
    try:
        kept = recommendations.get_recommendation(actor.project, key)
        config = configs.get_config(actor.project, request.POST.get("task", ""))
        environment = environments.get_environment(actor.project, request.POST.get("environment", ""))
        asked = config_proposals.propose_from(actor, config, kept, environment)
        if asked is None:
            sentence = "Nothing to propose: it is so already, one waits for review, or no tuned model is published yet."
            raise Problem("config.nothing_new", sentence)
    except Problem as problem:
        return refused(request, problem, address)
    return redirect(reverse("registry:promotion-detail", args=[actor.project.slug, asked.pk]))


@in_project
def recommendation_report(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    """The same as Markdown."""
    kept = recommendations.get_recommendation(actor.project, key)
    response = HttpResponse(report.markdown(kept), content_type="text/markdown; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="recommendation-{kept.pk}.md"'
    return response


@in_project
def policy_page(request: HttpRequest, actor: Actor) -> HttpResponse:
    """The project's numbers. With POST, their next version: what was changed of those that were seen."""
    found, number = recommendations.current_policy(actor.project)
    now = {name: f"{value:.12g}" for name, value in found.as_dict().items()}
    values = now
    context: dict[str, Any] = {"section": "strategy", "number": number}
    status = 200
    if request.method == "POST":
        actor.require(Right.ADMINISTER)
        values = {name: request.POST.get(name, "")[:40].strip() for name in now}
        changed = {name: text for name, text in values.items() if text != now[name]}
        given = {name: text if (value := decimal(text)) is None else value for name, text in changed.items()}
        try:
            recommendations.set_policy(actor, given, seen=whole(request.POST.get("seen", "")))
            return done(
                request,
                "Recommendations go by these numbers from now on.",
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
