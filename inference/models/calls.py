import pgtrigger
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from infra.triggers import frozen_fields_of_deletable_rows
from registry.models import Project, PromptVersion

FORGET_ONLY = """
IF NEW.subject <> '' OR NEW.metadata <> '{}'::jsonb THEN
    RAISE EXCEPTION 'subject, metadata of % are taken out, and never change', TG_TABLE_NAME;
END IF;
RETURN NEW;
"""


class Call(models.Model):
    """One live call, as the service that made it reports it. Kept for some months, and never changed, but for a subject
    that is deleted.

    The table is partitioned by `day`, the call's day (UTC), so that old days go at once (inference.calls.partitions).
    `id` is unique by its sequence; PostgreSQL's primary key is (day, id).
    """

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="calls")
    version = models.ForeignKey(PromptVersion, on_delete=models.PROTECT, related_name="calls")
    environment = models.CharField(max_length=60)
    # The service's own name of the call: what is sent again counts once.
    reference = models.CharField(max_length=64)
    at = models.DateTimeField()
    day = models.DateField()
    recorded_at = models.DateTimeField(db_default=Now())
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
    # The experiment that it was a part of: the run, its step, and the arm that was served; 0 and empty for the others.
    experiment_run = models.BigIntegerField(db_default=0, default=0)
    experiment_step = models.SmallIntegerField(db_default=0, default=0)
    arm = models.CharField(max_length=20, blank=True, db_default="")

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["project", "reference", "day"], name="call_once"),
            models.CheckConstraint(condition=Q(score=None) | Q(score__gte=0, score__lte=1), name="call_score_0_to_1"),
            models.CheckConstraint(condition=Q(latency_ms=None) | Q(latency_ms__gte=0), name="call_latency"),
            models.CheckConstraint(condition=Q(cost_usd=None) | Q(cost_usd__gte=0), name="call_cost"),
        ]
        indexes = [
            models.Index(fields=["version", "at"], name="call_of_version"),
            models.Index(fields=["project", "-at"], name="call_of_project"),
            models.Index(fields=["project", "subject"], condition=~Q(subject=""), name="call_of_subject"),
            models.Index(fields=["project", "trace"], condition=~Q(trace=""), name="call_of_trace"),
            # Of the inference service's calls: what a task did lately.
            models.Index(fields=["config_hash", "at"], condition=~Q(config_hash=""), name="call_of_config"),
        ]
        triggers = [
            *frozen_fields_of_deletable_rows(
                *("project", "version", "environment", "reference", "at", "day", "model_name", "failed", "latency_ms"),
                *("tokens_in", "tokens_cached", "tokens_cache_write", "tokens_out", "tokens_reasoning", "cost_usd"),
                *("format_ok", "score", "label", "is_simulation", "route", "config_hash", "fallback", "error"),
                *("is_repaired", "is_cached", "key", "retrieved"),
                *("finish_reason", "time_to_first_token_ms", "trace", "experiment_run", "experiment_step", "arm"),
            ),
            # What may hold a person's name is taken out when the subject is deleted, and changes in no other way.
            pgtrigger.Trigger(
                name="forget_only",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.AnyChange("subject", "metadata"),
                func=FORGET_ONLY,
            ),
        ]

    def __str__(self) -> str:
        return f"call {self.reference}"


class SpanCount(models.Model):
    """How many spans of OpenTelemetry came on a day (UTC) that were not recorded as calls, and why."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="span_counts")
    day = models.DateField()
    reason = models.CharField(max_length=60)
    spans = models.PositiveBigIntegerField()

    class Meta:
        ordering = ["-day", "reason"]
        constraints = [models.UniqueConstraint(fields=["project", "day", "reason"], name="span_count_once")]

    def __str__(self) -> str:
        return f"{self.spans:,} spans on {self.day}: {self.reason}"


class DeletedSubject(models.Model):
    """A subject that was deleted, by a keyed digest: records of its calls from before may still be on their way, on the
    disk of an inference service. Kept for some weeks."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="deleted_subjects")
    digest = models.CharField(max_length=64)
    at = models.DateTimeField()

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["project", "digest"], name="deleted_subject_once")]

    def __str__(self) -> str:
        return f"a subject deleted on {self.at:%Y-%m-%d}"


class RollupSpan(models.IntegerChoices):
    """How long the time of a rollup is, in minutes."""

    MINUTE = 1, "minute"
    HOUR = 60, "hour"
    DAY = 1_440, "day"


class UsageRollup(models.Model):
    """Usage of a version in an environment, by one route of one config, in one arm of an experiment where there
    is one, in a minute, an hour or a day (UTC).

    Each call, and each piece of feedback, is counted in exactly one row: sums over any time are sums over its rows.
    What comes is added as a delta, in the transaction that inserts it; workers merge deltas, and older rows to longer
    spans (inference.usage.rollups). Rows stay when the calls themselves are deleted.
    """

    version = models.ForeignKey(PromptVersion, on_delete=models.PROTECT, related_name="usage_rollups")
    environment = models.CharField(max_length=60)
    config_hash = models.CharField(max_length=71, blank=True, db_default="")
    route = models.CharField(max_length=20, blank=True, db_default="")
    is_simulation = models.BooleanField()
    # As on calls.
    experiment_run = models.BigIntegerField(db_default=0, default=0)
    experiment_step = models.SmallIntegerField(db_default=0, default=0)
    arm = models.CharField(max_length=20, blank=True, db_default="")
    minutes = models.PositiveSmallIntegerField(choices=RollupSpan.choices)
    start = models.DateTimeField()
    is_delta = models.BooleanField(db_default=False)
    # As inference.usage.stats.UsageStats.
    usage = models.JSONField()

    class Meta:
        ordering = ["start", "id"]
        constraints = [
            models.CheckConstraint(condition=Q(minutes__in=RollupSpan.values), name="rollup_span_is_known"),
            models.UniqueConstraint(
                fields=[
                    *("version", "environment", "start", "minutes", "config_hash", "route", "is_simulation"),
                    *("experiment_run", "experiment_step", "arm"),
                ],
                condition=Q(is_delta=False),
                name="rollup_once",
            ),
        ]
        indexes = [
            models.Index(fields=["version", "start"], name="rollup_of_version"),
            models.Index(fields=["minutes", "start"], name="rollup_by_span"),
            models.Index(fields=["id"], condition=Q(is_delta=True), name="rollup_deltas"),
            models.Index(fields=["config_hash", "start"], condition=~Q(config_hash=""), name="rollup_of_config"),
            models.Index(fields=["experiment_run"], condition=~Q(experiment_run=0), name="rollup_of_experiment"),
        ]

    def __str__(self) -> str:
        return (
            f"{self.version} in {self.environment} in the {self.get_minutes_display()} of {self.start:%Y-%m-%d %H:%M}"
        )
