from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from evaluations.models.runs import Run
from infra.triggers import frozen_fields, insert_only
from infra.work import WorkItem
from registry.models import Project, PromptVersion


class ComparisonState(models.TextChoices):
    PENDING = "pending", "Waiting for its runs"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"


class Comparison(WorkItem):
    """Two or more runs on the same cases, compared with the first of them and with the project's SLAs. A model sweep is
    one whose runs were created together, for one version and under one budget."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="comparisons")
    # The version whose models are tried; None where existing runs were chosen.
    swept = models.ForeignKey(PromptVersion, on_delete=models.PROTECT, null=True, related_name="sweeps")
    # For all runs of a sweep together.
    budget_usd = models.DecimalField(max_digits=12, decimal_places=6, null=True)
    # How much worse in quality (0 to 1) than the first run one would accept; set before anything is computed.
    margin = models.FloatField()
    # The targets of the day: {"quality": 0.8, "p99_latency_ms": 600}.
    slas = models.JSONField(default=dict)
    seed = models.PositiveIntegerField(default=0)
    state = models.CharField(max_length=10, choices=ComparisonState.choices, default=ComparisonState.PENDING)
    result = models.JSONField(null=True)
    by_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=ComparisonState.values), name="comparison_state_is_known"),
            models.CheckConstraint(condition=Q(margin__gte=0, margin__lte=1), name="comparison_margin_0_to_1"),
        ]
        indexes = [
            models.Index(fields=["project", "-id"], name="comparison_of_project"),
            models.Index(
                fields=["id"],
                condition=Q(state__in=(ComparisonState.PENDING, ComparisonState.RUNNING)),
                name="comparison_open",
            ),
        ]
        triggers = frozen_fields("project", "swept", "margin", "slas", "by_name", "created_at")

    def __str__(self) -> str:
        return f"comparison {self.pk}"

    @property
    def is_open(self) -> bool:
        """Say whether it waits for its runs, or is being computed."""
        return self.state in self.OPEN_STATES

    @property
    def runs(self) -> list[Run]:
        """The runs in their order; the first is what the others are compared with."""
        return [entry.run for entry in self.entries.all()]

    @property
    def baseline(self) -> Run:
        return self.runs[0]

    @property
    def candidate(self) -> Run | None:
        """The second of two runs; None where there are more."""
        runs = self.runs
        return runs[1] if len(runs) == 2 else None


class ComparisonRun(models.Model):
    """A run in a comparison. The first, at position 0, is what the others are compared with."""

    comparison = models.ForeignKey(Comparison, on_delete=models.PROTECT, related_name="entries")
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="comparison_entries")
    position = models.PositiveSmallIntegerField()

    class Meta:
        ordering = ["comparison", "position"]
        constraints = [
            models.UniqueConstraint(fields=["comparison", "run"], name="comparison_run_once"),
            models.UniqueConstraint(fields=["comparison", "position"], name="comparison_position_once"),
        ]
        triggers = insert_only()

    def __str__(self) -> str:
        return f"{self.run} in {self.comparison}"
