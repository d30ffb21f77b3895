import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from infra.triggers import frozen_fields_of_deletable_rows
from registry.models import Project
from registry.models.notify_triggers import notify_trigger


class TextPolicy(models.Model):
    """Which texts of a project's calls are kept: none without it."""

    project = models.OneToOneField(Project, on_delete=models.PROTECT, related_name="text_policy")
    # Of the calls, from 0 (none) to 1 (all); for so many days.
    share = models.FloatField(default=0)
    days = models.PositiveSmallIntegerField(default=14)
    # What is taken out before anything is written down: names in core.redaction.PRESETS, and patterns of the project's.
    presets: "ArrayField[list[str], list[str]]" = ArrayField(models.CharField(max_length=20), default=list)
    patterns: "ArrayField[list[str], list[str]]" = ArrayField(models.TextField(), default=list, blank=True)
    changed_at = models.DateTimeField(db_default=Now())
    by_name = models.CharField(max_length=200)

    class Meta:
        ordering = ["project"]
        constraints = [
            models.CheckConstraint(condition=Q(share__gte=0, share__lte=1), name="text_policy_share"),
            models.CheckConstraint(condition=Q(days__gte=1, days__lte=365), name="text_policy_days"),
        ]
        # The inference service keeps by what holds now.
        triggers = [notify_trigger("ROW.project_id", pgtrigger.Insert | pgtrigger.Update)]

    def __str__(self) -> str:
        return f"{self.share:.0%} of the calls for {self.days} days"


class CallText(models.Model):
    """What a call was asked and answered, redacted; deleted after the days of its project's policy."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="call_texts")
    # Of the call (Call.reference), which may come and go by itself.
    reference = models.CharField(max_length=64)
    at = models.DateTimeField()
    subject = models.CharField(max_length=200, blank=True)
    # What it was rendered with; empty for a call that came without a prompt.
    variables = models.JSONField(db_default=models.Value({}, models.JSONField()), default=dict)
    messages = models.JSONField()
    answer = models.JSONField()

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["project", "reference"], name="call_text_once")]
        indexes = [models.Index(fields=["project", "at"], name="call_text_at")]
        triggers = frozen_fields_of_deletable_rows(
            "project", "reference", "at", "subject", "variables", "messages", "answer"
        )

    def __str__(self) -> str:
        return f"text of call {self.reference}"
