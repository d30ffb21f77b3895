from datetime import timedelta

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from evaluations.models.datasets import Case, DatasetVersion
from evaluations.models.providers import Provider, ProviderModel
from infra.triggers import frozen_fields, insert_only
from infra.work import WorkItem
from registry.models import ByActor, Project, PromptVersion, User


class RunState(models.TextChoices):
    PENDING = "pending", "Waiting"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    STOPPED = "stopped", "Stopped at its budget"
    CANCELLED = "cancelled", "Cancelled"
    FAILED = "failed", "Failed"


RUN_OPEN = (RunState.PENDING, RunState.RUNNING)


class Run(ByActor):
    """A version measured on cases with a model. Its settings are frozen when it is created; its results are counted
    while it goes on, and summarised at its end."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="runs")
    version = models.ForeignKey(PromptVersion, on_delete=models.PROTECT, related_name="runs")
    dataset_version = models.ForeignKey(DatasetVersion, on_delete=models.PROTECT, related_name="runs")
    # Empty: the cases of all splits.
    split = models.CharField(max_length=10, blank=True)
    model = models.ForeignKey(ProviderModel, on_delete=models.PROTECT, related_name="runs")
    provider_name = models.CharField(max_length=60)
    model_name = models.CharField(max_length=200)
    is_simulation = models.BooleanField()
    # Settings of every request: {"temperature": 0, "max_tokens": 100}.
    parameters = models.JSONField()
    scorers = models.JSONField()
    repetitions = models.PositiveSmallIntegerField(default=1)
    # The number of cases, and a hash of their sorted keys. Runs with the same hash can be compared case by case.
    cases = models.PositiveIntegerField()
    cases_hash = models.CharField(max_length=71)
    leaked = models.CharField(max_length=10, default="mark")
    # Whether it asked anew where an answer to the same request was known.
    is_fresh = models.BooleanField(default=False)
    # The most calls that it has in flight; as many as the provider takes where it is empty.
    concurrency = models.PositiveSmallIntegerField(null=True)
    # Whether nothing is retrieved, though the version searches a collection: to measure what searching is worth.
    is_without_retrieval = models.BooleanField(default=False)
    # The moment whose documents are searched; empty where nothing is.
    as_of = models.DateTimeField(null=True)
    excluded = models.PositiveIntegerField(default=0)
    # US dollars for a million tokens, as of the day: {"input": "0.15", "cached_input": "0.075", "output": "0.6"}.
    price = models.JSONField(null=True)
    estimate = models.JSONField()
    budget_usd = models.DecimalField(max_digits=12, decimal_places=6, null=True)
    # The run whose answers are re-scored: the model is not called.
    answers_of = models.ForeignKey("self", on_delete=models.PROTECT, null=True, related_name="rescored_runs")
    # The sweep that it belongs to, whose budget it shares.
    sweep = models.ForeignKey("Comparison", on_delete=models.PROTECT, null=True, related_name="swept_runs")

    state = models.CharField(max_length=10, choices=RunState.choices, default=RunState.PENDING)
    error = models.CharField(max_length=1_000, blank=True)
    # A note on the progress for the page, and the end of the provider's pause.
    note = models.CharField(max_length=500, blank=True)
    not_before = models.DateTimeField(null=True)
    consecutive_failures = models.PositiveSmallIntegerField(default=0)
    answered = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    from_cache = models.PositiveIntegerField(default=0)
    # Calls that were in flight when a worker died: a provider without idempotency keys was paid twice.
    asked_again = models.PositiveIntegerField(default=0)
    tokens_in = models.PositiveBigIntegerField(default=0)
    tokens_out = models.PositiveBigIntegerField(default=0)
    cost_usd = models.DecimalField(max_digits=14, decimal_places=8, default=0)
    summary = models.JSONField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=RunState.values), name="run_state_is_known"),
            models.CheckConstraint(condition=Q(repetitions__gte=1, repetitions__lte=20), name="run_repeats_1_to_20"),
            models.CheckConstraint(condition=Q(leaked__in=("mark", "exclude")), name="run_leaked_is_known"),
            models.CheckConstraint(
                condition=Q(is_without_retrieval=False) | Q(as_of=None), name="run_without_retrieval_at_no_moment"
            ),
        ]
        indexes = [
            models.Index(fields=["project", "-id"], name="run_of_project"),
            models.Index(fields=["version", "-id"], name="run_of_version"),
            # Reconciliation reads open rows only.
            models.Index(fields=["id"], condition=Q(state__in=RUN_OPEN), name="run_open"),
        ]
        triggers = frozen_fields(
            *("project", "version", "dataset_version", "split", "model", "provider_name", "model_name"),
            *("is_simulation", "parameters", "scorers", "repetitions", "cases", "cases_hash", "leaked", "is_fresh"),
            *("concurrency", "is_without_retrieval", "as_of"),
            *("price", "answers_of", "sweep", "by_name", "created_at"),
        )

    def __str__(self) -> str:
        return f"run {self.pk}"

    @property
    def planned(self) -> int:
        """Return how many answers it will have."""
        return self.cases * self.repetitions

    @property
    def is_open(self) -> bool:
        return self.state in RUN_OPEN

    @property
    def searches(self) -> bool:
        """Return whether a collection is searched for each case."""
        return "retrieval" in self.version.content and not self.is_without_retrieval

    @property
    def seconds_left(self) -> float | None:
        """Estimate how long it will take at its speed so far; None where that is unknown."""
        if self.state != RunState.RUNNING or not self.answered or self.started_at is None or self.note:
            return None
        gone = (timezone.now() - self.started_at).total_seconds()
        return gone / self.answered * (self.planned - self.answered)

    @property
    def time_left(self) -> str:
        """Return the same as text."""
        seconds = self.seconds_left
        if seconds is None:
            return ""
        return (
            f"{seconds:.0f} s"
            if seconds < 90
            else f"{seconds / 60:.0f} min"
            if seconds < 5_400
            else f"{seconds / 3_600:.0f} h"
        )


class BatchState(models.TextChoices):
    PENDING = "pending", "Waiting"
    RUNNING = "running", "Running"
    DONE = "done", "Done"


class RunBatch(WorkItem):
    """A batch of a run's cases, which one worker claims at a time."""

    LEASE_TIMEOUT = timedelta(seconds=30)

    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="batches")
    number = models.PositiveIntegerField()
    cases: "ArrayField[list[int], list[int]]" = ArrayField(models.BigIntegerField())
    state = models.CharField(max_length=10, choices=BatchState.choices, default=BatchState.PENDING)

    class Meta:
        ordering = ["run", "number"]
        constraints = [
            models.UniqueConstraint(fields=["run", "number"], name="batch_number_once"),
            models.CheckConstraint(condition=Q(state__in=BatchState.values), name="batch_state_is_known"),
        ]
        indexes = [models.Index(fields=["run", "number"], condition=~Q(state=BatchState.DONE), name="batch_open")]

    def __str__(self) -> str:
        return f"{self.run}, batch {self.number}"


