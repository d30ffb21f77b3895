from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from evaluations.models.datasets import Dataset, DatasetVersion
from registry.models import APIKey, User


class ProposalState(models.TextChoices):
    CHECKING = "checking", "Being checked"
    WAITING = "waiting", "Waiting for somebody"
    ACCEPTED = "accepted", "Accepted"
    REJECTED = "rejected", "Rejected"


class CaseProposal(models.Model):
    """A suggested case; a user accepts or rejects it. `origin` says where it comes from (a live call, a model that
    wrote it), and stays with it."""

    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT, related_name="proposals")
    document = models.JSONField()
    # The accepted document, where a user edited it.
    edited = models.JSONField(null=True)
    origin = models.CharField(max_length=200)
    state = models.CharField(max_length=10, choices=ProposalState.choices, default=ProposalState.CHECKING)
    # [{"kind": "near", "case": 7, "split": "test", "score": 0.9}]: the cases that it is too similar to.
    findings = models.JSONField(default=list)
    proposed_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    proposed_by_key = models.ForeignKey(APIKey, on_delete=models.PROTECT, null=True, related_name="+")
    proposed_by_name = models.CharField(max_length=200)
    decided_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    decided_by_name = models.CharField(max_length=200, blank=True)
    reason = models.CharField(max_length=1_000, blank=True)
    version = models.ForeignKey(DatasetVersion, on_delete=models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField(db_default=Now())
    decided_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=ProposalState.values), name="proposal_state_is_known"),
        ]
        indexes = [models.Index(fields=["dataset", "state", "id"], name="proposal_by_state")]

    def __str__(self) -> str:
        return f"proposal {self.pk} for {self.dataset}"
