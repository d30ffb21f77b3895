"""Deletion of a subject: what is kept of whoever calls were made for goes, and what was counted stays."""

from dataclasses import asdict, dataclass
from datetime import timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from core.errors import Fault, Problem
from inference.calls import reading
from inference.models import Call, CallText, DeletedSubject, Feedback
from inference.usage import locks
from inference.usage.units import digest_of
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right

# How long records may be on their way to the database.
ON_THEIR_WAY = timedelta(days=60)


@dataclass(frozen=True)
class Deletion:
    """How many calls lost their subject and metadata, and how many texts and values of feedback are gone."""

    calls: int
    texts: int
    feedback: int


def clear_old() -> int:
    """Forget the digests of subjects whose records have come long since; returns how many."""
    return DeletedSubject.objects.filter(at__lt=timezone.now() - ON_THEIR_WAY).delete()[0]


@transaction.atomic
def delete(actor: Actor, subject: str) -> Deletion:
    """Take a subject out of everything that is kept of live calls: texts and feedback are deleted, the records of the
    calls stay without subject and metadata. Counts and sums stay. Who it was is not in the audit log either."""
    actor.require(Right.ADMINISTER)
    if not 1 <= len(subject) <= reading.MAX_SUBJECT:
        sentence = f"A subject has 1 to {reading.MAX_SUBJECT} characters."
        raise Problem("request.invalid", sentence, faults=[Fault("/subject", "length", sentence)])
    # What is being stored is stored first.
    locks.lock_calls([actor.project.pk])
    calls = Call.objects.filter(project=actor.project, subject=subject)
    references = list(calls.order_by().values_list("reference", flat=True))
    texts = CallText.objects.filter(project=actor.project)
    feedback = Feedback.objects.filter(project=actor.project)
    deleted = Deletion(
        texts=texts.filter(Q(subject=subject) | Q(reference__in=references)).delete()[0],
        feedback=feedback.filter(Q(subject=subject) | Q(call__in=references)).delete()[0],
        calls=calls.update(subject="", metadata={}),
    )
    now = timezone.now()
    digest = digest_of(actor.project.pk, subject)
    DeletedSubject.objects.update_or_create(project=actor.project, digest=digest, defaults={"at": now})
    if deleted != Deletion(0, 0, 0):
        audit.record(actor, "subject.deleted", actor.project, after=asdict(deleted))
    return deleted
