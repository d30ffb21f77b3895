"""Cases that somebody or something suggests: checked against what is there, then decided on by a person."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from core.errors import Fault, Problem
from core.json_values import MAX_FAULTS
from evaluations.data_quality import leakage
from evaluations.datasets import lifecycle as datasets
from evaluations.datasets.cases import read_case
from evaluations.datasets.ingest import Loaded
from evaluations.models import CaseProposal, Dataset, DatasetVersion, ProposalState
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right

MOST_AT_ONCE = 500
LONGEST_ORIGIN = 200
LONGEST_REASON = 1_000
UNDECIDED = (ProposalState.CHECKING, ProposalState.WAITING)


@transaction.atomic
def propose(actor: Actor, dataset: Dataset, *, cases: Sequence[object], origin: str) -> list[CaseProposal]:
    """Suggest cases; `origin` says where they come from, and stays with them. All of them or, where one has faults,
    none: `cases.invalid` with their indexes."""
    actor.require(Right.EDIT)
    if dataset.archived_at:
        raise Problem("dataset.archived", f"{dataset.name} is archived; restore it to change it.")
    if not 1 <= len(origin.strip()) <= LONGEST_ORIGIN:
        fault = Fault("/origin", "length", f"Say where they come from, in 1 to {LONGEST_ORIGIN} characters.")
        raise Problem("request.invalid", fault.message, faults=[fault])
    if len(cases) > MOST_AT_ONCE:
        raise Problem("cases.too_many", f"At most {MOST_AT_ONCE} proposals at once.")
    _refuse_faulty(cases)
    made = CaseProposal.objects.bulk_create(
        CaseProposal(
            dataset=dataset,
            document=case,
            origin=origin.strip(),
            proposed_by=actor.user,
            proposed_by_key=actor.key,
            proposed_by_name=actor.name,
        )
        for case in cases
    )
    audit.record(actor, "cases.proposed", dataset, after={"count": len(made), "origin": origin.strip()})
    return made


def find(dataset: Dataset, key: int) -> CaseProposal:
    found = CaseProposal.objects.filter(dataset=dataset, pk=key).first()
    if found is None:
        raise Problem("proposal.not_found", f"{dataset.name} has no proposal {key}.")
    found.dataset = dataset
    return found


def unchecked() -> QuerySet[CaseProposal]:
    """Proposals that no worker has looked at."""
    return CaseProposal.objects.filter(state=ProposalState.CHECKING).order_by("id")


@transaction.atomic
def check(dataset: Dataset) -> int:
    """Hold the dataset's unchecked proposals against its cases; returns how many. What another worker holds is its."""
    mine = unchecked().filter(dataset=dataset).select_for_update(skip_locked=True)
    waiting = list(mine[:MOST_AT_ONCE])
    # As it is now: the dataset may have grown since it was asked for.
    head = DatasetVersion.objects.filter(dataset=dataset).order_by("-number").first()
    found = leakage.near_to(head, [one.document for one in waiting]) if head else {}
    for index, proposal in enumerate(waiting):
        # Somebody may have decided meanwhile; then it stays as it is.
        CaseProposal.objects.filter(pk=proposal.pk, state=ProposalState.CHECKING).update(
            state=ProposalState.WAITING, findings=found.get(index, [])
        )
    return len(waiting)


@transaction.atomic
def accept(
    actor: Actor, dataset: Dataset, *, keys: Sequence[int], edited: Mapping[int, object] | None = None
) -> Loaded:
    """Take proposals into the dataset as its next version, some of them edited. A person's decision."""
    _require_person(actor)
    edited = edited or {}
    chosen = _undecided(dataset, keys)
    documents = [edited.get(one.pk, one.document) for one in chosen]
    names = ", ".join(sorted({one.origin for one in chosen}))
    message = f"{len(chosen)} proposed: {names}"[:500]
    loaded = datasets.change(actor, dataset, added=documents, message=message)
    _decide(actor, chosen, ProposalState.ACCEPTED, version=loaded.version)
    for one in chosen:
        if one.pk in edited:
            CaseProposal.objects.filter(pk=one.pk).update(edited=edited[one.pk])
    after = {"proposals": [one.pk for one in chosen], "edited": sorted(edited)}
    audit.record(actor, "proposals.accepted", loaded.version, after=after)
    return loaded


@transaction.atomic
def reject(actor: Actor, dataset: Dataset, *, keys: Sequence[int], reason: str = "") -> int:
    """Turn proposals away; returns how many."""
    _require_person(actor)
    chosen = _undecided(dataset, keys)
    _decide(actor, chosen, ProposalState.REJECTED, reason=reason.strip()[:LONGEST_REASON])
    after = {"proposals": [one.pk for one in chosen], "reason": reason.strip()}
    audit.record(actor, "proposals.rejected", dataset, after=after)
    return len(chosen)


def _require_person(actor: Actor) -> None:
    actor.require(Right.EDIT)
    if actor.user is None:
        raise Problem("proposal.machine_decision", "A person decides which cases a dataset takes in, not a key.")


def _undecided(dataset: Dataset, keys: Sequence[int]) -> list[CaseProposal]:
    wanted = sorted(set(keys))
    rows = CaseProposal.objects.select_for_update().filter(dataset=dataset, pk__in=wanted).order_by("pk")
    found = list(rows)
    if len(found) != len(wanted) or not found:
        raise Problem("proposal.not_found", f"{dataset.name} has not all of these proposals.")
    decided = [one for one in found if one.state not in UNDECIDED]
    if decided:
        names = ", ".join(str(one.pk) for one in decided[:5])
        raise Problem("proposal.wrong_state", f"Already decided: {names}.")
    return found


def _decide(actor: Actor, chosen: Sequence[CaseProposal], state: ProposalState, **members: Any) -> None:
    CaseProposal.objects.filter(pk__in=[one.pk for one in chosen]).update(
        state=state, decided_by=actor.user, decided_by_name=actor.name, decided_at=timezone.now(), **members
    )


def _refuse_faulty(cases: Sequence[object]) -> None:
    faults: list[Fault] = []
    for index, case in enumerate(cases):
        own: list[Fault] = []
        read_case(case, own)
        faults += [Fault(f"/{index}{fault.pointer}", fault.code, fault.message) for fault in own]
    if not cases:
        raise Problem("dataset.no_cases", "Nothing is proposed.")
    if faults:
        sentence = f"Case {int(faults[0].pointer.split('/')[1]) + 1}: {faults[0].message}"
        raise Problem("cases.invalid", sentence, faults=faults[:MAX_FAULTS])
