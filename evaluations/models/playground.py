from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from evaluations.models.datasets import Case
from evaluations.models.providers import ProviderModel
from infra.triggers import frozen_while_kept
from registry.models import ByActor, Project, Prompt, PromptVersion


class TrialState(models.TextChoices):
    PENDING = "pending", "Waiting"
    RUNNING = "running", "Under way"
    DONE = "done", "Done"
    CANCELLED = "cancelled", "Cancelled"
    FAILED = "failed", "Failed"


TRIAL_OPEN = (TrialState.PENDING, TrialState.RUNNING)


class Trial(ByActor):
    """A prompt as it stood when somebody tried it in the playground: committed or not, on some inputs, by some models.
    Kept for some days."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="trials")
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="trials")
    # None: what was tried was not committed.
    version = models.ForeignKey(PromptVersion, on_delete=models.PROTECT, null=True, related_name="trials")
    # With all pins, as a commit would have it.
    content = models.JSONField()
    parameters = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=TrialState.choices, default=TrialState.PENDING)
    beat_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [models.CheckConstraint(condition=Q(state__in=TrialState.values), name="trial_state_is_known")]
        indexes = [
            models.Index(fields=["prompt", "-id"], name="trial_of_prompt"),
            models.Index(fields=["id"], condition=Q(state__in=TRIAL_OPEN), name="trial_open"),
        ]
        triggers = frozen_while_kept("project", "prompt", "version", "content", "parameters", "by_name", "created_at")

    def __str__(self) -> str:
        return f"trial {self.pk}"

    @property
    def is_open(self) -> bool:
        return self.state in TRIAL_OPEN


class TrialAnswer(models.Model):
    """What one model said to one input of a trial, as far as it has come."""

    trial = models.ForeignKey(Trial, on_delete=models.CASCADE, related_name="answers")
    # Which input, and which model of those side by side; both from 0.
    place = models.PositiveSmallIntegerField()
    column = models.PositiveSmallIntegerField()
    model = models.ForeignKey(ProviderModel, on_delete=models.PROTECT, related_name="+")
    # The case that the input is from; None where it was typed.
    case = models.ForeignKey(Case, on_delete=models.PROTECT, null=True, related_name="+")
    variables = models.JSONField()
    state = models.CharField(max_length=10, choices=TrialState.choices, default=TrialState.PENDING)
    # What the model was sent, as OpenAI's protocol has it.
    request = models.JSONField(null=True)
    output = models.TextField(blank=True)
    tool_calls = models.JSONField(null=True)
    refusal = models.TextField(blank=True)
    finish_reason = models.CharField(max_length=30, blank=True)
    # Whether it is what the case expects; None where it expects nothing.
    is_expected = models.BooleanField(null=True)
    # Where the answer is not what the prompt asks for: sentences.
    faults = models.JSONField(default=list)
    error = models.CharField(max_length=60, blank=True)
    error_detail = models.CharField(max_length=1_000, blank=True)
    first_piece_ms = models.FloatField(null=True)
    latency_ms = models.FloatField(null=True)
    tokens_in = models.PositiveIntegerField(default=0)
    tokens_out = models.PositiveIntegerField(default=0)
    # US dollars; None where nobody knows the price.
    cost_usd = models.DecimalField(max_digits=14, decimal_places=8, null=True)
    # Where somebody kept it: "a case of support.tickets@4".
    kept = models.CharField(max_length=300, blank=True)
    changed_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["trial", "place", "column"]
        constraints = [
            models.UniqueConstraint(fields=["trial", "place", "column"], name="trial_answer_once"),
            models.CheckConstraint(condition=Q(state__in=TrialState.values), name="trial_answer_state_is_known"),
        ]

    def __str__(self) -> str:
        return f"{self.trial}, answer of {self.model}"

    @property
    def is_open(self) -> bool:
        return self.state in TRIAL_OPEN
