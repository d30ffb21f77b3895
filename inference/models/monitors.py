from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from inference.models.experiments import ExperimentEvent, ExperimentRun
from infra.triggers import frozen_fields, frozen_fields_of_deletable_rows
from registry.models import APIKey, Project, User


class MonitorState(models.TextChoices):
    UNKNOWN = "unknown", "Cannot be told"
    OK = "ok", "OK"
    ALERT = "alert", "Breached"


class Monitor(models.Model):
    """A figure of a prompt's live calls that has to stay within a bound; checked every few minutes."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="monitors")
    prompt = models.ForeignKey("registry.Prompt", on_delete=models.PROTECT, related_name="monitors")
    environment = models.CharField(max_length=60)
    figure = models.CharField(max_length=20)
    bound = models.FloatField()
    # Over the last so many hours, and of so many calls at least.
    hours = models.PositiveSmallIntegerField(default=24)
    min_calls = models.PositiveIntegerField(default=30)
    state = models.CharField(max_length=10, choices=MonitorState.choices, default=MonitorState.UNKNOWN)
    value = models.FloatField(null=True)
    calls = models.PositiveIntegerField(default=0)
    looked_at = models.DateTimeField(null=True)
    changed_at = models.DateTimeField(null=True)
    # No alerts are opened until then.
    muted_until = models.DateTimeField(null=True)
    removed_at = models.DateTimeField(null=True)
    # Of a golden set: what its nightly runs are like, and for whom they are made.
    run = models.ForeignKey("evaluations.Run", on_delete=models.PROTECT, null=True, related_name="monitors")
    by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    by_key = models.ForeignKey(APIKey, on_delete=models.PROTECT, null=True, related_name="+")
    by_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["prompt", "id"]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=MonitorState.values), name="monitor_state_is_known"),
            models.CheckConstraint(condition=Q(hours__gte=1, hours__lte=720), name="monitor_hours_1_to_720"),
        ]
        indexes = [models.Index(fields=["id"], condition=Q(removed_at=None), name="monitor_in_use")]
        triggers = frozen_fields_of_deletable_rows(
            *("project", "prompt", "environment", "figure", "bound", "hours", "min_calls", "run", "by", "by_key"),
            *("by_name", "created_at"),
        )

    def __str__(self) -> str:
        return f"{self.figure} of {self.prompt}"


class NightlyRun(models.Model):
    """A night of a golden set: the run of the live version, and how it compares with the version's first night."""

    monitor = models.ForeignKey(Monitor, on_delete=models.PROTECT, related_name="nightly_runs")
    day = models.DateField()
    version = models.ForeignKey("registry.PromptVersion", on_delete=models.PROTECT, related_name="+")
    run = models.OneToOneField("evaluations.Run", on_delete=models.PROTECT, null=True, related_name="nightly_run")
    comparison = models.ForeignKey("evaluations.Comparison", on_delete=models.PROTECT, null=True, related_name="+")
    cases = models.PositiveIntegerField(default=0)
    # By how much the quality is below the reference's; None where that cannot be told.
    loss = models.FloatField(null=True)
    is_worse = models.BooleanField(default=False)
    sentence = models.CharField(max_length=500, blank=True)
    settled_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-day"]
        constraints = [models.UniqueConstraint(fields=["monitor", "day"], name="nightly_run_once")]
        triggers = frozen_fields("monitor", "day", "version")

    def __str__(self) -> str:
        return f"{self.monitor} on {self.day}"


class Alert(models.Model):
    """A monitor was breached, or an experiment has acted; at most one of a monitor is open.

    It ends when somebody resolves it, or when the figure is within its bound again.
    """

    monitor = models.ForeignKey(Monitor, on_delete=models.PROTECT, null=True, related_name="alerts")
    event = models.OneToOneField(ExperimentEvent, on_delete=models.PROTECT, null=True, related_name="alert")
    opened_at = models.DateTimeField(db_default=Now())
    value = models.FloatField(null=True)
    calls = models.PositiveIntegerField()
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.CharField(max_length=200, blank=True)
    note = models.TextField(blank=True)
    resolved_at = models.DateTimeField(null=True)
    # A member, or "recovered".
    resolved_by = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["monitor"], condition=Q(resolved_at=None), name="alert_open_once"),
            models.CheckConstraint(
                condition=Q(monitor=None, event__isnull=False) | Q(monitor__isnull=False, event=None),
                name="alert_is_of_one",
            ),
        ]
        triggers = frozen_fields("monitor", "event", "opened_at", "value", "calls")

    def __str__(self) -> str:
        return f"alert {self.pk} of {self.about}"

    @property
    def about(self) -> "Monitor | ExperimentRun":
        """What it is about."""
        if self.event is not None:
            return self.event.run
        assert self.monitor is not None  # noqa: S101 - for the type checker: the database has a constraint
        return self.monitor

    @property
    def prompt(self) -> str:
        return self.about.prompt.name

    @property
    def environment(self) -> str:
        return str(self.about.environment)

    @property
    def figure(self) -> str:
        """The monitor's figure, or `experiment`."""
        return "experiment" if self.monitor is None else self.monitor.figure
