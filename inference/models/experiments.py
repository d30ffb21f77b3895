import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from infra.triggers import frozen_fields, frozen_fields_of_deletable_rows, insert_only
from registry.models import Environment, Project, Promotion, Prompt, PromptVersion, Release
from registry.models.notify_triggers import PROJECT_OF_PROMPT, notify_trigger

PROJECT_OF_RUN = "SELECT project_id FROM inference_experimentrun JOIN registry_prompt ON registry_prompt.id = prompt_id"
ONLY_ONWARDS = """
IF NEW.step < OLD.step OR (OLD.ended_at IS NOT NULL AND NEW IS DISTINCT FROM OLD) THEN
    RAISE EXCEPTION 'an experiment goes on to the next step, or ends, and never goes back';
END IF;
RETURN NEW;
"""
STAYS_STOPPED = """
IF OLD.stopped_at IS NOT NULL THEN
    RAISE EXCEPTION 'an arm that was stopped stays as it is';
END IF;
RETURN NEW;
"""


class Experiment(models.Model):
    """An A/B test in production of a prompt's versions, or of a task's configs (then `prompt` is their holder).

    What it is to be (arms, weights, metrics, rules) is stored as versions of a text prompt of its own, `holder`, so
    that it is hashed, reviewed and promoted as prompts are (inference.experiments.lifecycle).
    """

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="experiments")
    name = models.CharField(max_length=100)
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="experiments")
    holder = models.OneToOneField(Prompt, on_delete=models.PROTECT, related_name="experiment")
    # What arms are assigned by; the same for all its versions, so that other weights move as few subjects as can be.
    salt = models.CharField(max_length=32)
    by_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="experiment_name_once")]
        triggers = frozen_fields("project", "name", "prompt", "holder", "salt", "by_name", "created_at")

    def __str__(self) -> str:
        return self.name


