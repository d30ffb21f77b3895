from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from evaluations.models.datasets import Case, DatasetVersion
from infra.triggers import insert_only
from infra.work import WorkItem
from registry.models import ExampleSetVersion, User


class ReportKind(models.TextChoices):
    LEAKAGE = "leakage", "Leakage"
    READINESS = "readiness", "Readiness"


class ReportState(models.TextChoices):
    PENDING = "pending", "Waiting"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"


REPORT_OPEN = (ReportState.PENDING, ReportState.RUNNING)


class Report(WorkItem):
    """A report on a version; the newest of a kind that is done counts."""

    version = models.ForeignKey(DatasetVersion, on_delete=models.PROTECT, related_name="reports")
    kind = models.CharField(max_length=10, choices=ReportKind.choices)
    state = models.CharField(max_length=10, choices=ReportState.choices, default=ReportState.PENDING)
    # The current step for the page, and the result, whose members depend on the kind.
    progress = models.CharField(max_length=200, blank=True)
    result = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=ReportKind.values), name="report_kind_is_known"),
            models.CheckConstraint(condition=Q(state__in=ReportState.values), name="report_state_is_known"),
            models.UniqueConstraint(
                fields=["version", "kind"], condition=Q(state__in=REPORT_OPEN), name="report_once_open"
            ),
        ]
        indexes = [models.Index(fields=["version", "kind", "-id"], name="report_newest")]

    def __str__(self) -> str:
        return f"{self.kind} of {self.version}"


class FindingKind(models.TextChoices):
    EXACT = "exact", "The same input"
    CONTAINED = "contained", "Largely repeated in another"
    NEAR = "near", "Nearly the same"
    MEANING = "meaning", "The same meaning"
    CONTRADICTION = "contradiction", "Contradictory answers"


class Finding(models.Model):
    """A pair of rows that leaks. `held_out` is the one in the split that must stay unseen; the other is a case, or an
    example of a few-shot set."""

    report = models.ForeignKey(Report, on_delete=models.PROTECT, related_name="findings")
    kind = models.CharField(max_length=15, choices=FindingKind.choices)
    held_out = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="+")
    other = models.ForeignKey(Case, on_delete=models.PROTECT, null=True, related_name="+")
    example_set = models.ForeignKey(ExampleSetVersion, on_delete=models.PROTECT, null=True, related_name="+")
    position = models.PositiveIntegerField(null=True)
    # 1 is the same; None where the kind has no degree.
    score = models.FloatField(null=True)
    # True where the held-out row is a test case that is exposed to a model, which blocks fine-tuning.
    is_leak = models.BooleanField()

    class Meta:
        ordering = ["report", "id"]
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=FindingKind.values), name="finding_kind_is_known"),
            models.CheckConstraint(
                condition=Q(other__isnull=False) | Q(example_set__isnull=False, position__isnull=False),
                name="finding_has_two_rows",
            ),
        ]
        indexes = [models.Index(fields=["report", "kind", "id"], name="finding_by_kind")]
        triggers = insert_only()

    def __str__(self) -> str:
        return f"{self.kind}: {self.held_out_id}"


class LeakageOverride(models.Model):
    """An admin's decision to use a version in spite of its leaks, with the reason."""

    version = models.ForeignKey(DatasetVersion, on_delete=models.PROTECT, related_name="leakage_overrides")
    report = models.ForeignKey(Report, on_delete=models.PROTECT, related_name="overrides")
    reason = models.TextField(max_length=5_000)
    by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    by_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        triggers = insert_only()

    def __str__(self) -> str:
        return f"{self.version} overridden by {self.by_name}"
