"""Serializers of calls, of what is learned of them, and of their texts."""

from typing import Any

from rest_framework import serializers

from core.references import DEFAULT_ENVIRONMENT
from inference.models import Call, CallText, Feedback, FeedbackSource, SpanCount
from infra.serializer_fields import Input, ObjectField, Text

COST_DECIMAL_PLACES = 8


class CallTextInput(Input):
    messages = serializers.ListField(child=ObjectField(), required=False)
    answer = ObjectField(required=False, help_text="text, refusal, tool_calls; or a text.")
    variables = ObjectField(required=False, help_text="What the prompt was rendered with.")


class CallInput(Input):
    id = Text(max_length=64, required=False, help_text="Your own id of the call: sent again, it counts once.")
    prompt = Text(max_length=300, allow_blank=False, help_text="support.route@3, or support.route@sha256:…")
    environment = Text(max_length=60, required=False, default=DEFAULT_ENVIRONMENT)
    at = serializers.DateTimeField(required=False, allow_null=True, help_text="Now where it is not given.")
    model = Text(max_length=200, required=False, default="", help_text="The model that answered.")
    failed = serializers.BooleanField(required=False, help_text="True where there is an error.")
    error = Text(max_length=60, required=False, help_text="A code; `timeout`, for example.")
    latency_ms = serializers.FloatField(required=False, allow_null=True)
    time_to_first_token_ms = serializers.FloatField(required=False, allow_null=True)
    tokens_in = serializers.IntegerField(
        required=False, allow_null=True, help_text="The whole question, what was read from a cache included."
    )
    tokens_cached = serializers.IntegerField(
        required=False, allow_null=True, help_text="Of tokens_in: read from a cache."
    )
    tokens_cache_write = serializers.IntegerField(
        required=False, allow_null=True, help_text="Of tokens_in: written to a cache."
    )
    tokens_out = serializers.IntegerField(
        required=False, allow_null=True, help_text="The whole answer, reasoning included."
    )
    tokens_reasoning = serializers.IntegerField(required=False, allow_null=True, help_text="Of tokens_out.")
    cost_usd = serializers.DecimalField(
        max_digits=14,
        decimal_places=COST_DECIMAL_PLACES,
        required=False,
        allow_null=True,
        help_text="Computed where it can be.",
    )
    format_ok = serializers.BooleanField(required=False, allow_null=True, default=None)
    score = serializers.FloatField(required=False, allow_null=True, help_text="From 0 to 1.")
    label = Text(  # type: ignore[assignment]
        max_length=100, required=False, default="", help_text="The label that a classifier chose."
    )

    finish_reason = Text(max_length=30, required=False)
    subject = Text(max_length=200, required=False, help_text="Whose call it is: an id of yours, of a user for example.")
    trace = Text(max_length=32, required=False, help_text="The trace (W3C Trace Context): 32 hexadecimal digits.")
    metadata = ObjectField(required=False, help_text="At most 16 texts by their names.")
    text = CallTextInput(required=False, help_text="Kept where the project keeps texts, redacted; else not read.")


class CallsInput(Input):
    calls = CallInput(many=True)


class ObservationsInput(Input):
    observations = CallInput(many=True)


class RecordedCallsSerializer(serializers.Serializer[Any]):
    recorded = serializers.IntegerField()
    repeated = serializers.IntegerField(help_text="Sent before; they count once.")
    texts = serializers.IntegerField(required=False, help_text="Of the recorded: they came with a text.")
    kept_texts = serializers.IntegerField(required=False, help_text="Of those: it is kept, redacted.")


class RecordedObservationsSerializer(serializers.Serializer[Any]):
    taken = serializers.IntegerField()
    known = serializers.IntegerField(help_text="Sent before; they count once.")


class CallSerializer(serializers.ModelSerializer[Call]):
    id = serializers.CharField(source="reference")
    prompt = serializers.CharField(source="version")
    model = serializers.CharField(source="model_name")

    class Meta:
        model = Call
        fields = [
            *("id", "prompt", "environment", "at", "model", "failed", "latency_ms", "tokens_in", "tokens_cached"),
            *(
                "tokens_cache_write",
                "tokens_out",
                "tokens_reasoning",
                "cost_usd",
                "format_ok",
                "score",
                "label",
                "is_simulation",
            ),
        ]


