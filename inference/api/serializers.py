"""Serializers of calls, usage, monitors and inference configs."""

from typing import Any

from rest_framework import serializers

from core import redaction
from inference.configs import record
from inference.models import Alert, InferenceConfig, Monitor
from inference.monitoring import figures
from infra.serializer_fields import Input, ObjectField, Text


class UsageSerializer(serializers.Serializer[Any]):
    calls = serializers.IntegerField()
    tokens_in = serializers.IntegerField()
    tokens_cached = serializers.IntegerField(help_text="Of tokens_in: read from a cache.")
    tokens_out = serializers.IntegerField()
    tokens_reasoning = serializers.IntegerField(help_text="Of tokens_out.")
    cost_usd = serializers.FloatField(help_text="Of the calls whose cost is known.")
    cost_per_call_usd = serializers.FloatField(allow_null=True)
    latency_ms = ObjectField(help_text="mean, p50, p90, p99; each quantile with its interval.")
    format_adherence = ObjectField(allow_null=True)
    failures = ObjectField(allow_null=True)
    score = ObjectField(allow_null=True)
    feedback = ObjectField(help_text="The mean of scores, and of yes as 1 and no as 0, by the feedback's name.")


class VersionUsageSerializer(serializers.Serializer[Any]):
    version = serializers.CharField()
    figures = UsageSerializer()


class PromptUsageSerializer(serializers.Serializer[Any]):
    environment = serializers.CharField()
    since = serializers.DateField()
    until = serializers.DateField()
    is_simulation = serializers.BooleanField()
    calls_a_month = ObjectField(allow_null=True)
    tokens_a_month = ObjectField(allow_null=True)
    total = UsageSerializer()
    versions = VersionUsageSerializer(many=True)
    drift = serializers.ListField(child=ObjectField(), help_text="The last seven days compared with those before.")


class TextPolicyInput(Input):
    share = serializers.FloatField(help_text="Of the calls: from 0 (none) to 1 (all).")
    days = serializers.IntegerField(required=False, default=14)
    presets = serializers.ListField(
        child=serializers.ChoiceField(list(redaction.PRESETS)),
        required=False,
        help_text="What is taken out before anything is written down; all of these where it is left out.",
    )
    patterns = serializers.ListField(child=Text(), required=False, default=list, help_text="Regular expressions.")


class TextPolicySerializer(serializers.Serializer[Any]):
    share = serializers.FloatField()
    days = serializers.IntegerField()
    presets = serializers.ListField(child=serializers.CharField())
    patterns = serializers.ListField(child=serializers.CharField())


class DeletedTextsSerializer(serializers.Serializer[Any]):
    deleted = serializers.IntegerField()


class MonitorInput(Input):
    prompt = Text(max_length=200, allow_blank=False)
    figure = serializers.ChoiceField([(name, figure.title) for name, figure in figures.MONITOR_FIGURES.items()])
    bound = serializers.FloatField(help_text="The least for shares and scores, the most for all other figures.")
    environment = Text(max_length=60, required=False)
    hours = serializers.IntegerField(required=False)
    min_calls = serializers.IntegerField(required=False, help_text="With fewer calls there is not enough data.")
    run = serializers.IntegerField(required=False, help_text="Of a golden set: the run that its nights are like.")


class MonitorSerializer(serializers.ModelSerializer[Monitor]):
    prompt = serializers.CharField()

    class Meta:
        model = Monitor
        fields = [
            *("id", "prompt", "environment", "figure", "bound", "hours", "min_calls", "state", "value", "calls"),
            *("run", "looked_at", "changed_at", "muted_until", "by_name", "created_at"),
        ]


class ReleaseWatchSerializer(serializers.Serializer[Any]):
    prompt = serializers.CharField()
    version = serializers.IntegerField()
    environment = serializers.CharField()
    released_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)
    sentence = serializers.CharField(help_text="What the release changed; so far, where the watch goes on.")


class AlertSerializer(serializers.ModelSerializer[Alert]):
    prompt = serializers.CharField()
    figure = serializers.CharField(help_text="The monitor's, or `experiment`.")
    environment = serializers.CharField()
    experiment_run = serializers.IntegerField(source="event.run_id", default=None, allow_null=True)
    reason = serializers.CharField(source="event.reason", default="", help_text="What an experiment did, and why.")

    class Meta:
        model = Alert
        fields = [
            *(
                "id",
                "monitor",
                "experiment_run",
                "reason",
                "prompt",
                "figure",
                "environment",
                "opened_at",
                "value",
                "calls",
                "acknowledged_at",
            ),
            *("acknowledged_by", "note", "resolved_at", "resolved_by"),
        ]


class AlertAcknowledgeInput(Input):
    note = Text(required=False, default="", max_length=1_000)


class MonitorMuteInput(Input):
    hours = serializers.IntegerField(help_text="1 to 720; 0 ends it.")


CONFIG_MEMBERS = f"{', '.join(record.MEMBERS)}."


class InferenceConfigInput(Input):
    config = ObjectField(help_text=CONFIG_MEMBERS)
    message = Text(required=False, default="", max_length=500)


class InferenceConfigSerializer(serializers.Serializer[Any]):
    task = serializers.CharField()
    config = ObjectField(help_text=CONFIG_MEMBERS)
    number = serializers.IntegerField()
    hash = serializers.CharField(help_text="Of the config's content; the prompt that it refers to is pinned in it.")
    holder = serializers.CharField(help_text="The text prompt whose versions hold it.")


class InferenceConfigSummarySerializer(serializers.ModelSerializer[InferenceConfig]):
    holder = serializers.CharField()
    follows = serializers.CharField(allow_null=True, help_text="The prompt whose recommendations it follows.")
    follower = serializers.SerializerMethodField()
    versions = serializers.IntegerField(source="holder.head.number", allow_null=True, default=None)

    class Meta:
        model = InferenceConfig
        fields = ["task", "holder", "versions", "follows", "follower", "by_name", "created_at"]

    def get_follower(self, config: InferenceConfig) -> str | None:
        """Return the user or key for whom the recommendation is followed."""
        return str(config.follower or config.follower_key) if config.follower or config.follower_key else None


class InferenceConfigProposalInput(Input):
    environment = Text(allow_blank=False)
    reason = Text(required=False, default="")


class InferenceConfigProposalSerializer(serializers.Serializer[Any]):
    promotion = serializers.IntegerField()


class InferenceConfigFollowInput(Input):
    prompt = Text(required=False, default="", help_text="A prompt's name; empty to follow none.")