class ExperimentRun(models.Model):
    """An experiment that was released in an environment, from then until it ends. One at a time serves a prompt there.

    `step` is its place on the ramp, which begins at 1; `percent` is how much of the approved weights is served there.
    """

    release = models.OneToOneField(Release, on_delete=models.PROTECT, related_name="experiment_run")
    experiment = models.ForeignKey(Experiment, on_delete=models.PROTECT, related_name="runs")
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="experiment_runs")
    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="experiment_runs")
    baseline = models.ForeignKey(PromptVersion, on_delete=models.PROTECT, related_name="+")
    # What is added up by subject (inference.usage.units).
    metrics: "ArrayField[list[str], list[str]]" = ArrayField(models.CharField(max_length=80))
    # The steps that were approved, in per cent of the weights.
    ramp: "ArrayField[list[int], list[int]]" = ArrayField(models.PositiveSmallIntegerField())
    step = models.PositiveSmallIntegerField(default=1)
    percent = models.PositiveSmallIntegerField()
    started_at = models.DateTimeField(db_default=Now())
    stepped_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)
    end_reason = models.CharField(max_length=300, blank=True)
    # The promotion of the arm that has won.
    promotion = models.ForeignKey(Promotion, on_delete=models.PROTECT, null=True, related_name="experiment_runs")
    # When its figures were looked at last, to act on them; and what was seen (inference.experiments.figures).
    looked_at = models.DateTimeField(null=True)
    figures = models.JSONField(default=dict)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["prompt", "environment"], condition=Q(ended_at=None), name="experiment_runs_alone"
            ),
            models.CheckConstraint(condition=Q(percent__gte=1, percent__lte=100), name="experiment_percent_1_to_100"),
        ]
        triggers = [
            *frozen_fields(
                "release", "experiment", "prompt", "environment", "baseline", "metrics", "ramp", "started_at"
            ),
            pgtrigger.Trigger(
                name="only_onwards",
                when=pgtrigger.Before,
                operation=pgtrigger.Update,
                condition=pgtrigger.AnyChange("step", "percent", "ended_at"),
                func=ONLY_ONWARDS,
            ),
            notify_trigger(PROJECT_OF_PROMPT, pgtrigger.Insert),
            notify_trigger(
                PROJECT_OF_PROMPT,
                pgtrigger.Update,
                condition=pgtrigger.AnyChange("step", "percent", "ended_at"),
                name="tell_delivery_of_change",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.experiment} in {self.environment}"


class ExperimentArm(models.Model):
    """A version that a run serves beside the baseline, with its approved weight in basis points of all subjects; or one
    that is asked in the shadow, for so many basis points of calls, and for so many US dollars a day at most."""

    run = models.ForeignKey(ExperimentRun, on_delete=models.PROTECT, related_name="arms")
    version = models.ForeignKey(PromptVersion, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=20)
    position = models.PositiveSmallIntegerField()
    weight = models.PositiveSmallIntegerField()
    shadow_dollars = models.DecimalField(max_digits=10, decimal_places=4, null=True)
    stopped_at = models.DateTimeField(null=True)
    stop_reason = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["run", "position"]
        constraints = [
            models.UniqueConstraint(fields=["run", "name"], name="experiment_arm_once"),
            models.CheckConstraint(condition=Q(weight__gte=1, weight__lte=10_000), name="experiment_arm_weight"),
        ]
        triggers = [
            *frozen_fields("run", "version", "name", "position", "weight", "shadow_dollars"),
            pgtrigger.Trigger(
                name="stays_stopped", when=pgtrigger.Before, operation=pgtrigger.Update, func=STAYS_STOPPED
            ),
            notify_trigger(f"{PROJECT_OF_RUN} WHERE inference_experimentrun.id = ROW.run_id", pgtrigger.Update),
        ]

    def __str__(self) -> str:
        return f"{self.name} of {self.run}"

    @property
    def is_shadow(self) -> bool:
        return self.shadow_dollars is not None


class ExperimentEventKind(models.TextChoices):
    STARTED = "started", "Started"
    STEPPED = "stepped", "Ramped up"
    PAUSED = "paused", "Ramp paused"
    STOPPED = "stopped", "Arm stopped"
    PROPOSED = "proposed", "Proposed for release"
    ENDED = "ended", "Ended"


class ExperimentEvent(models.Model):
    """What happened to a run, with the figures that it was decided by."""

    run = models.ForeignKey(ExperimentRun, on_delete=models.PROTECT, related_name="events")
    kind = models.CharField(max_length=10, choices=ExperimentEventKind.choices)
    arm = models.CharField(max_length=20, blank=True)
    reason = models.CharField(max_length=300)
    evidence = models.JSONField(default=dict)
    by_name = models.CharField(max_length=200)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=ExperimentEventKind.values), name="experiment_event_kind_is_known"
            )
        ]
        triggers = insert_only()

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.reason}"


class ExperimentUnit(models.Model):
    """What one subject's calls come to at one step of a run, in one metric: how many values, and their sum.

    A subject is named by a keyed digest: whoever deletes a subject leaves here a number that names nobody. Without a
    subject, each call is one of its own.
    """

    # The constraint below begins with it.
    run = models.ForeignKey(ExperimentRun, on_delete=models.PROTECT, related_name="units", db_index=False)
    step = models.PositiveSmallIntegerField()
    digest = models.CharField(max_length=64)
    metric = models.CharField(max_length=80)
    arm = models.CharField(max_length=20)
    n = models.IntegerField()
    total = models.FloatField()
    # Seen in more than one arm: that says nothing of either.
    is_mixed = models.BooleanField(default=False)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["run", "step", "digest", "metric"], name="experiment_unit_once"),
        ]
        triggers = frozen_fields_of_deletable_rows("run", "step", "digest", "metric", "arm")

    def __str__(self) -> str:
        return f"{self.metric} of a subject in {self.arm}"
