from django.db import models

from infra.triggers import frozen_fields
from registry.models import Release


class ReleaseWatch(models.Model):
    """Two weeks of attention that begin with each release, and end with a sentence about what it changed."""

    release = models.OneToOneField(Release, on_delete=models.PROTECT, related_name="watch")
    ends_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    sentence = models.TextField(blank=True)
    # The figures of both versions with their differences (inference.usage.versus).
    figures = models.JSONField(default=list)

    class Meta:
        ordering = ["-release_id"]
        indexes = [models.Index(fields=["ends_at"], condition=models.Q(ended_at=None), name="watch_goes_on")]
        triggers = frozen_fields("release")
        verbose_name_plural = "release watches"

    def __str__(self) -> str:
        return f"watch of {self.release}"
