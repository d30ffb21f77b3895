"""Serializers of experiments and their runs."""

from typing import Any

from rest_framework import serializers

from inference.experiments import record
from inference.models import Experiment, ExperimentArm, ExperimentEvent, ExperimentRun
from infra.serializer_fields import Input, ObjectField, Text

RECORD_MEMBERS = (
    "prompt, baseline and arms (version, weight in per cent of the subjects), primary and guardrails (metric, margin, "
    "of feedback also better), ramp (per cent of the weights), step_hours, expected_subjects, hypothesis, shadow "
    "(version, percent, daily_usd). "
    f"Metrics: {', '.join(record.BETTER)}, feedback.NAME, conversion.NAME."
)


class ExperimentInput(Input):
    experiment = ObjectField(help_text=RECORD_MEMBERS)
    message = Text(required=False, default="", max_length=500)


class ExperimentSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    experiment = ObjectField(help_text=RECORD_MEMBERS)
    number = serializers.IntegerField()
    hash = serializers.CharField(help_text="Of the experiment's content; its versions are pinned in it.")
    holder = serializers.CharField(help_text="The text prompt whose versions hold it.")


class ExperimentSummarySerializer(serializers.ModelSerializer[Experiment]):
    prompt = serializers.CharField(source="prompt.name")
    holder = serializers.CharField(source="holder.name")
    versions = serializers.IntegerField(source="holder.head.number", allow_null=True, default=None)

    class Meta:
        model = Experiment
        fields = ["name", "prompt", "holder", "versions", "by_name", "created_at"]


class ExperimentProposalInput(Input):
    environment = Text(max_length=50)
    reason = Text(required=False, default="", max_length=5_000)


class ExperimentPromotionSerializer(serializers.Serializer[Any]):
    promotion = serializers.IntegerField()


class RunReasonInput(Input):
    reason = Text(max_length=300)


class RunStepInput(Input):
    step = serializers.IntegerField(required=False, help_text="From this one: sent twice, it goes one step.")
    reason = Text(required=False, default="", max_length=200)


class RunArmInput(Input):
    arm = Text(max_length=20)
    reason = Text(max_length=300)


class RunWinnerInput(Input):
    arm = Text(max_length=20)


class ExperimentArmSerializer(serializers.ModelSerializer[ExperimentArm]):
    hash = serializers.CharField(source="version.content_hash")
    weight = serializers.SerializerMethodField()

    shadow_daily_usd = serializers.DecimalField(
        source="shadow_dollars",
        max_digits=10,
        decimal_places=4,
        allow_null=True,
        help_text="Of one that is asked in the shadow only.",
    )

    class Meta:
        model = ExperimentArm
        fields = ["name", "hash", "weight", "shadow_daily_usd", "stopped_at", "stop_reason"]

    def get_weight(self, arm: ExperimentArm) -> float:
        """Return the approved weight, in per cent of the subjects."""
        return arm.weight / 100


class ExperimentEventSerializer(serializers.ModelSerializer[ExperimentEvent]):
    evidence = ObjectField()

    class Meta:
        model = ExperimentEvent
        fields = ["kind", "arm", "reason", "evidence", "by_name", "at"]


class ExperimentRunSerializer(serializers.ModelSerializer[ExperimentRun]):
    experiment = serializers.CharField(source="experiment.name")
    prompt = serializers.CharField(source="prompt.name")
    environment = serializers.CharField(source="environment.name")
    baseline = serializers.SerializerMethodField()
    arms = ExperimentArmSerializer(many=True)
    percent = serializers.IntegerField(help_text="Of the approved weights, at this step.")
    figures = ObjectField(help_text="As they were read last (looked_at): subjects, verdicts, a mismatch, days left.")
    promotion = serializers.IntegerField(source="promotion_id", allow_null=True, help_text="Of the arm that has won.")

    class Meta:
        model = ExperimentRun
        fields = [
            *("id", "experiment", "prompt", "environment", "baseline", "arms", "step", "percent", "started_at"),
            *("stepped_at", "ended_at", "end_reason", "promotion", "looked_at", "figures"),
        ]

    def get_baseline(self, run: ExperimentRun) -> str:
        """Return the name of the baseline's arm."""
        return f"v{run.baseline.number}"


class ExperimentRunDetailSerializer(ExperimentRunSerializer):
    events = ExperimentEventSerializer(many=True)

    class Meta(ExperimentRunSerializer.Meta):
        fields = [*ExperimentRunSerializer.Meta.fields, "events"]
