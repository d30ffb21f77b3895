"""The page of proposals: edit, accept or reject them, or have a model write some."""

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
from evaluations.models import CaseProposal, Dataset, ProposalState
from evaluations.providers import configuration as providers
from evaluations.views.data.datasets import heading
from infra.work import start
from registry.accounts.permissions import Actor
from registry.views.frame import done, errors_of, in_project, page, page_url, whole

MAX_ROWS_SHOWN = 20
MAX_OFFERED = 200
MAX_SYNTHESES = 3
FIELDS = ("model", "count", "about", "variables", "budget_usd")


@in_project
def proposal_list(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    context = heading(actor, name, "proposals")
    dataset: Dataset = context["dataset"]
    is_decided = request.GET.get("show") == "decided"
    states = (ProposalState.ACCEPTED, ProposalState.REJECTED) if is_decided else proposals.UNDECIDED
    rows = dataset.proposals.filter(state__in=states).order_by("-decided_at", "id" if not is_decided else "-id")
    proposals_page = Paginator(rows.select_related("version"), MAX_ROWS_SHOWN).get_page(request.GET.get("page"))
    context |= {
        "page": proposals_page,
        "is_decided": is_decided,
        "rows": [_row(proposal) for proposal in proposals_page],
        **_writing(actor, dataset),
    }
    if request.method == "POST" and request.POST.get("do") == "write":
        return _write(request, actor, dataset, context)
    if request.method == "POST":
        names = [name for name in request.POST if name.startswith("case:")]
        typed = {whole(name.removeprefix("case:")): _posted(request, name) for name in names}
        keys = [key for text in request.POST.getlist("chosen") if (key := whole(text)) is not None]
        try:
            sentence = _decide(request, actor, dataset, keys, typed)
        except Problem as problem:
            context |= {"problem": problem, "selected_keys": keys}
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
    """Return a proposal as it was made; once accepted, as it was edited."""
    document = proposal.document if proposal.edited is None else proposal.edited
    return json.dumps(document, indent=2, ensure_ascii=False)


def _decide(request: HttpRequest, actor: Actor, dataset: Dataset, keys: list[int], typed: dict[int | None, str]) -> str:
    if not keys:
        raise Problem("request.invalid", "Select at least one.")
    if request.POST.get("do") == "reject":
        count = proposals.reject(actor, dataset, keys=keys, reason=request.POST.get("reason", ""))
        return f"{count} rejected"
    stored = {proposal.pk: proposal for proposal in dataset.proposals.filter(pk__in=keys)}
    edited = {
        key: _read(key, typed[key])
        for key, proposal in stored.items()
        if key in typed and typed[key] != _text(proposal)
    }
    loaded = proposals.accept(actor, dataset, keys=keys, edited=edited)
    tasks.start_reports(loaded.version)
    return f"{loaded.added} accepted in version {loaded.version.number}"


def _read(key: int, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        sentence = f"Proposal {key} is not JSON: {error}"
        raise Problem("cases.invalid", sentence, faults=[Fault(f"/{key}", "json", sentence)]) from None


def _writing(actor: Actor, dataset: Dataset) -> dict[str, Any]:
    """Return the choices of the form for generated cases, and the newest syntheses."""
    newest = synthesis.syntheses_with_related().filter(dataset=dataset).order_by("-id")
    return {
        "models": providers.offered_models(actor.project)[:MAX_OFFERED],
        "syntheses": newest[:MAX_SYNTHESES],
        "values": {"count": "10"},
    }


def _write(request: HttpRequest, actor: Actor, dataset: Dataset, context: dict[str, Any]) -> HttpResponse:
    values = {name: request.POST.get(name, "")[:20_000] for name in FIELDS}
    try:
        row = synthesis.start(
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
    start(tasks.write_cases, row.pk)
    sentence = f"{row.model} writes {row.requested} cases; they are listed here"
    return done(request, sentence, page_url("evaluations:proposal-list", actor, dataset.name))


@in_project
def synthesis_wait(request: HttpRequest, actor: Actor, name: str, key: int) -> HttpResponse:
    """Show the progress of a synthesis to a page that waits; the page is reloaded once its cases are there."""
    row = synthesis.get_synthesis(datasets.get_dataset(actor.project, name), key)
    if not row.is_open:
        return HttpResponseClientRefresh()
    context = {"project": actor.project, "dataset": row.dataset, "synthesis": row}
    return render(request, "evaluations/datasets/_synthesis.html", context)
