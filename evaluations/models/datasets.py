from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from infra.triggers import insert_only
from registry.models import APIKey, Project, UploadedImage, User
from registry.models.prompts import CONTENT_HASH, PROMPT_NAME


class Split(models.TextChoices):
    TRAIN = "train", "Train"
    VALIDATION = "validation", "Validation"
    TEST = "test", "Test"
    GENERAL = "general", "General"


class Dataset(models.Model):
    """A named dataset of a project; its cases are in its versions. The row is also its lock."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="datasets")
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True, max_length=20_000)
    # How cases are assigned to splits (evaluations.datasets.splits); a version keeps the values of its time.
    seed = models.PositiveIntegerField()
    split_ratios = models.JSONField()
    created_by_name = models.CharField(max_length=200, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    head = models.ForeignKey("DatasetVersion", on_delete=models.PROTECT, null=True, editable=False, related_name="+")
    archived_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        # The unique constraint's index serves this order.
        ordering = ["project", "name"]
        constraints = [
            models.UniqueConstraint(
                fields=["project", "name"],
                name="dataset_name_once",
                violation_error_message="A dataset with this name exists.",
            ),
            models.CheckConstraint(condition=Q(name__regex=PROMPT_NAME), name="dataset_name_is_words"),
        ]
        indexes = [GinIndex(fields=["name"], opclasses=["gin_trgm_ops"], name="dataset_name_trigrams")]

    def __str__(self) -> str:
        return self.name


class DatasetVersion(models.Model):
    """An immutable set of cases with their splits: its number, and a hash of exactly that."""

    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    content_hash = models.CharField(max_length=71)
    size = models.PositiveIntegerField()
    # Cases by split: {"train": 210, "validation": 45, "test": 45, "general": 0}.
    sizes = models.JSONField()
    seed = models.PositiveIntegerField()
    split_ratios = models.JSONField()
    message = models.CharField(max_length=500, blank=True)
    author = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    author_key = models.ForeignKey(APIKey, on_delete=models.PROTECT, null=True, related_name="+")
    author_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["dataset", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["dataset", "number"], name="dataset_version_number_once"),
            models.CheckConstraint(condition=Q(number__gt=0), name="dataset_version_number_positive"),
            models.CheckConstraint(condition=Q(content_hash__regex=CONTENT_HASH), name="dataset_hash_is_sha256"),
        ]
        indexes = [models.Index(fields=["content_hash"], name="dataset_version_hash")]
        triggers = insert_only()

    def __str__(self) -> str:
        return f"{self.dataset}@{self.number}"


class CaseQuerySet(models.QuerySet["Case"]):
    def of(self, version: DatasetVersion) -> "CaseQuerySet":
        """Return the cases of a version."""
        return self.at(version.dataset_id, version.number)

    def at(self, dataset_id: int, number: int) -> "CaseQuerySet":
        """Return the cases of a dataset that were added up to a version, and not removed up to it."""
        removed = CaseRemoval.objects.filter(case=OuterRef("pk"), removed_in__lte=number)
        return self.filter(~Exists(removed), dataset=dataset_id, added_in__lte=number)


class Case(models.Model):
    """One case. It is in every version from `added_in` on, until a CaseRemoval ends it: so a version of a million cases
    that differs from the last in ten costs ten rows. Its split never changes."""

    dataset = models.ForeignKey(Dataset, on_delete=models.PROTECT, related_name="cases")
    added_in = models.PositiveIntegerField()
    variables = models.JSONField()
    expected = models.JSONField(null=True)
    label = models.CharField(max_length=100, blank=True)
    tags: "ArrayField[list[str], list[str]]" = ArrayField(models.CharField(max_length=50), default=list, blank=True)
    group_key = models.CharField(max_length=200, blank=True)
    weight = models.FloatField(default=1)
    split = models.CharField(max_length=10, choices=Split.choices)
    # True where the case itself demands its split, which is part of its digest then.
    is_placed = models.BooleanField(default=False)
    digest = models.BinaryField(max_length=32)
    # Hashes of the group (of the input where it has none), and of the input's comparison form.
    group_hash = models.BigIntegerField()
    input_hash = models.BigIntegerField()

    objects = CaseQuerySet.as_manager()

    class Meta:
        ordering = ["dataset", "id"]
        constraints = [
            models.CheckConstraint(condition=Q(split__in=Split.values), name="case_split_is_known"),
            models.CheckConstraint(condition=Q(weight__gt=0), name="case_weight_is_positive"),
        ]
        indexes = [
            # Lists, exports and reports go through a dataset in this order.
            models.Index(fields=["dataset", "id"], name="case_of_dataset"),
            # To look up the groups and inputs of new cases.
            models.Index(fields=["dataset", "group_hash"], name="case_group"),
        ]
        triggers = insert_only()

    def __str__(self) -> str:
        return f"case {self.pk}"


class CaseImage(models.Model):
    """An uploaded image that a case's values name: it stays as long as the case."""

    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="images")
    image = models.ForeignKey(UploadedImage, on_delete=models.PROTECT, related_name="cases")

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["case", "image"], name="case_image_once")]
        triggers = insert_only()

    def __str__(self) -> str:
        return f"{self.image} of {self.case}"


class CaseRemoval(models.Model):
    """The removal of a case from this version on."""

    case = models.OneToOneField(Case, on_delete=models.PROTECT, related_name="removal")
    removed_in = models.PositiveIntegerField()

    class Meta:
        ordering = ["id"]
        triggers = insert_only()

    def __str__(self) -> str:
        return f"{self.case} removed in {self.removed_in}"
