import pgtrigger
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from evaluations.models import ProviderModel
from finetunes.models.training_sets import TrainingSet
from infra.triggers import frozen_fields
from infra.work import WorkItem
from registry.models import ByActor, Project, PromptVersion


class CrossValidationState(models.TextChoices):
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


CROSS_VALIDATION_OVER = (CrossValidationState.DONE, CrossValidationState.FAILED, CrossValidationState.CANCELLED)


class CrossValidation(WorkItem, ByActor):
    """Tuning several times, each time on all folds but one, so that a small dataset tests with every case it has."""

    OPEN_STATES = (CrossValidationState.RUNNING,)

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="cross_validations")
    # The set of all of the data: each fold's is made as it was.
    training_set = models.ForeignKey(TrainingSet, on_delete=models.PROTECT, related_name="cross_validations")
    model = models.ForeignKey(ProviderModel, on_delete=models.PROTECT, related_name="+")
    folds = models.PositiveSmallIntegerField()
    # The keys of the folds' own sets.
    sets = models.JSONField()
    hyperparameters = models.JSONField()
    baseline = models.ForeignKey(PromptVersion, on_delete=models.PROTECT, related_name="+")
    scorers = models.JSONField()
    is_simulation = models.BooleanField()
    # Of all folds together.
    budget_usd = models.DecimalField(max_digits=12, decimal_places=6, null=True)

    state = models.CharField(max_length=10, choices=CrossValidationState.choices, default=CrossValidationState.RUNNING)
    # When its next step is due.
    next_step_at = models.DateTimeField(null=True)
    # As a comparison's, of all folds' answers together.
    result = models.JSONField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=CrossValidationState.values), name="cross_validation_state_is_known"
            ),
            models.CheckConstraint(condition=Q(folds__gte=2, folds__lte=10), name="cross_validation_folds_2_to_10"),
        ]
        indexes = [
            models.Index(fields=["project", "-id"], name="cross_validation_of_project"),
            models.Index(fields=["id"], condition=Q(state="running"), name="cross_validation_open"),
        ]
        triggers = [
            *frozen_fields(
                *("project", "training_set", "model", "folds", "sets", "hyperparameters", "baseline", "scorers"),
                *("is_simulation", "budget_usd", "by_name", "created_at"),
            ),
            pgtrigger.Trigger(
                name="refuse_change_when_over",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=~pgtrigger.Q(old__state="running"),
                func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;",
            ),
        ]

    def __str__(self) -> str:
        return f"cross-validation {self.pk}"

    @property
    def is_over(self) -> bool:
        return self.state in CROSS_VALIDATION_OVER
