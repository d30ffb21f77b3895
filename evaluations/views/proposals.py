"""The page of proposed cases: look, edit, take in or turn away."""

import json
from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django_htmx.http import HttpResponseClientRefresh

from core.errors import Fault, Problem
from evaluations import tasks
from evaluations.curation import proposals, synthesis
from evaluations.datasets import lifecycle as datasets
from evaluations.models import CaseProposal, Dataset, ProposalState, ProviderModel
from evaluations.providers import configuration as providers
from evaluations.views.datasets import heading
from infra.work import start
from registry.accounts.permissions import Actor
from registry.views.frame import done, errors_of, in_project, page, page_url, whole

SHOWN = 20
MOST_OFFERED = 200
SYNTHESES_SHOWN = 3
FIELDS = ("model", "count", "about", "variables", "budget_usd")


@in_project
def proposal_list(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    context = heading(actor, name, "proposals")
    dataset: Dataset = context["dataset"]
    is_decided = request.GET.get("show") == "decided"
    states = (ProposalState.ACCEPTED, ProposalState.REJECTED) if is_decided else proposals.UNDECIDED
    rows = dataset.proposals.filter(state__in=states).order_by("-decided_at", "id" if not is_decided else "-id")
    shown = Paginator(rows.select_related("version"), SHOWN).get_page(request.GET.get("page"))
    context |= {
        "page": shown,
        "is_decided": is_decided,
        "rows": [_row(one) for one in shown],
        **_writing(actor, dataset),
    }
    if request.method == "POST" and request.POST.get("do") == "write":
        return _write(request, actor, dataset, context)
    if request.method == "POST":
        names = [name for name in request.POST if name.startswith("case:")]
        typed = {whole(name.removeprefix("case:")): _posted(request, name) for name in names}
        chosen = [key for text in request.POST.getlist("chosen") if (key := whole(text)) is not None]
        try:
            sentence = _decide(request, actor, dataset, chosen, typed)
        except Problem as problem:
            context |= {"problem": problem, "chosen": chosen}
            context["rows"] = [{**row, "text": typed.get(row["proposal"].pk, row["text"])} for row in context["rows"]]
            status = problem.kind.status
            return page(request, actor, "evaluations/datasets/proposal_list.html", context, status=status)
        return done(request, sentence, page_url("evaluations:proposal-list", actor, name))
    return page(request, actor, "evaluations/datasets/proposal_list.html", context)


def _posted(request: HttpRequest, name: str) -> str:
    return str(request.POST.get(name, "")).replace("\r\n", "\n")


def _row(proposal: CaseProposal) -> dict[str, Any]:
    return {"proposal": proposal, "text": _text(proposal)}


def _text(proposal: CaseProposal) -> str:
    """A proposal as it was made; once taken in, as that was done."""
    document = proposal.document if proposal.edited is None else proposal.edited
    return json.dumps(document, indent=2, ensure_ascii=False)


def _decide(
    request: HttpRequest, actor: Actor, dataset: Dataset, chosen: list[int], typed: dict[int | None, str]
) -> str:
    if not chosen:
        raise Problem("request.invalid", "Choose at least one.")
    if request.POST.get("do") == "reject":
        count = proposals.reject(actor, dataset, keys=chosen, reason=request.POST.get("reason", ""))
        return f"{count} turned away."
    stored = {one.pk: one for one in dataset.proposals.filter(pk__in=chosen)}
    edited = {key: _read(key, typed[key]) for key, one in stored.items() if key in typed and typed[key] != _text(one)}
    loaded = proposals.accept(actor, dataset, keys=chosen, edited=edited)
    tasks.start_reports(loaded.version)
    return f"{loaded.added} taken in as version {loaded.version.number}."


def _read(key: int, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        sentence = f"Proposal {key} is no JSON: {error}"
        raise Problem("cases.invalid", sentence, faults=[Fault(f"/{key}", "json", sentence)]) from None


def _writing(actor: Actor, dataset: Dataset) -> dict[str, Any]:
    """What the form for made-up cases offers, and how those go that were asked for."""
    models = ProviderModel.objects.filter(provider__project=actor.project, provider__archived_at=None)
    newest = synthesis.syntheses_with_related().filter(dataset=dataset).order_by("-id")
    return {
        "models": models.select_related("provider")[:MOST_OFFERED],
        "syntheses": newest[:SYNTHESES_SHOWN],
        "values": {"count": "10"},
    }


def _write(request: HttpRequest, actor: Actor, dataset: Dataset, context: dict[str, Any]) -> HttpResponse:
    values = {name: request.POST.get(name, "")[:20_000] for name in FIELDS}
    try:
        made = synthesis.start(
            actor,
            dataset,
            model=providers.get_model(actor.project, values["model"]),
            requested=whole(values["count"].strip()) or 0,
            about=values["about"],
            variables=values["variables"].replace(",", " ").split(),
            budget_usd=values["budget_usd"].strip() or None,
        )
    except Problem as problem:
        context |= {"values": values, "errors": errors_of(problem, {"model.not_found": "model"})}
        status = problem.kind.status
        return page(request, actor, "evaluations/datasets/proposal_list.html", context, status=status)
    start(tasks.write_cases, made.pk)
    sentence = f"{made.model} writes {made.requested} cases; they come in here."
    return done(request, sentence, page_url("evaluations:proposal-list", actor, dataset.name))


@in_project
def synthesis_wait(request: HttpRequest, actor: Actor, name: str, key: int) -> HttpResponse:
    """How far a model has come, for a page that waits; with its cases the page is loaded again."""
    found = synthesis.get_synthesis(datasets.get_dataset(actor.project, name), key)
    if not found.is_open:
        return HttpResponseClientRefresh()
    context = {"project": actor.project, "dataset": found.dataset, "one": found}
    return render(request, "evaluations/datasets/_synthesis.html", context)
