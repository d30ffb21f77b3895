"""The administration site's view of collections and their documents, read-only."""

from django.contrib import admin

from registry.admin.base import ReadOnlyAdmin
from registry.models import Chunk, Collection, CollectionEmbedding, Document, DocumentRevision


@admin.register(Collection)
class CollectionAdmin(ReadOnlyAdmin):
    list_display = ("name", "project", "language", "embedder", "created_by_name", "created_at", "archived_at")
    list_select_related = ("project",)
    list_filter = ("project",)


@admin.register(Document)
class DocumentAdmin(ReadOnlyAdmin):
    list_display = ("path", "collection", "created_at")
    list_select_related = ("collection",)


@admin.register(DocumentRevision)
class DocumentRevisionAdmin(ReadOnlyAdmin):
    list_display = ("document", "number", "is_removed", "size", "author_name", "at")
    list_select_related = ("document",)


@admin.register(Chunk)
class ChunkAdmin(ReadOnlyAdmin):
    list_display = ("revision", "position", "tokens", "from_at", "until_at")
    list_select_related = ("revision__document",)
    exclude = ("vector", "search_vector")
    show_full_result_count = False


@admin.register(CollectionEmbedding)
class CollectionEmbeddingAdmin(ReadOnlyAdmin):
    list_display = ("collection", "state", "done", "total", "error", "heartbeat_at")
    list_select_related = ("collection",)
