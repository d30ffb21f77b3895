import pgtrigger
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from evaluations.models import DatasetVersion
from finetunes.providers.jsonl import Method
from infra.triggers import frozen_fields, insert_only
from infra.work import WorkItem
from registry.models import ByActor, Project, PromptVersion


class TrainingSetState(models.TextChoices):
    PENDING = "pending", "Waiting"
    RUNNING = "running", "Being built"
    DONE = "done", "Built"
    FAILED = "failed", "Failed"


class TrainingSet(WorkItem, ByActor):
    """Files to learn from: a dataset version's train and validation cases, asked with a short prompt. The recipe is
    fixed from the start, so building it again gives the same bytes; once it is built nothing changes."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="training_sets")
    dataset_version = models.ForeignKey(DatasetVersion, on_delete=models.PROTECT, related_name="training_sets")
    # The prompt that the tuned model is to replace, and the short one that it is asked with.
    source = models.ForeignKey(PromptVersion, on_delete=models.PROTECT, related_name="training_sets")
    prompt = models.ForeignKey(PromptVersion, on_delete=models.PROTECT, related_name="+")
    method = models.CharField(max_length=10, choices=[(method.value, method.value) for method in Method])
    # Where preference pairs come from: {"comparison": 3}, {"run": 5} or {"round": 7}; empty for supervised ones.
    pairs = models.JSONField(default=dict)
    # In a cross-validation: the n-th of n folds is for the test. 0 where a set is no fold.
    fold = models.PositiveSmallIntegerField(default=0)
    folds = models.PositiveSmallIntegerField(default=0)
    recipe_hash = models.CharField(max_length=71)

    state = models.CharField(max_length=10, choices=TrainingSetState.choices, default=TrainingSetState.PENDING)
    # Of the bytes of all its files.
    content_hash = models.CharField(max_length=71, blank=True)
    train = models.PositiveIntegerField(default=0)
    validation = models.PositiveIntegerField(default=0)
    size = models.PositiveBigIntegerField(default=0)
    # Faults and advisories; and the tokens of each line, by vocabulary.
    report = models.JSONField(default=dict)
    lengths = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=TrainingSetState.values), name="training_set_state_is_known"),
            models.CheckConstraint(
                condition=Q(method__in=[method.value for method in Method]), name="training_set_method_is_known"
            ),
            models.CheckConstraint(
                condition=Q(fold=0, folds=0) | Q(fold__gte=1, fold__lte=F("folds"), folds__gte=2),
                name="training_set_fold_is_one_of_its_folds",
            ),
            # The same recipe is the same set; one that failed may be tried again.
            models.UniqueConstraint(
                fields=["project", "recipe_hash"], condition=~Q(state="failed"), name="training_set_once"
            ),
        ]
        indexes = [
            models.Index(fields=["project", "-id"], name="training_set_of_project"),
            models.Index(fields=["id"], condition=Q(state__in=["pending", "running"]), name="training_set_open"),
        ]
        triggers = [
            *frozen_fields(
                *("project", "dataset_version", "source", "prompt", "method", "pairs", "fold", "folds"),
                *("recipe_hash", "by_name", "created_at"),
            ),
            pgtrigger.Trigger(
                name="refuse_change_when_over",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.Q(old__state__in=["done", "failed"]),
                func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;",
            ),
        ]

    def __str__(self) -> str:
        return f"training set {self.pk}"

    @property
    def is_open(self) -> bool:
        """Say whether it waits for a worker, or is being built."""
        return self.state in self.OPEN_STATES

    @property
    def errors(self) -> int:
        """Return the number of faults that keep it from being used."""
        return int(self.report.get("errors", 0))


class TrainingFile(models.Model):
    """A piece of one of a set's files."""

    training_set = models.ForeignKey(TrainingSet, on_delete=models.PROTECT, related_name="files")
    file = models.CharField(max_length=10)
    number = models.PositiveIntegerField()
    data = models.BinaryField()

    class Meta:
        ordering = ["training_set", "file", "number"]
        constraints = [
            models.UniqueConstraint(fields=["training_set", "file", "number"], name="training_file_piece_once")
        ]
        triggers = insert_only()

    def __str__(self) -> str:
        return f"{self.file} of {self.training_set}, piece {self.number}"
