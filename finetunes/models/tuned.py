from django.db import models
from django.db.models.functions import Now

from evaluations.models import Comparison, ProviderModel, Run
from finetunes.models.jobs import FineTune
from infra.triggers import frozen_fields
from registry.models import Project, Promotion, PromptVersion


class TunedModel(models.Model):
    """The model that a job produced, with its origin and its cost."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="tuned_models")
    job = models.OneToOneField(FineTune, on_delete=models.PROTECT, related_name="tuned")
    base = models.ForeignKey(ProviderModel, on_delete=models.PROTECT, related_name="tuned_models")
    # The provider's name of it, and the model as one asks it: None where it has to be deployed first.
    remote_name = models.CharField(max_length=200)
    model = models.OneToOneField(ProviderModel, on_delete=models.PROTECT, null=True, related_name="tuned_as")
    training_set_hash = models.CharField(max_length=71)
    prompt_hash = models.CharField(max_length=71)
    hyperparameters = models.JSONField()
    cost_usd = models.DecimalField(max_digits=14, decimal_places=6, null=True)
    published = models.ForeignKey(PromptVersion, on_delete=models.PROTECT, null=True, related_name="+")
    promotion = models.ForeignKey(Promotion, on_delete=models.PROTECT, null=True, related_name="+")
    # How live calls of the published version differ from the cases that it was measured on, as last checked.
    drifts = models.JSONField(default=list)
    drift_looked_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        triggers = frozen_fields(
            *("project", "job", "base", "remote_name", "training_set_hash", "prompt_hash", "hyperparameters"),
            *("cost_usd", "created_at"),
        )

    def __str__(self) -> str:
        return self.remote_name


class TunedEvaluation(models.Model):
    """Evaluation of the tuned model with its short prompt against the base with its best one, on one split."""

    tuned = models.ForeignKey(TunedModel, on_delete=models.PROTECT, related_name="evaluations")
    split = models.CharField(max_length=10)
    baseline = models.ForeignKey(Run, on_delete=models.PROTECT, null=True, related_name="+")
    candidate = models.ForeignKey(Run, on_delete=models.PROTECT, null=True, related_name="+")
    comparison = models.ForeignKey(Comparison, on_delete=models.PROTECT, null=True, related_name="+")
    # Why there is none.
    error = models.CharField(max_length=1_000, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["tuned", "id"]
        constraints = [models.UniqueConstraint(fields=["tuned", "split"], name="tuned_evaluation_once_a_side")]

    def __str__(self) -> str:
        return f"{self.tuned} on {self.split}"

    @property
    def is_over(self) -> bool:
        """Say whether it is compared, or cannot be."""
        return bool(self.error) or (self.comparison is not None and not self.comparison.is_open)

    @property
    def runs(self) -> list[tuple[str, Run]]:
        """Return both runs with their titles."""
        named = (("base, long prompt", self.baseline), ("tuned, short prompt", self.candidate))
        return [(name, run) for name, run in named if run is not None]
