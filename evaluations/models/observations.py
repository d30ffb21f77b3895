from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from registry.models import Project, PromptVersion
from registry.models.insert_only import frozen_while_kept, insert_only


class Observation(models.Model):
    """One live call, as the service that made it reports it. Kept for some months, and never changed."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="observations")
    version = models.ForeignKey(PromptVersion, on_delete=models.PROTECT, related_name="observations")
    environment = models.CharField(max_length=60)
    # The service's own name of the call: what is sent again counts once.
    reference = models.CharField(max_length=64)
    at = models.DateTimeField()
    model_name = models.CharField(max_length=200, blank=True)
    failed = models.BooleanField(default=False)
    latency_ms = models.FloatField(null=True)
    tokens_in = models.PositiveIntegerField(null=True)
    tokens_out = models.PositiveIntegerField(null=True)
    cost_usd = models.DecimalField(max_digits=14, decimal_places=8, null=True)
    format_ok = models.BooleanField(null=True)
    score = models.FloatField(null=True)
    label = models.CharField(max_length=100, blank=True)
    is_simulation = models.BooleanField(default=False)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["project", "reference"], name="observation_once"),
            models.CheckConstraint(
                condition=Q(score=None) | Q(score__gte=0, score__lte=1), name="observation_score_0_to_1"
            ),
            models.CheckConstraint(condition=Q(latency_ms=None) | Q(latency_ms__gte=0), name="observation_latency"),
            models.CheckConstraint(condition=Q(cost_usd=None) | Q(cost_usd__gte=0), name="observation_cost"),
        ]
        indexes = [
            models.Index(fields=["version", "at"], name="observation_of_version"),
            models.Index(fields=["at"], name="observation_at"),
        ]
        triggers = frozen_while_kept(
            *("project", "version", "environment", "reference", "at", "model_name", "failed", "latency_ms"),
            *("tokens_in", "tokens_out", "cost_usd", "format_ok", "score", "label", "is_simulation"),
        )

    def __str__(self) -> str:
        return f"call {self.reference}"


class ObservationDay(models.Model):
    """What a version's calls of one day (UTC) in an environment came to, written once when nothing more of it is taken
    (evaluations.traffic.Traffic). It stays when the calls themselves are gone."""

    version = models.ForeignKey(PromptVersion, on_delete=models.PROTECT, related_name="observation_days")
    environment = models.CharField(max_length=60)
    day = models.DateField()
    is_simulation = models.BooleanField()
    traffic = models.JSONField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-day", "id"]
        constraints = [models.UniqueConstraint(fields=["version", "environment", "day"], name="observation_day_once")]
        indexes = [models.Index(fields=["-day"], name="observation_day_newest")]
        triggers = insert_only()

    def __str__(self) -> str:
        return f"{self.version} in {self.environment} on {self.day}"


class MonitorState(models.TextChoices):
    UNKNOWN = "unknown", "Too few calls"
    OK = "ok", "As it should be"
    ALERT = "alert", "Out of bounds"


class Monitor(models.Model):
    """A figure of a prompt's live calls that has to stay within a bound; looked at every few minutes."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="monitors")
    prompt = models.ForeignKey("registry.Prompt", on_delete=models.PROTECT, related_name="monitors")
    environment = models.CharField(max_length=60)
    figure = models.CharField(max_length=20)
    bound = models.FloatField()
    # Over the last so many hours, and of so many calls at least.
    hours = models.PositiveSmallIntegerField(default=24)
    fewest = models.PositiveIntegerField(default=30)
    state = models.CharField(max_length=10, choices=MonitorState.choices, default=MonitorState.UNKNOWN)
    value = models.FloatField(null=True)
    calls = models.PositiveIntegerField(default=0)
    looked_at = models.DateTimeField(null=True)
    changed_at = models.DateTimeField(null=True)
    removed_at = models.DateTimeField(null=True)
    by_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["prompt", "id"]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=MonitorState.values), name="monitor_state_is_known"),
            models.CheckConstraint(condition=Q(hours__gte=1, hours__lte=720), name="monitor_hours_1_to_720"),
        ]
        indexes = [models.Index(fields=["id"], condition=Q(removed_at=None), name="monitor_in_use")]
        triggers = frozen_while_kept(
            *("project", "prompt", "environment", "figure", "bound", "hours", "fewest", "by_name", "created_at")
        )

    def __str__(self) -> str:
        return f"{self.figure} of {self.prompt}"
