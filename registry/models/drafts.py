from django.db import models
from django.db.models import Func, Q
from django.db.models.functions import Now

from registry.models.people import User
from registry.models.prompts import Prompt, PromptVersion


class NextRevision(Func):
    """A number that was never used before."""

    template = "nextval('registry_draft_revision')"
    output_field = models.BigIntegerField()


class PromptDraft(models.Model):
    """A user's draft of a prompt, saved as it is typed. It need not be a content that could be committed."""

    prompt = models.ForeignKey(Prompt, on_delete=models.CASCADE, related_name="drafts")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="drafts")
    # What it was started from (its version's parent); None where the prompt had no version.
    base = models.ForeignKey(PromptVersion, on_delete=models.PROTECT, null=True, related_name="+")
    # The newest version then: another one now means that another user committed meanwhile.
    seen = models.ForeignKey(PromptVersion, on_delete=models.PROTECT, null=True, related_name="+")
    document = models.JSONField()
    # A new number at each save, never used by any draft before (NextRevision): a window that names an older one would
    # overwrite what it has not seen.
    revision = models.BigIntegerField(db_default=NextRevision())
    # The window that saved last, and which of its saves that was: a window may always overwrite itself, so that a save
    # whose answer was lost can be sent again.
    window = models.CharField(max_length=64, blank=True)
    serial = models.PositiveIntegerField(default=0)
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-updated_at"]
        constraints = [
            models.UniqueConstraint(fields=["prompt", "user"], name="draft_once_per_person"),
            models.CheckConstraint(condition=Q(revision__gt=0), name="draft_revision_is_positive"),
        ]

    def __str__(self) -> str:
        return f"{self.user}'s draft of {self.prompt}"


class PromptSample(models.Model):
    """Values to try a prompt with in the editor, shared by all who edit it. Nothing that is released rests on them."""

    prompt = models.OneToOneField(Prompt, on_delete=models.CASCADE, related_name="sample")
    values = models.JSONField(default=dict)
    updated_by_name = models.CharField(max_length=200)
    updated_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"sample of {self.prompt}"
