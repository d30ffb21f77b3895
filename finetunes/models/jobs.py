import uuid

import pgtrigger
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from evaluations.models import ProviderModel
from finetunes.models.training_sets import TrainingSet
from finetunes.providers.states import FINAL_STATES, MOVES, WORKER_STATES, JobState
from infra.triggers import frozen_fields, insert_only
from infra.work import WorkItem
from registry.models import ByActor, Project, PromptVersion

TITLES = {
    JobState.DRAFT: "Draft",
    JobState.VALIDATING: "Checked",
    JobState.UPLOADING: "Being sent",
    JobState.QUEUED: "Queued",
    JobState.RUNNING: "Training",
    JobState.SUCCEEDED: "Succeeded",
    JobState.FAILED: "Failed",
    JobState.CANCELLED: "Cancelled",
    JobState.NEEDS_ATTENTION: "Needs attention",
}


class FineTune(WorkItem, ByActor):
    """A job: one training set learned by one base model at a provider. PostgreSQL refuses transitions that
    finetunes.providers.states does not have. A worker takes the next step when `next_poll_at` has passed
    (finetunes.jobs.worker)."""

    OPEN_STATES = tuple(state.value for state in WORKER_STATES)
    # A step moves the job itself.
    RUNNING_STATE = None
    MAX_ATTEMPTS = 5

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="fine_tunes")
    training_set = models.ForeignKey(TrainingSet, on_delete=models.PROTECT, related_name="jobs")
    # The cross-validation that it is one fold of.
    cross_validation = models.ForeignKey(
        "CrossValidation", on_delete=models.PROTECT, null=True, related_name="jobs", editable=False
    )
    model = models.ForeignKey(ProviderModel, on_delete=models.PROTECT, related_name="fine_tunes")
    provider_name = models.CharField(max_length=60)
    model_name = models.CharField(max_length=200)
    is_simulation = models.BooleanField()
    hyperparameters = models.JSONField()
    suffix = models.CharField(max_length=40, blank=True)
    # The version that the tuned model is compared with, and the scorers.
    baseline = models.ForeignKey(PromptVersion, on_delete=models.PROTECT, related_name="+")
    scorers = models.JSONField()
    # Our reference, sent with the create request: a job whose answer was lost is found by it and not created twice.
    reference = models.UUIDField(default=uuid.uuid4, editable=False, unique=True)
    estimate = models.JSONField()
    # US dollars for a million tokens as of the day: {"training": "3", "tuned_input": ..., "tuned_output": ...}.
    price = models.JSONField(null=True)
    budget_usd = models.DecimalField(max_digits=12, decimal_places=6, null=True)

    state = models.CharField(
        max_length=10, choices=[(state.value, TITLES[state]) for state in JobState], default="draft"
    )
    # The state in which it resumes when a user has fixed the cause.
    resumes_at = models.CharField(max_length=10, blank=True)
    note = models.CharField(max_length=500, blank=True)
    remote_status = models.CharField(max_length=60, blank=True)
    remote_id = models.CharField(max_length=200, blank=True)
    training_file = models.CharField(max_length=200, blank=True)
    validation_file = models.CharField(max_length=200, blank=True)
    # When the create request, or a file, was last sent without an answer so far.
    asked_at = models.DateTimeField(null=True)
    cancel_asked_at = models.DateTimeField(null=True)
    next_poll_at = models.DateTimeField(null=True)
    unchanged = models.PositiveIntegerField(default=0)
    consecutive_failures = models.PositiveIntegerField(default=0)
    trained_tokens = models.PositiveBigIntegerField(null=True)
    cost_usd = models.DecimalField(max_digits=14, decimal_places=6, null=True)
    created_at = models.DateTimeField(db_default=Now())
    submitted_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=[state.value for state in JobState]), name="fine_tune_state_is_known"
            ),
            # No two of our jobs are the same one at the provider.
            models.UniqueConstraint(
                fields=["model", "remote_id"], condition=~Q(remote_id=""), name="fine_tune_remote_once"
            ),
        ]
        indexes = [
            models.Index(fields=["project", "-id"], name="fine_tune_of_project"),
            models.Index(
                fields=["next_poll_at"],
                condition=Q(state__in=[state.value for state in WORKER_STATES]),
                name="fine_tune_due",
            ),
        ]
        triggers = [
            *frozen_fields(
                *("project", "training_set", "cross_validation", "model", "is_simulation", "reference", "by_name"),
                "created_at",
            ),
            pgtrigger.FSM(
                name="only_known_moves",
                field="state",
                transitions=[(old.value, new.value) for old, after in MOVES.items() for new in after],
            ),
            pgtrigger.Trigger(
                name="refuse_reset",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.AnyChange(
                    *("hyperparameters", "suffix", "baseline", "scorers", "estimate", "price")
                ),
                func="""
                    IF OLD.state <> 'draft' THEN
                        RAISE EXCEPTION 'what % was submitted with never changes', TG_TABLE_NAME;
                    END IF;
                    RETURN NEW;
                """,
            ),
        ]

    def __str__(self) -> str:
        return f"fine-tune {self.pk}"

    @property
    def is_driven(self) -> bool:
        return self.state in WORKER_STATES

    @property
    def is_over(self) -> bool:
        return self.state in FINAL_STATES


class TuneEvent(models.Model):
    """An event of a job as its provider reported it."""

    job = models.ForeignKey(FineTune, on_delete=models.PROTECT, related_name="events")
    remote_id = models.CharField(max_length=200)
    at = models.DateTimeField()
    level = models.CharField(max_length=10)
    message = models.CharField(max_length=500)

    class Meta:
        ordering = ["job", "id"]
        constraints = [models.UniqueConstraint(fields=["job", "remote_id"], name="tune_event_once")]
        triggers = insert_only()

    def __str__(self) -> str:
        return f"{self.job}: {self.message}"


class TunePoint(models.Model):
    """Losses and accuracies at a step; later reports add to it."""

    job = models.ForeignKey(FineTune, on_delete=models.PROTECT, related_name="points")
    step = models.PositiveIntegerField()
    values = models.JSONField()

    class Meta:
        ordering = ["job", "step"]
        constraints = [models.UniqueConstraint(fields=["job", "step"], name="tune_point_once")]

    def __str__(self) -> str:
        return f"{self.job}, step {self.step}"


class TuneCheckpoint(models.Model):
    """A model as it was at a step, where the provider keeps checkpoints."""

    job = models.ForeignKey(FineTune, on_delete=models.PROTECT, related_name="checkpoints")
    remote_id = models.CharField(max_length=200)
    step = models.PositiveIntegerField()
    model_name = models.CharField(max_length=200)

    class Meta:
        ordering = ["job", "step"]
        constraints = [models.UniqueConstraint(fields=["job", "remote_id"], name="tune_checkpoint_once")]
        triggers = insert_only()

    def __str__(self) -> str:
        return f"{self.job} at step {self.step}"
