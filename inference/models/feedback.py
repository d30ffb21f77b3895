import pgtrigger
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from infra.triggers import frozen_fields_of_deletable_rows
from registry.models import Project, PromptVersion

FOUND_ONCE = """
IF OLD.call_at IS NOT NULL THEN
    RAISE EXCEPTION 'the call of % never changes', TG_TABLE_NAME;
END IF;
RETURN NEW;
"""


class FeedbackKind(models.TextChoices):
    SCORE = "score", "Score from 0 to 1"
    BOOLEAN = "boolean", "Yes or no"
    LABEL = "label", "Label"
    COMMENT = "comment", "Comment"
    CORRECTION = "correction", "Corrected answer"


class FeedbackSource(models.TextChoices):
    SERVICE = "service", "A service"
    SUBJECT = "subject", "Its subject"
    PERSON = "person", "A member of the project"
    JUDGE = "judge", "A model"


class Feedback(models.Model):
    """What was learned of a call later: one value of one kind, under a name. It waits until its call is recorded, is
    then counted with it (inference.calls.feedback), and never changes; it goes with the call, or with its subject."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="feedback")
    # The sender's own id: sent again, it counts once.
    reference = models.CharField(max_length=64)
    # How the sender names the call: its id, or its trace, or the subject and the prompt of the newest before `at`.
    call = models.CharField(max_length=64, blank=True)
    trace = models.CharField(max_length=32, blank=True)
    subject = models.CharField(max_length=200, blank=True)
    prompt = models.CharField(max_length=200, blank=True)
    within_seconds = models.PositiveIntegerField(null=True)
    # The call that it is of, when that is there.
    call_at = models.DateTimeField(null=True)
    version = models.ForeignKey(PromptVersion, on_delete=models.PROTECT, null=True, related_name="feedback")
    environment = models.CharField(max_length=60, blank=True)
    kind = models.CharField(max_length=12, choices=FeedbackKind.choices)
    name = models.CharField(max_length=60)
    # Of scores; of yes and no, as 1 and 0.
    value = models.FloatField(null=True)
    # Of labels, comments and corrected answers.
    text = models.TextField(blank=True)
    source = models.CharField(max_length=10, choices=FeedbackSource.choices)
    at = models.DateTimeField()
    by_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["project", "reference"], name="feedback_once"),
            models.CheckConstraint(
                condition=Q(kind__in=["score", "boolean"], value__gte=0, value__lte=1)
                | Q(kind__in=["label", "comment", "correction"], value=None),
                name="feedback_has_the_value_of_its_kind",
            ),
            models.CheckConstraint(condition=Q(source__in=FeedbackSource.values), name="feedback_source_is_known"),
        ]
        indexes = [
            models.Index(fields=["project", "call"], name="feedback_of_call"),
            models.Index(fields=["at"], name="feedback_at"),
            models.Index(fields=["project", "trace"], condition=Q(call_at=None), name="feedback_waits"),
            models.Index(fields=["project", "subject"], condition=~Q(subject=""), name="feedback_of_subject"),
        ]
        triggers = [
            *frozen_fields_of_deletable_rows(
                *("project", "reference", "trace", "subject", "prompt", "within_seconds", "kind", "name", "value"),
                *("text", "source", "at", "by_name", "created_at"),
            ),
            pgtrigger.Trigger(
                name="found_once",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.AnyChange("call", "call_at", "version", "environment"),
                func=FOUND_ONCE,
            ),
        ]
        verbose_name_plural = "feedback"

    def __str__(self) -> str:
        return f"{self.name} of call {self.call or '(not there yet)'}"
