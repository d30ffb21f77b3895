from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from evaluations.models.runs import Run
from registry.models import Project


class ComparisonState(models.TextChoices):
    PENDING = "pending", "Waiting"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"


class Comparison(models.Model):
    """Two runs on the same cases, held against each other. The margin is set before anything is computed."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="comparisons")
    baseline = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="+")
    candidate = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="+")
    # How much worse in quality (0 to 1) one would put up with.
    margin = models.FloatField()
    seed = models.PositiveIntegerField(default=0)
    state = models.CharField(max_length=10, choices=ComparisonState.choices, default=ComparisonState.PENDING)
    result = models.JSONField(null=True)
    error = models.CharField(max_length=1_000, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    beat_at = models.DateTimeField(null=True)
    by_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=ComparisonState.values), name="comparison_state_is_known"),
            models.CheckConstraint(condition=Q(margin__gte=0, margin__lte=1), name="comparison_margin_0_to_1"),
            models.CheckConstraint(condition=~Q(baseline=models.F("candidate")), name="comparison_of_two_runs"),
        ]
        indexes = [
            models.Index(fields=["project", "-id"], name="comparison_of_project"),
            models.Index(fields=["id"], condition=Q(state=ComparisonState.PENDING), name="comparison_open"),
        ]

    def __str__(self) -> str:
        return f"{self.candidate} against {self.baseline}"