class Result(models.Model):
    """One answer to one case, with the score of every scorer: {"label": {"value": 1, "passed": true}}."""

    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="results")
    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="results")
    repeat = models.PositiveSmallIntegerField(default=1)
    output = models.TextField(blank=True)
    tool_calls = models.JSONField(null=True)
    refusal = models.TextField(blank=True)
    finish_reason = models.CharField(max_length=30, blank=True)
    # The reason where there is no answer: a stable code, and the sentence. Empty where there is one.
    error = models.CharField(max_length=60, blank=True)
    error_detail = models.CharField(max_length=1_000, blank=True)
    # The chunks that were retrieved for it, the best first: source, revision, chunk, score. None: nothing is searched.
    retrieved = models.JSONField(null=True)
    latency_ms = models.FloatField(null=True)
    # The most calls that the provider had from here meanwhile; its own time, where it tells it.
    calls_in_flight = models.PositiveSmallIntegerField(null=True)
    server_ms = models.FloatField(null=True)
    tokens_in = models.PositiveIntegerField(default=0)
    # Of tokens_in: read from a cache, written to one. Of tokens_out: reasoning.
    tokens_cached = models.PositiveIntegerField(default=0)
    tokens_cache_write = models.PositiveIntegerField(default=0)
    tokens_reasoning = models.PositiveIntegerField(default=0)
    # The provider told no tokens: these are our own count.
    is_usage_estimated = models.BooleanField(default=False)
    tokens_out = models.PositiveIntegerField(default=0)
    # The cost of such a call, None where the price is unknown. An answer from the cache was not paid for again: the
    # run's own cost is on the run.
    cost_usd = models.DecimalField(max_digits=14, decimal_places=8, null=True)
    is_from_cache = models.BooleanField(default=False)
    is_leaked = models.BooleanField(default=False)
    request_id = models.CharField(max_length=100, blank=True)
    scores = models.JSONField(default=dict)
    quality = models.FloatField(null=True)
    passed = models.BooleanField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["run", "id"]
        constraints = [
            # Makes retries harmless: there is one answer, whichever worker saves it.
            models.UniqueConstraint(fields=["run", "case", "repeat"], name="result_once"),
        ]
        indexes = [
            # Worst first, and failures.
            models.Index(fields=["run", "quality", "id"], name="result_worst_first"),
        ]
        triggers = insert_only()

    def __str__(self) -> str:
        return f"{self.run}, case {self.case_id}"


class ResultAnnotation(models.Model):
    """A user's judgment of a result; judges are compared with it."""

    result = models.ForeignKey(Result, on_delete=models.PROTECT, related_name="annotations")
    is_correct = models.BooleanField()
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    by_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["result", "by"], name="mark_once_per_person")]

    def __str__(self) -> str:
        return f"{self.result}: {'right' if self.is_correct else 'wrong'}"


class CachedAnswer(models.Model):
    """A model's answer to exactly this request, so that it need not be paid for again."""

    provider = models.ForeignKey(Provider, on_delete=models.PROTECT, related_name="cached_answers")
    key = models.BinaryField(max_length=32)
    answer = models.JSONField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["provider", "key"], name="cached_answer_once")]
        indexes = [models.Index(fields=["created_at"], name="cached_answer_age")]

    def __str__(self) -> str:
        return f"answer {self.pk} of {self.provider}"
