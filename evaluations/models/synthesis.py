from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from evaluations.models.datasets import Dataset
from evaluations.models.providers import ProviderModel
from infra.triggers import frozen_fields
from infra.work import WorkItem
from registry.models import ByActor


class SynthesisState(models.TextChoices):
    PENDING = "pending", "Waiting"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    STOPPED = "stopped", "Stopped at its budget"
    FAILED = "failed", "Failed"


SYNTHESIS_OPEN = (SynthesisState.PENDING, SynthesisState.RUNNING)


class Synthesis(WorkItem, ByActor):
    """A request for synthetic cases of a model; they become proposals, which a user accepts or rejects."""

    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT, related_name="syntheses")
    model = models.ForeignKey(ProviderModel, on_delete=models.PROTECT, related_name="+")
    requested = models.PositiveSmallIntegerField()
    about = models.TextField(blank=True)
    variables: "ArrayField[list[str], list[str]]" = ArrayField(models.CharField(max_length=1_000))
    budget_usd = models.DecimalField(max_digits=12, decimal_places=6, null=True)
    state = models.CharField(max_length=10, choices=SynthesisState.choices, default=SynthesisState.PENDING)
    proposed = models.PositiveSmallIntegerField(default=0)
    # Answers of the model that are not cases.
    refused = models.PositiveSmallIntegerField(default=0)
    calls = models.PositiveSmallIntegerField(default=0)
    cost_usd = models.DecimalField(max_digits=14, decimal_places=8, null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "syntheses"
        constraints = [
            models.CheckConstraint(condition=Q(state__in=SynthesisState.values), name="synthesis_state_is_known"),
            models.CheckConstraint(
                condition=Q(requested__gte=1, requested__lte=200), name="synthesis_requested_1_to_200"
            ),
        ]
        indexes = [
            models.Index(fields=["dataset", "-id"], name="synthesis_of_dataset"),
            models.Index(fields=["id"], condition=Q(state__in=SYNTHESIS_OPEN), name="synthesis_open"),
        ]
        triggers = frozen_fields(
            "dataset", "model", "requested", "about", "variables", "budget_usd", "by_name", "created_at"
        )

    def __str__(self) -> str:
        return f"synthesis {self.pk} for {self.dataset}"

    @property
    def is_open(self) -> bool:
        return self.state in SYNTHESIS_OPEN
