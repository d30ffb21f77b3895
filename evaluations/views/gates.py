"""Settings: gates and service levels; and the evidence on a promotion's page."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from core.errors import Fault, Problem
from evaluations.comparisons import gates
from evaluations.models import Split
from evaluations.statistics import slas
from evaluations.views.runs import DOMAIN_FIELDS, offered, scorers_of
from registry.accounts.permissions import Actor, Right
from registry.models import Environment
from registry.promotions import environments, workflow
from registry.views.frame import done, errors_of, in_project, only_post, page, page_url, refused, whole

TYPED = (
    *("environment", "name", "prompts", "dataset", "split", "model", "min_quality", "margin", "budget_usd"),
    "repetitions",
)
FIELDS = {**DOMAIN_FIELDS, "gate.name_taken": "name"}
NEW = {"split": "test", "repetitions": "1", "margin": "0.02", "environment": "production"}


@in_project
def gate_list(request: HttpRequest, actor: Actor) -> HttpResponse:
    values: dict[str, Any] = {name: request.POST.get(name, NEW.get(name, "")).strip()[:2_000] for name in TYPED}
    values |= {"scorers": request.POST.getlist("scorers")[:50], "scorers_json": request.POST.get("scorers_json", "")}
    for name in ("not_worse", "keeps_slas"):
        values[name] = request.POST.get(name) == "on" or request.method != "POST"
    context: dict[str, Any] = {"section": "settings", "tab": "gates", "values": values, **offered(actor)}
    status = 200
    if request.method == "POST":
        try:
            actor.require(Right.ADMINISTER)
            environment = environments.get_environment(actor.project, values["environment"])
            made = gates.create(actor, environment, **gates.settings_from_document(actor.project, _document(values)))
        except Problem as problem:
            context["errors"], status = (
                errors_of(problem, {**DOMAIN_FIELDS, "gate.name_taken": "name"}),
                problem.kind.status,
            )
        else:
            return done(
                request, f"{environment.name} requires {made.name} now.", page_url("evaluations:gate-list", actor)
            )
    context |= {
        "rows": gates.active_gates(actor.project),
        "levels": slas.get_slas(actor.project),
        "environments": Environment.objects.filter(project=actor.project),
        "splits": [choice for choice in Split.choices if choice[0] != Split.TRAIN],
    }
    return page(request, actor, "evaluations/gates/gate_list.html", context, status=status)


def _document(values: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {name: values[name] for name in ("name", "prompts", "dataset", "split", "model")}
    found |= {name: values[name] for name in ("not_worse", "keeps_slas")}
    found["scorers"] = [*values["scorers"], *scorers_of(values["scorers_json"])]
    found["min_quality"] = number(values["min_quality"], "min_quality")
    found["margin"] = number(values["margin"], "margin") or 0.0
    found["budget_usd"] = values["budget_usd"] or None
    found["repetitions"] = min(20, max(1, whole(values["repetitions"]) or 1))
    return found


def number(text: str, name: str) -> float | None:
    """What somebody typed as a number, None where the field is empty."""
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
    return done(request, f"{gate.name} is not required any more.", page_url("evaluations:gate-list", actor))


@in_project
@only_post
def levels_set(request: HttpRequest, actor: Actor) -> HttpResponse:
    try:
        given = {name: number(request.POST.get(name, ""), name) for name in slas.NAMES}
        slas.set_slas(actor, given)
    except Problem as problem:
        return refused(request, problem, page_url("evaluations:gate-list", actor))
    return done(request, "The service levels are saved.", page_url("evaluations:gate-list", actor))


@in_project
def evidence_panel(request: HttpRequest, actor: Actor, key: int) -> HttpResponse:
    """What gates have found on a promotion's version."""
    found = workflow.get_promotion(actor.project, key)
    context = {"project": actor.project, "rows": gates.gate_evidence(found)}
    return render(request, "evaluations/gates/_evidence.html", context)
