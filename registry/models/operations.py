"""Processes of an installation, as they tell of themselves, and the tasks between them."""

from django.db import models


class ProcessKind(models.TextChoices):
    WORKER = "worker", "Worker"
    BEAT = "beat", "Beat"


class ProcessHeartbeat(models.Model):
    """A worker or beat that lives: it says so itself, from the loop that takes or sends tasks."""

    name = models.CharField(max_length=200, unique=True)
    kind = models.CharField(max_length=10, choices=ProcessKind.choices)
    # The queues that a worker takes from.
    queues = models.JSONField(default=list)
    started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField()

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class TaskNotice(models.Model):
    """A task that was sent and that no worker has taken yet, by its name and argument (infra.work)."""

    name = models.CharField(max_length=200, unique=True)
    sent_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name
