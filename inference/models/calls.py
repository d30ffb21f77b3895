from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from infra.triggers import frozen_fields_of_deletable_rows, insert_only
from registry.models import Project, PromptVersion


class Call(models.Model):
    """One live call, as the service that made it reports it. Kept for some months, and never changed."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="calls")
    version = models.ForeignKey(PromptVersion, on_delete=models.PROTECT, related_name="calls")
    environment = models.CharField(max_length=60)
    # The service's own name of the call: what is sent again counts once.
    reference = models.CharField(max_length=64)
    at = models.DateTimeField()
    model_name = models.CharField(max_length=200, blank=True)
    failed = models.BooleanField(default=False)
    latency_ms = models.FloatField(null=True)
    # As in evaluations.providers.prices.TokenUsage; None where the service did not tell.
    tokens_in = models.PositiveIntegerField(null=True)
    tokens_cached = models.PositiveIntegerField(null=True)
    tokens_cache_write = models.PositiveIntegerField(null=True)
    tokens_out = models.PositiveIntegerField(null=True)
    tokens_reasoning = models.PositiveIntegerField(null=True)
    cost_usd = models.DecimalField(max_digits=14, decimal_places=8, null=True)
    format_ok = models.BooleanField(null=True)
    score = models.FloatField(null=True)
    label = models.CharField(max_length=100, blank=True)
    is_simulation = models.BooleanField(default=False)
    # What the inference service knows of its own calls: the route and the config by which it was taken, why the
    # fallback was, how it ended, and whose it is.
    route = models.CharField(max_length=20, blank=True, db_default="")
    config_hash = models.CharField(max_length=71, blank=True, db_default="")
    fallback = models.CharField(max_length=60, blank=True, db_default="")
    error = models.CharField(max_length=60, blank=True, db_default="")
    finish_reason = models.CharField(max_length=30, blank=True, db_default="")
    # Whether the model was told once what is wrong with the form of its answer; whether the answer was one that was
    # kept, which costs nothing.
    is_repaired = models.BooleanField(db_default=False)
    is_cached = models.BooleanField(db_default=False)
    time_to_first_token_ms = models.FloatField(null=True)
    subject = models.CharField(max_length=200, blank=True, db_default="")
    trace = models.CharField(max_length=32, blank=True, db_default="")
    # The id of the key that asked (APIKey.key_id); no reference, so that a key that is gone leaves its calls.
    key = models.CharField(max_length=12, blank=True, db_default="")
    # The chunks that were found for it, the best first: source, revision, chunk, score.
    retrieved = models.JSONField(db_default=models.Value([], models.JSONField()), blank=True, default=list)
    metadata = models.JSONField(db_default=models.Value({}, models.JSONField()), blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["project", "reference"], name="call_once"),
            models.CheckConstraint(condition=Q(score=None) | Q(score__gte=0, score__lte=1), name="call_score_0_to_1"),
            models.CheckConstraint(condition=Q(latency_ms=None) | Q(latency_ms__gte=0), name="call_latency"),
            models.CheckConstraint(condition=Q(cost_usd=None) | Q(cost_usd__gte=0), name="call_cost"),
        ]
        indexes = [
            models.Index(fields=["version", "at"], name="call_of_version"),
            models.Index(fields=["at"], name="call_at"),
            # Of the inference service's calls: what a task did lately.
            models.Index(fields=["config_hash", "at"], condition=~Q(config_hash=""), name="call_of_config"),
        ]
        triggers = frozen_fields_of_deletable_rows(
            *("project", "version", "environment", "reference", "at", "model_name", "failed", "latency_ms"),
            *("tokens_in", "tokens_cached", "tokens_cache_write", "tokens_out", "tokens_reasoning", "cost_usd"),
            *("format_ok", "score", "label", "is_simulation", "route", "config_hash", "fallback", "error"),
            *("is_repaired", "is_cached", "key", "retrieved"),
            *("finish_reason", "time_to_first_token_ms", "subject", "trace", "metadata"),
        )

    def __str__(self) -> str:
        return f"call {self.reference}"


class CallDay(models.Model):
    """Usage of a version on one day (UTC) in an environment, written once when no more calls of it are accepted
    (inference.calls.usage_stats.UsageStats). It stays when the calls themselves are deleted."""

    version = models.ForeignKey(PromptVersion, on_delete=models.PROTECT, related_name="call_days")
    environment = models.CharField(max_length=60)
    day = models.DateField()
    is_simulation = models.BooleanField()
    usage = models.JSONField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-day", "id"]
        constraints = [models.UniqueConstraint(fields=["version", "environment", "day"], name="call_day_once")]
        indexes = [models.Index(fields=["-day"], name="call_day_newest")]
        triggers = insert_only()

    def __str__(self) -> str:
        return f"{self.version} in {self.environment} on {self.day}"
