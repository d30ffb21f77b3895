"""Processes of the installation in the administration site, for operators."""

from django.contrib import admin

from registry.admin.base import ReadOnlyAdmin
from registry.models import ProcessHeartbeat, TaskNotice, TextVector
from registry.operations import heartbeats


@admin.register(ProcessHeartbeat)
class ProcessHeartbeatAdmin(ReadOnlyAdmin):
    list_display = ("name", "kind", "taken_queues", "lives", "heartbeat_at", "started_at")
    list_filter = ("kind",)

    @admin.display(description="queues")
    def taken_queues(self, row: ProcessHeartbeat) -> str:
        return ", ".join(row.queues)

    @admin.display(description="lives", boolean=True)
    def lives(self, row: ProcessHeartbeat) -> bool:
        return not heartbeats.is_unresponsive(row)


@admin.register(TaskNotice)
class TaskNoticeAdmin(ReadOnlyAdmin):
    list_display = ("name", "sent_at")
    search_fields = ("name",)


@admin.register(TextVector)
class TextVectorAdmin(ReadOnlyAdmin):
    list_display = ("__str__", "embedder", "created_at")
    list_filter = ("embedder",)
    exclude = ("vector", "text_hash")
