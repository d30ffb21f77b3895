from datetime import timedelta

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from evaluations.models.datasets import Case
from evaluations.models.providers import ProviderModel
from infra.triggers import frozen_fields_of_deletable_rows
from infra.work import WorkItem
from registry.models import ByActor, Project, Prompt, PromptVersion


class PlaygroundState(models.TextChoices):
    PENDING = "pending", "Waiting"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    CANCELLED = "cancelled", "Cancelled"
    FAILED = "failed", "Failed"


PLAYGROUND_OPEN = (PlaygroundState.PENDING, PlaygroundState.RUNNING)


class PlaygroundRun(WorkItem, ByActor):
    """A prompt as it stood when a user tried it in the playground: committed or not, on some inputs, by some models.
    Kept for some days."""

    LEASE_TIMEOUT = timedelta(seconds=30)
    # A user who waits for a run whose worker died starts it again.
    MAX_ATTEMPTS = 1

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="playground_runs")
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="playground_runs")
    # None: the content was not committed.
    version = models.ForeignKey(PromptVersion, on_delete=models.PROTECT, null=True, related_name="playground_runs")
    # With all pins, like a commit.
    content = models.JSONField()
    parameters = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=PlaygroundState.choices, default=PlaygroundState.PENDING)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=PlaygroundState.values), name="playground_run_state_is_known")
        ]
        indexes = [
            models.Index(fields=["prompt", "-id"], name="playground_run_of_prompt"),
            models.Index(fields=["id"], condition=Q(state__in=PLAYGROUND_OPEN), name="playground_run_open"),
        ]
        triggers = frozen_fields_of_deletable_rows(
            "project", "prompt", "version", "content", "parameters", "by_name", "created_at"
        )

    def __str__(self) -> str:
        return f"playground run {self.pk}"

    @property
    def is_open(self) -> bool:
        return self.state in PLAYGROUND_OPEN


class PlaygroundAnswer(models.Model):
    """One model's answer to one input of a playground run, as far as it has come."""

    playground_run = models.ForeignKey(PlaygroundRun, on_delete=models.CASCADE, related_name="answers")
    # The position of the input, and the column of the model; both from 0.
    place = models.PositiveSmallIntegerField()
    column = models.PositiveSmallIntegerField()
    model = models.ForeignKey(ProviderModel, on_delete=models.PROTECT, related_name="+")
    # The case that the input is from; None where it was typed.
    case = models.ForeignKey(Case, on_delete=models.PROTECT, null=True, related_name="+")
    variables = models.JSONField()
    state = models.CharField(max_length=10, choices=PlaygroundState.choices, default=PlaygroundState.PENDING)
    # The request in OpenAI's protocol.
    request = models.JSONField(null=True)
    output = models.TextField(blank=True)
    tool_calls = models.JSONField(null=True)
    refusal = models.TextField(blank=True)
    finish_reason = models.CharField(max_length=30, blank=True)
    # True where it is the case's expected output; None where the case has none.
    is_expected = models.BooleanField(null=True)
    # Faults of the answer's format, as sentences.
    faults = models.JSONField(default=list)
    error = models.CharField(max_length=60, blank=True)
    error_detail = models.CharField(max_length=1_000, blank=True)
    time_to_first_token_ms = models.FloatField(null=True)
    latency_ms = models.FloatField(null=True)
    # As in evaluations.providers.prices.TokenUsage.
    tokens_in = models.PositiveIntegerField(default=0)
    tokens_cached = models.PositiveIntegerField(default=0)
    tokens_cache_write = models.PositiveIntegerField(default=0)
    tokens_out = models.PositiveIntegerField(default=0)
    tokens_reasoning = models.PositiveIntegerField(default=0)
    # US dollars; None where the price is unknown.
    cost_usd = models.DecimalField(max_digits=14, decimal_places=8, null=True)
    # Where a user saved it: "a case of support.tickets@4".
    saved_as = models.CharField(max_length=300, blank=True)
    changed_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["playground_run", "place", "column"]
        constraints = [
            models.UniqueConstraint(fields=["playground_run", "place", "column"], name="playground_run_answer_once"),
            models.CheckConstraint(
                condition=Q(state__in=PlaygroundState.values), name="playground_run_answer_state_is_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.playground_run}, answer of {self.model}"

    @property
    def is_open(self) -> bool:
        return self.state in PLAYGROUND_OPEN
