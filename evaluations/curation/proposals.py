"""Proposals: suggested cases, compared with the existing ones, that a user accepts or rejects."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast
from django.utils import timezone

from core.errors import Fault, Problem
from core.json_values import MAX_FAULTS
from evaluations.data_quality import leakage
from evaluations.datasets import lifecycle as datasets
from evaluations.datasets.cases import read_case
from evaluations.datasets.ingest import IngestResult
from evaluations.datasets.row import Row
from evaluations.datasets.row_images import RowImages
from evaluations.models import CaseProposal, Dataset, DatasetVersion, ProposalState
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right
from registry.models import UploadedImage

MAX_AT_ONCE = 500
MAX_ORIGIN_LENGTH = 200
MAX_REASON_LENGTH = 1_000
UNDECIDED = (ProposalState.CHECKING, ProposalState.WAITING)


@transaction.atomic
def propose(actor: Actor, dataset: Dataset, *, cases: Sequence[object], origin: str) -> list[CaseProposal]:
    """Propose cases; `origin` says where they come from, and stays with them. All of them or, where one has faults,
    none: `cases.invalid` with their indexes."""
    actor.require(Right.EDIT)
    if dataset.archived_at:
        raise Problem("dataset.archived", f"{dataset.name} is archived; restore it to change it.")
    if not 1 <= len(origin.strip()) <= MAX_ORIGIN_LENGTH:
        fault = Fault("/origin", "length", f"Say where they come from, in 1 to {MAX_ORIGIN_LENGTH} characters.")
        raise Problem("request.invalid", fault.message, faults=[fault])
    if len(cases) > MAX_AT_ONCE:
        raise Problem("cases.too_many", f"At most {MAX_AT_ONCE} proposals at once.")
    cases = _with_images(actor, cases)
    proposals = CaseProposal.objects.bulk_create(
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
    audit.record(actor, "cases.proposed", dataset, after={"count": len(proposals), "origin": origin.strip()})
    return proposals


def get_proposal(dataset: Dataset, key: int) -> CaseProposal:
    proposal = CaseProposal.objects.filter(dataset=dataset, pk=key).first()
    if proposal is None:
        raise Problem("proposal.not_found", f"{dataset.name} has no proposal {key}.")
    proposal.dataset = dataset
    return proposal


def unchecked_proposals() -> QuerySet[CaseProposal]:
    """Return proposals that no worker has checked."""
    return CaseProposal.objects.filter(state=ProposalState.CHECKING).order_by("id")


@transaction.atomic
def check(dataset: Dataset) -> int:
    """Compare the dataset's unchecked proposals with its cases; return how many. Rows locked by another worker are
    skipped."""
    mine = unchecked_proposals().filter(dataset=dataset).select_for_update(skip_locked=True)
    waiting = list(mine[:MAX_AT_ONCE])
    # The current head: the dataset may have grown since the check was requested.
    head = DatasetVersion.objects.filter(dataset=dataset).order_by("-number").first()
    findings = leakage.find_similar_cases(head, [proposal.document for proposal in waiting]) if head else {}
    for index, proposal in enumerate(waiting):
        # A proposal that was decided in the meantime stays as it is.
        CaseProposal.objects.filter(pk=proposal.pk, state=ProposalState.CHECKING).update(
            state=ProposalState.WAITING, findings=findings.get(index, [])
        )
    return len(waiting)


@transaction.atomic
def accept(
    actor: Actor, dataset: Dataset, *, keys: Sequence[int], edited: Mapping[int, object] | None = None
) -> IngestResult:
    """Accept proposals, some of them edited, as the dataset's next version. Only a user may decide."""
    _require_person(actor)
    edited = edited or {}
    proposals = _undecided(dataset, keys)
    documents = [edited.get(proposal.pk, proposal.document) for proposal in proposals]
    names = ", ".join(sorted({proposal.origin for proposal in proposals}))
    message = f"{len(proposals)} proposed: {names}"[:500]
    loaded = datasets.change(actor, dataset, added=documents, message=message)
    _decide(actor, proposals, ProposalState.ACCEPTED, version=loaded.version)
    for proposal in proposals:
        if proposal.pk in edited:
            CaseProposal.objects.filter(pk=proposal.pk).update(edited=edited[proposal.pk])
    after = {"proposals": [proposal.pk for proposal in proposals], "edited": sorted(edited)}
    audit.record(actor, "proposals.accepted", loaded.version, after=after)
    return loaded


