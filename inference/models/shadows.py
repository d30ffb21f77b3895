from django.db import models
from django.db.models.functions import Now

from inference.models.experiments import ExperimentArm
from infra.triggers import frozen_fields_of_deletable_rows

OF_EACH = ("failed", "error", "latency_ms", "tokens_in", "tokens_out", "cost_usd", "format_ok")


class ShadowPair(models.Model):
    """A live call, and what a shadow arm answered to the same question beside it, which nobody was served. Kept as long
    as calls are. No usage has it: it is paid for, and no traffic."""

    arm = models.ForeignKey(ExperimentArm, on_delete=models.PROTECT, related_name="pairs", db_index=False)
    # The live call's reference.
    call = models.CharField(max_length=64)
    at = models.DateTimeField()
    recorded_at = models.DateTimeField(db_default=Now())
    # The process that asked, for budgets that several share (inference.gateway.allowances).
    process = models.CharField(max_length=32, blank=True)
    live_failed = models.BooleanField()
    live_latency_ms = models.FloatField(null=True)
    live_cost_usd = models.DecimalField(max_digits=14, decimal_places=8, null=True)
    live_format_ok = models.BooleanField(null=True)
    failed = models.BooleanField()
    error = models.CharField(max_length=60, blank=True)
    latency_ms = models.FloatField(null=True)
    tokens_in = models.PositiveIntegerField(null=True)
    tokens_out = models.PositiveIntegerField(null=True)
    cost_usd = models.DecimalField(max_digits=14, decimal_places=8, null=True)
    format_ok = models.BooleanField(null=True)
    # Whether both answered alike: as JSON where both are, else the text.
    is_same = models.BooleanField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["arm", "call"], name="shadow_pair_once")]
        indexes = [models.Index(fields=["arm", "at"], name="shadow_pair_of_arm")]
        triggers = frozen_fields_of_deletable_rows(
            *("arm", "call", "at", "process", "live_failed", "live_latency_ms", "live_cost_usd", "live_format_ok"),
            *(*OF_EACH, "is_same"),
        )

    def __str__(self) -> str:
        return f"{self.arm} beside {self.call}"
