import pgtrigger
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from pgvector.django import VectorField

from infra.triggers import frozen_fields_of_deletable_rows, insert_only
from infra.work import WorkItem
from registry.models.people import APIKey, Project, User
from registry.models.prompts import PROMPT_NAME


class Collection(models.Model):
    """Documents that prompts search. The row is also its lock."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="collections")
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True, max_length=20_000)
    # How full text is read: a configuration of PostgreSQL's text search.
    language = models.CharField(max_length=20, default="english")
    embedder = models.CharField(max_length=120)
    # Of a chunk: the most tokens that it has, and how many of the one before it are said again.
    chunk_tokens = models.PositiveIntegerField(default=400)
    overlap_tokens = models.PositiveIntegerField(default=60)
    created_by_name = models.CharField(max_length=200, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    archived_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ["project", "name"]
        constraints = [
            models.UniqueConstraint(
                fields=["project", "name"],
                name="collection_name_once",
                violation_error_message="A collection with this name exists.",
            ),
            models.CheckConstraint(condition=Q(name__regex=PROMPT_NAME), name="collection_name_is_words"),
            models.CheckConstraint(
                condition=Q(chunk_tokens__gte=50, chunk_tokens__lte=4_000), name="collection_chunk_tokens"
            ),
            models.CheckConstraint(
                condition=Q(overlap_tokens__lte=models.F("chunk_tokens") / 2), name="collection_overlap_tokens"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Document(models.Model):
    """A document of a collection, by the path that it came under; what it says is in its revisions."""

    collection = models.ForeignKey(Collection, on_delete=models.PROTECT, related_name="documents")
    path = models.CharField(max_length=500)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["collection", "path"]
        constraints = [models.UniqueConstraint(fields=["collection", "path"], name="document_path_once")]
        triggers = insert_only()

    def __str__(self) -> str:
        return self.path


class DocumentRevision(models.Model):
    """What a document said from a moment on, or that it was removed."""

    document = models.ForeignKey(Document, on_delete=models.PROTECT, related_name="revisions")
    number = models.PositiveIntegerField()
    is_removed = models.BooleanField(default=False)
    # SHA-256 of the file as it came; empty for a removal.
    sha256 = models.CharField(max_length=64, blank=True)
    media_type = models.CharField(max_length=100, blank=True)
    size = models.PositiveBigIntegerField(default=0)
    title = models.CharField(max_length=300, blank=True)
    # What was read from the file, as Markdown.
    text = models.TextField(blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    author = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    author_key = models.ForeignKey(APIKey, on_delete=models.PROTECT, null=True, related_name="+")
    author_name = models.CharField(max_length=200)
    at = models.DateTimeField()

    class Meta:
        ordering = ["document", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["document", "number"], name="document_revision_once"),
            models.CheckConstraint(condition=Q(number__gt=0), name="document_revision_number_positive"),
            models.CheckConstraint(
                condition=Q(is_removed=True, sha256="", text="") | Q(is_removed=False, sha256__regex=r"^[0-9a-f]{64}$"),
                name="document_revision_says_something",
            ),
        ]
        triggers = insert_only()

    def __str__(self) -> str:
        return f"{self.document}@{self.number}"


class Chunk(models.Model):
    """A part of a revision that can be found, from the moment of its revision until that of the next one."""

    collection = models.ForeignKey(Collection, on_delete=models.PROTECT, related_name="chunks")
    revision = models.ForeignKey(DocumentRevision, on_delete=models.PROTECT, related_name="chunks")
    position = models.PositiveIntegerField()
    # The titles that it stands under, outermost first, and where it stands in the revision's text.
    titles = models.JSONField(default=list)
    start = models.PositiveIntegerField()
    end = models.PositiveIntegerField()
    text = models.TextField()
    tokens = models.PositiveIntegerField()
    metadata = models.JSONField(default=dict, blank=True)
    language = models.CharField(max_length=20)
    search_vector = SearchVectorField(null=True)
    # Of unit length, by the collection's embedder; null as long as it is not embedded.
    vector = VectorField(null=True)
    from_at = models.DateTimeField()
    until_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["revision", "position"]
        constraints = [
            models.UniqueConstraint(fields=["revision", "position"], name="chunk_once"),
            models.CheckConstraint(condition=Q(end__gte=models.F("start")), name="chunk_place"),
        ]
        indexes = [
            GinIndex(fields=["search_vector"], name="chunk_words"),
            models.Index(fields=["collection", "until_at"], name="chunk_of_collection"),
            models.Index(fields=["collection", "id"], condition=Q(vector=None), name="chunk_not_embedded"),
        ]
        triggers = [
            pgtrigger.Trigger(
                name="read_words",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                func="""
                    NEW.search_vector :=
                        setweight(to_tsvector(NEW.language::regconfig, NEW.titles::text), 'B')
                        || setweight(to_tsvector(NEW.language::regconfig, NEW.text), 'C');
                    RETURN NEW;
                """,
            ),
            *frozen_fields_of_deletable_rows(
                *("collection", "revision", "position", "titles", "start", "end", "text", "tokens", "metadata"),
                *("language", "search_vector", "from_at"),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.revision}, {self.position}"


class CollectionEmbedding(WorkItem):
    """The work of embedding what a collection has not embedded yet."""

    collection = models.OneToOneField(Collection, on_delete=models.PROTECT, related_name="embedding")
    done = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(default=0)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"embedding of {self.collection}"