class FeedbackInput(Input):
    id = Text(max_length=64, required=False, help_text="Your own id of the value: sent again, it counts once.")
    call = Text(max_length=64, required=False, help_text="The call's id; or name it by its trace, or its subject.")
    trace = Text(max_length=32, required=False)
    subject = Text(max_length=200, required=False, help_text="With a prompt: their newest call within a time before.")
    prompt = Text(max_length=200, required=False, help_text="The prompt's name.")
    within_seconds = serializers.IntegerField(required=False, help_text="An hour where it is not given.")
    name = Text(max_length=60, required=False, help_text="What it says something of: helpful, tone, resolved.")
    score = serializers.FloatField(required=False, allow_null=True, help_text="From 0 to 1. Exactly one of these five.")
    boolean = serializers.BooleanField(required=False, allow_null=True)
    label = Text(max_length=100, required=False)  # type: ignore[assignment]
    comment = Text(max_length=20_000, required=False)
    correction = Text(max_length=20_000, required=False, help_text="What the answer should have been.")
    source = serializers.ChoiceField(FeedbackSource.choices, required=False)  # type: ignore[assignment]
    at = serializers.DateTimeField(required=False, allow_null=True, help_text="Now where it is not given.")


class FeedbackBatchInput(Input):
    feedback = FeedbackInput(many=True)


class RecordedFeedbackSerializer(serializers.Serializer[Any]):
    recorded = serializers.IntegerField()
    repeated = serializers.IntegerField(help_text="Sent before; they count once.")
    waiting = serializers.IntegerField(help_text="Of the recorded: their call is not there yet.")


class FeedbackSerializer(serializers.ModelSerializer[Feedback]):
    id = serializers.CharField(source="reference")
    version = serializers.CharField(allow_null=True)
    text = serializers.CharField(help_text="Of a label; of comments and corrections for those who may edit.")
    waits = serializers.SerializerMethodField(help_text="Whether its call is not there yet.")

    class Meta:
        model = Feedback
        fields = [
            "id",
            "call",
            "version",
            "environment",
            "kind",
            "name",
            "value",
            "text",
            "source",
            "at",
            "by_name",
            "waits",
        ]

    def to_representation(self, instance: Feedback) -> dict[str, Any]:
        """Leave comments and corrections out for those who may not read texts."""
        document: dict[str, Any] = super().to_representation(instance)
        if not self.context.get("may_read_texts") and instance.kind in ("comment", "correction"):
            document["text"] = ""
        return document

    def get_waits(self, feedback: Feedback) -> bool:
        return feedback.call_at is None


class DeletedSubjectSerializer(serializers.Serializer[Any]):
    calls = serializers.IntegerField(help_text="They stay, without subject and metadata.")
    texts = serializers.IntegerField()
    feedback = serializers.IntegerField()


class SpanCountSerializer(serializers.ModelSerializer[SpanCount]):
    class Meta:
        model = SpanCount
        fields = ["day", "reason", "spans"]


class CallTextSerializer(serializers.ModelSerializer[CallText]):
    variables = ObjectField()
    messages = serializers.ListField(child=ObjectField())
    answer = ObjectField()

    class Meta:
        model = CallText
        fields = ["variables", "messages", "answer"]


class CallDetailSerializer(serializers.ModelSerializer[Call]):
    id = serializers.CharField(source="reference")
    prompt = serializers.CharField(source="version")
    text = CallTextSerializer(allow_null=True, help_text="None where it is not kept, or for keys that may not edit.")
    feedback = FeedbackSerializer(many=True)

    class Meta:
        model = Call
        fields = [
            *("id", "prompt", "environment", "at", "model_name", "failed", "error", "latency_ms"),
            *("time_to_first_token_ms", "tokens_in", "tokens_cached", "tokens_cache_write", "tokens_out"),
            *("tokens_reasoning", "cost_usd", "format_ok", "score", "label", "is_simulation", "route", "config_hash"),
            *("experiment_run", "experiment_step", "arm"),
            *(
                "fallback",
                "is_repaired",
                "is_cached",
                "finish_reason",
                "subject",
                "trace",
                "metadata",
                "retrieved",
                "feedback",
                "text",
            ),
        ]
