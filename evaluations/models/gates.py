from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from evaluations.models.comparisons import Comparison
from evaluations.models.datasets import Dataset, DatasetVersion
from evaluations.models.providers import ProviderModel
from evaluations.models.runs import Run
from registry.models import Environment, Project, PromptVersion, VersionCheck


class SLA(models.Model):
    """Targets for a project's prompts; an empty member sets none."""

    project = models.OneToOneField(Project, on_delete=models.PROTECT, related_name="slas")
    p99_latency_ms = models.PositiveIntegerField(null=True, blank=True)
    # The calls in flight with which a latency counts; any where it is empty.
    concurrency = models.PositiveSmallIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(256)]
    )
    cost_per_call_usd = models.DecimalField(max_digits=12, decimal_places=6, null=True, blank=True)
    # Shares from 0 to 1.
    format_adherence = models.FloatField(null=True, blank=True)
    quality = models.FloatField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "service levels"
        constraints = [
            models.CheckConstraint(
                condition=Q(format_adherence=None) | Q(format_adherence__gte=0, format_adherence__lte=1),
                name="service_level_format_0_to_1",
            ),
            models.CheckConstraint(
                condition=Q(quality=None) | Q(quality__gte=0, quality__lte=1), name="service_level_quality_0_to_1"
            ),
        ]

    def __str__(self) -> str:
        return f"service levels of {self.project}"


class Gate(models.Model):
    """A rule that a version must pass in a run before it is released to an environment: a required check. It never
    changes, only another one replaces it, so that the meaning of its gate runs stays."""

    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="gates")
    # The check's name on versions; the environment requires it.
    name = models.CharField(max_length=100)
    # Prompts that it is for: a name, or the start of names ("support."); empty for all.
    prompts = models.CharField(max_length=200, blank=True)
    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT, related_name="gates")
    # Its cases: changing them is a change of the rules, so another version needs an admin.
    dataset_version = models.ForeignKey(DatasetVersion, on_delete=models.PROTECT, related_name="+")
    split = models.CharField(max_length=10, default="test")
    model = models.ForeignKey(ProviderModel, on_delete=models.PROTECT, related_name="gates")
    scorers = models.JSONField()
    repetitions = models.PositiveSmallIntegerField(default=1)
    # The minimum quality (0 to 1), and whether it may be worse than the live version by at most the margin.
    min_quality = models.FloatField(null=True)
    # The scorer, by its name, that has to reach the minimum; empty for the mean that is the run's quality.
    quality_scorer = models.CharField(max_length=100, blank=True)
    not_worse = models.BooleanField(default=True)
    margin = models.FloatField(default=0.02)
    keeps_slas = models.BooleanField(default=True)
    budget_usd = models.DecimalField(max_digits=12, decimal_places=6, null=True)
    removed_at = models.DateTimeField(null=True, editable=False)
    created_by_name = models.CharField(max_length=200, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["environment", "name"]
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "name"],
                condition=Q(removed_at=None),
                name="gate_name_once",
                violation_error_message="This environment has a gate of this name.",
            ),
            models.CheckConstraint(condition=Q(margin__gte=0, margin__lte=1), name="gate_margin_0_to_1"),
            models.CheckConstraint(condition=Q(repetitions__gte=1, repetitions__lte=20), name="gate_repeats_1_to_20"),
        ]

    def __str__(self) -> str:
        return f"{self.name} of {self.environment}"


class GateState(models.TextChoices):
    RUNNING = "running", "Under way"
    PASSED = "passed", "Passed"
    FAILED = "failed", "Not passed"
    ERRORED = "errored", "Could not be measured"


class GateRun(models.Model):
    """A gate measured on a version: its runs and their outcome."""

    gate = models.ForeignKey(Gate, on_delete=models.PROTECT, related_name="runs")
    version = models.ForeignKey(PromptVersion, on_delete=models.PROTECT, related_name="gate_runs")
    dataset_version = models.ForeignKey(DatasetVersion, on_delete=models.PROTECT, related_name="+")
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="+")
    # The run of the live version; None where none is live.
    baseline = models.ForeignKey(Run, on_delete=models.PROTECT, null=True, related_name="+")
    comparison = models.ForeignKey(Comparison, on_delete=models.PROTECT, null=True, related_name="+")
    state = models.CharField(max_length=10, choices=GateState.choices, default=GateState.RUNNING)
    # [{"met": true, "text": "Quality 0.91 (0.87 to 0.94), at least 0.85."}]
    reasons = models.JSONField(default=list)
    check_written = models.ForeignKey(VersionCheck, on_delete=models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=GateState.values), name="gate_run_state_is_known"),
            models.UniqueConstraint(
                fields=["gate", "version"], condition=Q(state=GateState.RUNNING), name="gate_run_once_open"
            ),
        ]
        indexes = [models.Index(fields=["gate", "version", "-id"], name="gate_run_newest")]

    def __str__(self) -> str:
        return f"{self.gate} on {self.version}"
