from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from evaluations.models.datasets import Dataset, DatasetVersion
from infra.work import WorkItem
from registry.models import ByActor


class ImportState(models.TextChoices):
    UPLOADING = "uploading", "Uploading"
    PENDING = "pending", "Waiting"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"


IMPORT_OPEN = (ImportState.PENDING, ImportState.RUNNING)


class DatasetImport(WorkItem, ByActor):
    """An import of a file into a dataset: uploaded in parts, then read by a worker."""

    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT, related_name="imports")
    state = models.CharField(max_length=10, choices=ImportState.choices, default=ImportState.UPLOADING)
    filename = models.CharField(max_length=200)
    format = models.CharField(max_length=10)
    # {"expected": "...", "group": "...", "renamed": {...}, "left_out": [...]}: what the user says of the file's names.
    columns = models.JSONField(default=dict)
    replace = models.BooleanField(default=False)
    skip_bad = models.BooleanField(default=False)
    message = models.CharField(max_length=500, blank=True)
    bytes = models.BigIntegerField(default=0)
    rows_read = models.PositiveIntegerField(default=0)
    rows_added = models.PositiveIntegerField(default=0)
    rows_known = models.PositiveIntegerField(default=0)
    rows_bad = models.PositiveIntegerField(default=0)
    # The first ones: [{"line": 7, "pointer": "/tags", "code": "tags", "message": "..."}].
    faults = models.JSONField(default=list)
    # What became of the file's names: {"variables": {"ticket": 364}, "expected": {...}, "left_out": {...}}, in rows.
    mapping = models.JSONField(default=dict)
    # Scorers that the file's own assertions stand for, and sentences on those that have none (promptfoo).
    scorers = models.JSONField(default=list)
    left_out = models.JSONField(default=list)
    version = models.ForeignKey(DatasetVersion, on_delete=models.PROTECT, null=True, related_name="imports")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=ImportState.values), name="import_state_is_known"),
        ]
        indexes = [
            models.Index(fields=["dataset", "-id"], name="import_of_dataset"),
            # Reconciliation reads open rows only.
            models.Index(fields=["id"], condition=Q(state__in=IMPORT_OPEN), name="import_open"),
        ]

    def __str__(self) -> str:
        return f"{self.filename} into {self.dataset}"


class PartKind(models.TextChoices):
    FILE = "file", "Of the file"
    REJECTED = "rejected", "Of the rejected rows"


class ImportPart(models.Model):
    """A piece of the uploaded file, or of the file of rejected rows. Web and worker may be two machines, so
    the database stores it; the parts of the file are deleted when it has been read."""

    of = models.ForeignKey(DatasetImport, on_delete=models.CASCADE, related_name="parts")
    kind = models.CharField(max_length=10, choices=PartKind.choices, default=PartKind.FILE)
    number = models.PositiveIntegerField()
    data = models.BinaryField()

    class Meta:
        ordering = ["of", "kind", "number"]
        constraints = [
            models.UniqueConstraint(fields=["of", "kind", "number"], name="import_part_once"),
            models.CheckConstraint(condition=Q(kind__in=PartKind.values), name="import_part_kind_is_known"),
        ]

    def __str__(self) -> str:
        return f"part {self.number} of {self.of_id}"
