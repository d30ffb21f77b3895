from django.db import models
from django.db.models.functions import Now

from infra.triggers import frozen_fields
from registry.models import APIKey, Project, Prompt, User


class InferenceConfig(models.Model):
    """Configuration of how a task is asked of a model. It is stored as versions of a text prompt of its own, so that it
    is hashed, promoted, reviewed and rolled back as prompts are (inference.configs)."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="inference_configs")
    task = models.CharField(max_length=100)
    holder = models.OneToOneField(Prompt, on_delete=models.PROTECT, related_name="inference_config")
    # The prompt whose recommendations it follows, and whether another answer opens a promotion by itself.
    follows = models.ForeignKey(Prompt, on_delete=models.PROTECT, null=True, related_name="followed_by")
    # Who set it to follow: the automation acts for them, so they cannot approve what it proposes.
    follower = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    follower_key = models.ForeignKey(APIKey, on_delete=models.PROTECT, null=True, related_name="+")
    by_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["project", "task"]
        constraints = [models.UniqueConstraint(fields=["project", "task"], name="inference_config_task_once")]
        triggers = frozen_fields("project", "task", "holder", "by_name", "created_at")

    def __str__(self) -> str:
        return self.task