@transaction.atomic
def reject(actor: Actor, dataset: Dataset, *, keys: Sequence[int], reason: str = "") -> int:
    """Reject proposals; return how many."""
    _require_person(actor)
    proposals = _undecided(dataset, keys)
    _decide(actor, proposals, ProposalState.REJECTED, reason=reason.strip()[:MAX_REASON_LENGTH])
    after = {"proposals": [proposal.pk for proposal in proposals], "reason": reason.strip()}
    audit.record(actor, "proposals.rejected", dataset, after=after)
    return len(proposals)


def _require_person(actor: Actor) -> None:
    actor.require(Right.EDIT)
    if actor.user is None:
        raise Problem("proposal.machine_decision", "Only users can accept or reject proposals, not keys.")


def _undecided(dataset: Dataset, keys: Sequence[int]) -> list[CaseProposal]:
    distinct_keys = sorted(set(keys))
    rows = CaseProposal.objects.select_for_update().filter(dataset=dataset, pk__in=distinct_keys).order_by("pk")
    proposals = list(rows)
    if len(proposals) != len(distinct_keys) or not proposals:
        raise Problem("proposal.not_found", f"{dataset.name} does not have all of these proposals.")
    decided = [proposal for proposal in proposals if proposal.state not in UNDECIDED]
    if decided:
        names = ", ".join(str(proposal.pk) for proposal in decided[:5])
        raise Problem("proposal.wrong_state", f"Already decided: {names}.")
    return proposals


def _decide(actor: Actor, proposals: Sequence[CaseProposal], state: ProposalState, **members: Any) -> None:
    CaseProposal.objects.filter(pk__in=[proposal.pk for proposal in proposals]).update(
        state=state, decided_by=actor.user, decided_by_name=actor.name, decided_at=timezone.now(), **members
    )


def _with_images(actor: Actor, cases: Sequence[object]) -> list[Any]:
    """Return the cases with their images uploaded, as a dataset would read them; refuse them all where one has a
    fault."""
    if not cases:
        raise Problem("dataset.no_cases", "Nothing is proposed.")
    images, documents, faults = RowImages(actor), [], list[Fault]()
    for index, document in enumerate(cases):
        own: list[Fault] = []
        documents.append(images.read(document, own))
        case = read_case(documents[-1], own) if not own else None
        if case is not None:
            images.accept(index, Row(index), documents[-1], case.variables)
        faults += [Fault(f"/{index}{fault.pointer}", fault.code, fault.message) for fault in own]
    if not faults:
        faults = [Fault(f"/{index}{fault.pointer}", fault.code, fault.message) for index, _, fault in images.settle()]
    if faults:
        sentence = f"Case {int(faults[0].pointer.split('/')[1]) + 1}: {faults[0].message}"
        raise Problem("cases.invalid", sentence, faults=faults[:MAX_FAULTS])
    return documents


def image_use(image: UploadedImage) -> str:
    """Return the sentence on a proposal that waits and has an image; nothing where none does."""
    waiting = CaseProposal.objects.filter(dataset__project=image.project_id, state__in=UNDECIDED)
    proposal = waiting.select_related("dataset").annotate(text=Cast("document", TextField()))
    named = proposal.filter(text__contains=image.sha256).first()
    return f"A case that is proposed for {named.dataset.name} has it." if named else ""
