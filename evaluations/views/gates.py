"""Settings: gates and SLAs; and the evidence panel of a promotion's page."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from core.errors import Fault, Problem
from evaluations.comparisons import gates, slas
from evaluations.datasets import lifecycle as datasets
from evaluations.models import GateState, Split
from evaluations.statistics import slas as sla_statistics
from evaluations.views.runs import DOMAIN_FIELDS, offered, scorers_of
from registry.accounts.permissions import Actor, Right
from registry.models import UNDECIDED, Environment
from registry.promotions import environments, workflow
from registry.views.frame import done, errors_of, in_project, only_post, page, page_url, refused, whole

FIELDS = (
    *("environment", "name", "prompts", "dataset", "split", "model", "min_quality", "quality_scorer", "margin"),
    *("budget_usd", "repetitions"),
)
# The panel asks often for two minutes, then seldom.
PROMPT_ROUNDS = 40
ERROR_FIELDS = {**DOMAIN_FIELDS, "gate.name_taken": "name", "gate.not_protected": "environment"}
DEFAULTS = {"split": "test", "repetitions": "1", "margin": "0.02", "environment": "production"}


@in_project
def gate_list(request: HttpRequest, actor: Actor) -> HttpResponse:
    values: dict[str, Any] = {name: request.POST.get(name, DEFAULTS.get(name, "")).strip()[:2_000] for name in FIELDS}
    values |= {"scorers": request.POST.getlist("scorers")[:50], "scorers_json": request.POST.get("scorers_json", "")}
    for name in ("not_worse", "keeps_slas"):
        values[name] = request.POST.get(name) == "on" or request.method != "POST"
    context: dict[str, Any] = {"section": "settings", "tab": "gates", "values": values, **offered(actor)}
    status = 200
    if request.method == "POST":
        try:
            actor.require(Right.ADMINISTER)
            environment = environments.get_environment(actor.project, values["environment"])
            gate = gates.create(actor, environment, **gates.settings_from_document(actor.project, _document(values)))
        except Problem as problem:
            context["errors"], status = errors_of(problem, ERROR_FIELDS), problem.kind.status
        else:
            sentence = f"Gate {gate.name} added; {environment.name} requires it now"
            return done(request, sentence, page_url("evaluations:gate-list", actor))
    context |= {
        "rows": gates.active_gates(actor.project),
        "slas": slas.get_slas(actor.project),
        "environments": Environment.objects.filter(project=actor.project, protected=True),
        "splits": [choice for choice in Split.choices if choice[0] != Split.TRAIN],
    }
    return page(request, actor, "evaluations/gates/gate_list.html", context, status=status)


def _document(values: dict[str, Any]) -> dict[str, Any]:
    document: dict[str, Any] = {name: values[name] for name in ("name", "prompts", "dataset", "split", "model")}
    document |= {name: values[name] for name in ("not_worse", "keeps_slas")}
    document["scorers"] = [*values["scorers"], *scorers_of(values["scorers_json"])]
    document["min_quality"] = number(values["min_quality"], "min_quality")
    document["quality_scorer"] = values["quality_scorer"]
    document["margin"] = number(values["margin"], "margin") or 0.0
    document["budget_usd"] = values["budget_usd"] or None
    document["repetitions"] = min(20, max(1, whole(values["repetitions"]) or 1))
    return document


def number(text: str, name: str) -> float | None:
    """Parse a number of a form; None where the field is empty."""
    if not text.strip():
        return None
    try:
        return float(text)
    except ValueError:
        raise Problem(
            "request.invalid", "Must be a number.", faults=[Fault(f"/{name}", "type", "Must be a number.")]
        ) from None


@in_project
@only_post
def gate_remove(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    gate = gates.get_gate(actor.project, key)
    gates.remove(actor, gate)
    return done(request, f"Gate {gate.name} removed", page_url("evaluations:gate-list", actor))


@in_project
@only_post
def gate_use_cases(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    gate = gates.get_gate(actor.project, key)
    version = datasets.get_version(actor.project, gate.dataset.name, request.POST.get("version", "")[:100] or "latest")
    gates.use_cases(actor, gate, version)
    sentence = f"Gate {gate.name} measures on {version} now; approvals so far are void"
    return done(request, sentence, page_url("evaluations:gate-list", actor))


@in_project
@only_post
def slas_set(request: HttpRequest, actor: Actor) -> HttpResponse:
    try:
        targets = {
            name: number(request.POST.get(name, ""), name)
            for name in (*sla_statistics.NAMES, sla_statistics.CONCURRENCY)
        }
        slas.set_slas(actor, targets)
    except Problem as problem:
        return refused(request, problem, page_url("evaluations:gate-list", actor))
    return done(request, "SLAs saved", page_url("evaluations:gate-list", actor))


@in_project
def evidence_panel(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    """Show the gate runs of a promotion's version."""
    promotion = workflow.get_promotion(actor.project, key)
    rows = gates.gate_evidence(promotion)
    is_open = promotion.status in UNDECIDED
    waited = whole(request.GET.get("waited", "")) or 0
    states = [row.state if row else GateState.RUNNING for _, row in rows]
    context = {
        "project": actor.project,
        "promotion": promotion,
        "rows": rows,
        "waits": is_open and GateState.RUNNING in states,
        "rounds": waited + 1,
        # A gate whose provider is archived may never begin.
        "seconds": 3 if waited < PROMPT_ROUNDS else 30,
        # What a reader may do has changed since the page was made; what they have typed stays where it is.
        "is_new": waited > 0 and all(state in (GateState.PASSED, GateState.FAILED) for state in states),
    }
    return render(request, "evaluations/gates/_evidence.html", context)
