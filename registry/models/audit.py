from django.db import models
from django.db.models.functions import Now

from infra.triggers import insert_only
from registry.models.people import Project


class AuditEntry(models.Model):
    """A change and its author. Names are copied as text, so the log outlives the rows that it names."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, null=True, related_name="audit_entries")
    actor = models.CharField(max_length=200)
    action = models.CharField(max_length=60)
    target = models.CharField(max_length=300)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    request_id = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "audit entries"
        ordering = ["-id"]
        indexes = [
            # Default ordering within a project, and its two usual filters.
            models.Index(fields=["project", "-id"], name="audit_of_project"),
            models.Index(fields=["project", "action", "-id"], name="audit_by_action"),
            models.Index(fields=["project", "target", "-id"], name="audit_by_target"),
        ]
        triggers = insert_only()

    def __str__(self) -> str:
        return f"{self.actor}: {self.action} {self.target}"
