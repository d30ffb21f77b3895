from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from evaluations.models.runs import Run
from infra.triggers import frozen, insert_only
from registry.models import Project, PromptVersion


class LineupState(models.TextChoices):
    PENDING = "pending", "Waiting for its runs"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"


class Lineup(models.Model):
    """Several runs on the same cases, held side by side: against one of them, and against the service levels of the
    day. A model sweep is one whose runs were made together, for one version and under one budget."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="lineups")
    # The version whose models are tried; None where runs were chosen that were there.
    swept = models.ForeignKey(PromptVersion, on_delete=models.PROTECT, null=True, related_name="sweeps")
    # For all runs of a sweep together.
    budget_usd = models.DecimalField(max_digits=12, decimal_places=6, null=True)
    # How much worse in quality (0 to 1) than the first run one would put up with; said before anything is computed.
    margin = models.FloatField()
    # What was asked of them that day: {"quality": 0.8, "p99_latency_ms": 600}.
    levels = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=LineupState.choices, default=LineupState.PENDING)
    result = models.JSONField(null=True)
    error = models.CharField(max_length=1_000, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    beat_at = models.DateTimeField(null=True)
    by_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=LineupState.values), name="lineup_state_is_known"),
            models.CheckConstraint(condition=Q(margin__gte=0, margin__lte=1), name="lineup_margin_0_to_1"),
        ]
        indexes = [
            models.Index(fields=["project", "-id"], name="lineup_of_project"),
            models.Index(fields=["id"], condition=Q(state=LineupState.PENDING), name="lineup_open"),
        ]
        triggers = frozen("project", "swept", "margin", "levels", "by_name", "created_at")

    def __str__(self) -> str:
        return f"lineup {self.pk}"


class LineupRun(models.Model):
    """A run in a lineup. The first, at place 0, is what the others are held against."""

    lineup = models.ForeignKey(Lineup, on_delete=models.PROTECT, related_name="places")
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="lineup_places")
    place = models.PositiveSmallIntegerField()

    class Meta:
        ordering = ["lineup", "place"]
        constraints = [
            models.UniqueConstraint(fields=["lineup", "run"], name="lineup_run_once"),
            models.UniqueConstraint(fields=["lineup", "place"], name="lineup_place_once"),
        ]
        triggers = insert_only()

    def __str__(self) -> str:
        return f"{self.run} in {self.lineup}"
