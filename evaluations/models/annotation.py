from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from evaluations.models.datasets import Case, Dataset, DatasetVersion
from registry.models import User


class RoundState(models.TextChoices):
    OPEN = "open", "Open"
    APPLIED = "applied", "Applied"
    CLOSED = "closed", "Closed"


class AnnotationRound(models.Model):
    """A round of annotation: cases of a version whose expected outputs one or two annotators each write or correct."""

    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT, related_name="rounds")
    version = models.ForeignKey(DatasetVersion, on_delete=models.PROTECT, related_name="rounds")
    title = models.CharField(max_length=200)
    annotators = models.PositiveSmallIntegerField(default=1)
    # Labels that can be chosen by a key; empty: the answer is typed.
    labels: "ArrayField[list[str], list[str]]" = ArrayField(models.CharField(max_length=100), default=list, blank=True)
    # The member of an object that a chosen label goes to ("category"); empty: the label is the whole answer.
    label_member = models.CharField(max_length=100, blank=True)
    state = models.CharField(max_length=10, choices=RoundState.choices, default=RoundState.OPEN)
    result = models.ForeignKey(DatasetVersion, on_delete=models.PROTECT, null=True, related_name="+")
    created_by_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=RoundState.values), name="round_state_is_known"),
            models.CheckConstraint(condition=Q(annotators__in=(1, 2)), name="round_has_one_or_two_annotators"),
        ]

    def __str__(self) -> str:
        return self.title


class AnnotationItem(models.Model):
    """A case in a round. The user who opens it holds it for some minutes, so that work is not done twice."""

    round = models.ForeignKey(AnnotationRound, on_delete=models.CASCADE, related_name="items")
    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="+")
    annotation_count = models.PositiveSmallIntegerField(default=0)
    held_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    held_until = models.DateTimeField(null=True)
    # The decision on a case with two different answers; the answers stay as they are.
    decided = models.JSONField(null=True)
    decided_by_name = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["round", "id"]
        constraints = [
            models.UniqueConstraint(fields=["round", "case"], name="annotation_item_once"),
            models.CheckConstraint(condition=Q(annotation_count__lte=3), name="annotation_item_annotated_by_few"),
        ]
        indexes = [models.Index(fields=["round", "annotation_count", "id"], name="annotation_item_next")]

    def __str__(self) -> str:
        return f"{self.round}: {self.case}"


class Annotation(models.Model):
    """One annotator's expected output for a case."""

    item = models.ForeignKey(AnnotationItem, on_delete=models.CASCADE, related_name="annotations")
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    by_name = models.CharField(max_length=200)
    expected = models.JSONField(null=True)
    label = models.CharField(max_length=100, blank=True)
    note = models.CharField(max_length=1_000, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["item", "id"]
        constraints = [models.UniqueConstraint(fields=["item", "by"], name="annotation_once_a_person")]

    def __str__(self) -> str:
        return f"{self.by_name} on {self.item}"
