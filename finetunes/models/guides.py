from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from evaluations.models import Dataset
from infra.triggers import frozen_fields
from registry.models import Project, Prompt


class Guide(models.Model):
    """A task on its way from a definition to a watched deployment. Its definition and targets are stored here; its
    progress is read from facts (finetunes.guides.steps)."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="guides")
    name = models.CharField(max_length=100)
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, null=True, related_name="guides")
    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT, null=True, related_name="guides")
    # Targets: milliseconds (p99), a share from 0 to 1, US dollars a call; None is no target.
    latency_ms = models.PositiveIntegerField(null=True)
    quality = models.FloatField(null=True)
    cost_per_call_usd = models.DecimalField(max_digits=12, decimal_places=6, null=True)
    by_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["project", "name"]
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="guide_name_once"),
            models.CheckConstraint(
                condition=Q(quality=None) | Q(quality__gte=0, quality__lte=1), name="guide_quality_0_to_1"
            ),
        ]
        triggers = frozen_fields("project", "name", "by_name", "created_at")

    def __str__(self) -> str:
        return self.name
