import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from infra.triggers import insert_only
from registry.models.notify_triggers import PROJECT_OF_PROMPT, notify_trigger
from registry.models.people import APIKey, Project, User

PROMPT_NAME = r"^[a-z0-9]+([._-][a-z0-9]+)*$"
CONTENT_HASH = r"^sha256:[0-9a-f]{64}$"


class PromptQuerySet(models.QuerySet["Prompt"]):
    def of(self, project: Project) -> "PromptQuerySet":
        return self.filter(project=project)

    def current(self) -> "PromptQuerySet":
        """Not archived."""
        return self.filter(archived_at=None)


class Prompt(models.Model):
    """A name in a project; its content is in its versions. The row is also the lock for all its changes."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="prompts")
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True, max_length=20_000)
    tags: "ArrayField[list[str], list[str]]" = ArrayField(models.CharField(max_length=50), default=list, blank=True)
    created_by_name = models.CharField(max_length=200, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    # The newest version, and its text for searching: what lists show and sort by, kept by the commit that makes it.
    head = models.ForeignKey("PromptVersion", on_delete=models.PROTECT, null=True, editable=False, related_name="+")
    head_text = models.TextField(blank=True, editable=False)
    archived_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = PromptQuerySet.as_manager()

    class Meta:
        # The unique constraint's index serves this order.
        ordering = ["project", "name"]
        constraints = [
            models.UniqueConstraint(
                fields=["project", "name"],
                name="prompt_name_once_per_project",
                violation_error_message="A prompt with this name exists.",
            ),
            models.CheckConstraint(condition=Q(name__regex=PROMPT_NAME), name="prompt_name_is_words"),
        ]
        indexes = [
            # Search by part of a name or description.
            GinIndex(fields=["name"], opclasses=["gin_trgm_ops"], name="prompt_name_trigrams"),
            GinIndex(fields=["description"], opclasses=["gin_trgm_ops"], name="prompt_description_trigrams"),
            GinIndex(fields=["tags"], name="prompt_tags"),
            GinIndex(fields=["head_text"], opclasses=["gin_trgm_ops"], name="prompt_text_trigrams"),
        ]
        triggers = [notify_trigger("ROW.project_id", pgtrigger.Update | pgtrigger.Delete)]

    def __str__(self) -> str:
        return self.name


class PromptVersion(models.Model):
    """Immutable content of a prompt with its number and hash."""

    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    content = models.JSONField()
    content_hash = models.CharField(max_length=71)
    # Tokens of the text as written, partials included: what the prompt adds to every call (registry.content.tokens).
    tokens = models.PositiveIntegerField()
    # The few-shot examples that the content pins by hash, so that none of them is taken out of use.
    example_set = models.ForeignKey(
        "ExampleSetVersion", on_delete=models.PROTECT, null=True, editable=False, related_name="prompt_versions"
    )
    message = models.CharField(max_length=500, blank=True)
    parent = models.ForeignKey("self", on_delete=models.PROTECT, null=True, related_name="children")
    author = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    author_key = models.ForeignKey(APIKey, on_delete=models.PROTECT, null=True, related_name="+")
    author_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["prompt", "-number"]
        constraints = [
            models.UniqueConstraint(fields=["prompt", "number"], name="version_number_once_per_prompt"),
            models.UniqueConstraint(fields=["prompt", "content_hash"], name="version_content_once_per_prompt"),
            models.CheckConstraint(condition=Q(number__gt=0), name="version_number_is_positive"),
            models.CheckConstraint(condition=Q(content_hash__regex=CONTENT_HASH), name="version_hash_is_sha256"),
        ]
        indexes = [
            # Fetch by hash or by the start of one, whatever the prompt.
            models.Index(fields=["content_hash"], opclasses=["varchar_pattern_ops"], name="version_hash_prefix"),
        ]
        # `latest` selects another version now.
        triggers = [*insert_only(), notify_trigger(PROJECT_OF_PROMPT, pgtrigger.Insert)]

    def __str__(self) -> str:
        return f"{self.prompt}@{self.number}"

    @property
    def label(self) -> str:
        """The number as a selector."""
        return str(self.number)


class FetchCount(models.Model):
    """The number of fetches of a version in an hour; web processes add to it (registry.delivery.fetch_recorder)."""

    version = models.ForeignKey(PromptVersion, on_delete=models.CASCADE, related_name="fetches")
    hour = models.DateTimeField()
    count = models.PositiveBigIntegerField()
    last_at = models.DateTimeField()

    class Meta:
        ordering = ["-hour", "id"]
        constraints = [models.UniqueConstraint(fields=["version", "hour"], name="fetch_count_once_an_hour")]
        indexes = [
            models.Index(fields=["version", "-last_at"], name="fetch_count_last"),
            models.Index(fields=["hour"], name="fetch_count_hour"),
        ]

    def __str__(self) -> str:
        return f"{self.count} of {self.version}"


class Inclusion(models.Model):
    """A version includes another one: `{% include "shared.tone" %}`, pinned when the version was committed."""

    version = models.ForeignKey(PromptVersion, on_delete=models.PROTECT, related_name="inclusions")
    name = models.CharField(max_length=260)
    included = models.ForeignKey(PromptVersion, on_delete=models.PROTECT, related_name="included_by")

    class Meta:
        ordering = ["version", "name"]
        constraints = [
            models.UniqueConstraint(fields=["version", "name"], name="inclusion_once_per_version"),
            models.CheckConstraint(condition=~Q(version=F("included")), name="inclusion_not_of_itself"),
        ]
        triggers = insert_only()

    def __str__(self) -> str:
        return f"{self.version} includes {self.name}"
