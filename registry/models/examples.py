from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from pgvector.django import VectorField

from infra.triggers import insert_only
from infra.work import WorkItem
from registry.models.people import APIKey, Project, User
from registry.models.prompts import CONTENT_HASH, PROMPT_NAME


class ExampleSet(models.Model):
    """A name for few-shot examples in a project; the examples are in its versions. The row is also its lock."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="example_sets")
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True, max_length=20_000)
    created_by_name = models.CharField(max_length=200, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    head = models.ForeignKey("ExampleSetVersion", on_delete=models.PROTECT, null=True, editable=False, related_name="+")
    archived_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        # The unique constraint's index serves this order.
        ordering = ["project", "name"]
        constraints = [
            models.UniqueConstraint(
                fields=["project", "name"],
                name="example_set_name_once",
                violation_error_message="An example set with this name exists.",
            ),
            models.CheckConstraint(condition=Q(name__regex=PROMPT_NAME), name="example_set_name_is_words"),
        ]
        indexes = [GinIndex(fields=["name"], opclasses=["gin_trgm_ops"], name="example_set_name_trigrams")]

    def __str__(self) -> str:
        return self.name


class ExampleSetVersion(models.Model):
    """An immutable list of examples with its number and hash."""

    example_set = models.ForeignKey(ExampleSet, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    content_hash = models.CharField(max_length=71)
    size = models.PositiveIntegerField()
    message = models.CharField(max_length=500, blank=True)
    author = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    author_key = models.ForeignKey(APIKey, on_delete=models.PROTECT, null=True, related_name="+")
    author_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["example_set", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["example_set", "number"], name="example_set_version_number_once"),
            models.CheckConstraint(condition=Q(number__gt=0), name="example_set_version_number_positive"),
            models.CheckConstraint(condition=Q(content_hash__regex=CONTENT_HASH), name="example_set_hash_is_sha256"),
        ]
        # Prompts pin a set by its hash alone.
        indexes = [models.Index(fields=["content_hash"], name="example_set_version_hash")]
        triggers = insert_only()

    def __str__(self) -> str:
        return f"{self.example_set}@{self.number}"


class Example(models.Model):
    """One example as it stands in one or more versions of a set; kept once, however many versions have it."""

    example_set = models.ForeignKey(ExampleSet, on_delete=models.PROTECT, related_name="examples")
    digest = models.CharField(max_length=64)
    input = models.TextField()
    output = models.TextField()
    note = models.TextField(blank=True)
    tags: "ArrayField[list[str], list[str]]" = ArrayField(models.CharField(max_length=50), default=list, blank=True)
    # Its first tag, else its output: what `balanced` counts by (core.examples.label_of).
    label = models.CharField(max_length=200, blank=True)
    # Of input and output, by the newest vocabulary: what a token budget counts.
    tokens = models.PositiveIntegerField()

    class Meta:
        ordering = ["example_set", "id"]
        constraints = [models.UniqueConstraint(fields=["example_set", "digest"], name="example_once_per_set")]
        triggers = insert_only()

    def __str__(self) -> str:
        return self.input[:60]


class ExamplePlace(models.Model):
    """The place of an example in a version: 1, 2, 3."""

    version = models.ForeignKey(ExampleSetVersion, on_delete=models.PROTECT, related_name="places")
    position = models.PositiveIntegerField()
    example = models.ForeignKey(Example, on_delete=models.PROTECT, related_name="places")

    class Meta:
        ordering = ["version", "position"]
        constraints = [
            models.UniqueConstraint(fields=["version", "position"], name="example_place_once"),
            models.CheckConstraint(condition=Q(position__gt=0), name="example_place_positive"),
        ]
        triggers = insert_only()

    def __str__(self) -> str:
        return f"{self.version}, {self.position}"


class ExampleVector(models.Model):
    """The meaning of an example's input by one embedder. Derived: it can be computed again at any time."""

    example = models.ForeignKey(Example, on_delete=models.CASCADE, related_name="vectors")
    # The example's own set again: an index that serves one set alone needs it in this table.
    example_set = models.ForeignKey(ExampleSet, on_delete=models.CASCADE, related_name="+")
    embedder = models.CharField(max_length=120)
    # Of unit length; as many dimensions as the embedder has.
    vector = VectorField()

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["example", "embedder"], name="example_vector_once")]
        # The nearest of a set are looked for among its own vectors alone.
        indexes = [models.Index(fields=["example_set", "embedder"], name="example_vectors_of_set")]

    def __str__(self) -> str:
        return f"{self.example} by {self.embedder}"


class EmbeddingState(models.TextChoices):
    PENDING = "pending", "Waiting"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"


class Embedding(WorkItem):
    """The work of embedding a version's examples."""

    version = models.ForeignKey(ExampleSetVersion, on_delete=models.PROTECT, related_name="embeddings")
    embedder = models.CharField(max_length=120)
    state = models.CharField(max_length=10, choices=EmbeddingState.choices, default=EmbeddingState.PENDING)
    done = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["version", "embedder"], name="embedding_once"),
            models.CheckConstraint(condition=Q(state__in=EmbeddingState.values), name="embedding_state_is_known"),
        ]
        indexes = [
            # The sweep looks at open rows only.
            models.Index(
                fields=["id"],
                condition=Q(state__in=(EmbeddingState.PENDING, EmbeddingState.RUNNING)),
                name="embedding_open",
            )
        ]

    def __str__(self) -> str:
        return f"{self.version} by {self.embedder}"


class TextVector(models.Model):
    """The vector of a text by an embedder, for whoever needs it next: example sets, reports, the demo. A cache."""

    embedder = models.CharField(max_length=200)
    # SHA-256 of the text in UTF-8.
    text_hash = models.BinaryField(max_length=32)
    # float32, little-endian.
    vector = models.BinaryField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["embedder", "text_hash"], name="text_vector_once")]
        indexes = [models.Index(fields=["created_at"], name="text_vector_age")]

    def __str__(self) -> str:
        return f"{self.embedder} {bytes(self.text_hash).hex()[:12]}"
