"""Example sets and their vectors in the administration site."""

from django.contrib import admin

from registry.admin.base import ReadOnlyAdmin
from registry.models import (
    Embedding,
    Example,
    ExamplePlace,
    ExampleSet,
    ExampleSetVersion,
    ExampleVector,
)
from registry.templatetags.registry_text import short_hash


@admin.register(ExampleSet)
class ExampleSetAdmin(ReadOnlyAdmin):
    list_display = ("name", "project", "head", "created_by_name", "archived_at")
    list_filter = ("project",)
    list_select_related = ("project", "head__example_set")
    search_fields = ("name", "description")
    ordering = ("project", "name")


@admin.register(ExampleSetVersion)
class ExampleSetVersionAdmin(ReadOnlyAdmin):
    list_display = ("example_set", "number", "size", "hash", "author_name", "message", "created_at")
    list_select_related = ("example_set",)
    search_fields = ("example_set__name", "content_hash")

    @admin.display(description="hash")
    def hash(self, version: ExampleSetVersion) -> str:
        return short_hash(version.content_hash)


@admin.register(Example)
class ExampleAdmin(ReadOnlyAdmin):
    list_display = ("__str__", "example_set", "label", "tokens")
    list_select_related = ("example_set",)
    search_fields = ("input", "output")


@admin.register(ExamplePlace)
class ExamplePlaceAdmin(ReadOnlyAdmin):
    list_display = ("version", "position", "example")
    list_select_related = ("version__example_set", "example")


@admin.register(ExampleVector)
class ExampleVectorAdmin(ReadOnlyAdmin):
    list_display = ("example", "embedder")
    list_select_related = ("example",)
    list_filter = ("embedder",)
    # Hundreds of numbers, and nothing to read in them.
    exclude = ("vector",)


@admin.register(Embedding)
class EmbeddingAdmin(ReadOnlyAdmin):
    list_display = ("version", "embedder", "state", "done", "error", "created_at")
    list_select_related = ("version__example_set",)
    list_filter = ("state", "embedder")
