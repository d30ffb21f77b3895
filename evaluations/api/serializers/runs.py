"""Serializers of runs, their results, and scorers."""

from typing import Any

from rest_framework import serializers

from evaluations.models import Result, Run
from infra.serializer_fields import AnyField, Input, ObjectField, Text

SCORERS_HELP = 'Names, or {"scorer", "name", "parameters", "weight", "threshold", "negate"}; GET /evaluations/scorers.'


class RunSettingsInput(Input):
    prompt = Text(allow_blank=False, help_text="support.route@production")
    dataset = Text(allow_blank=False, help_text="support.tickets, or a version: support.tickets@3")
    split = Text(required=False, default="test", help_text="train, validation, test, general; empty for all.")
    scorers = serializers.ListField(child=AnyField(), help_text=SCORERS_HELP)
    parameters = ObjectField(required=False, help_text="Model settings in place of the version's own.")
    repetitions = serializers.IntegerField(required=False, default=1)
    limit = serializers.IntegerField(required=False, allow_null=True, help_text="At most so many cases.")
    leaked = serializers.ChoiceField(["mark", "exclude"], required=False, default="mark")
    fresh = serializers.BooleanField(required=False, default=False, help_text="Ask anew what was answered before.")
    concurrency = serializers.IntegerField(
        required=False,
        allow_null=True,
        help_text="At most so many calls in flight; as many as the provider takes where it is null.",
    )
    budget_usd = serializers.DecimalField(max_digits=12, decimal_places=6, required=False, allow_null=True)
    as_of = serializers.DateTimeField(
        required=False, allow_null=True, help_text="Search what documents said then; now where it is null."
    )


class RunInput(RunSettingsInput):
    model = Text(allow_blank=False, help_text="provider/model")
    without_retrieval = serializers.BooleanField(
        required=False, default=False, help_text="Retrieve nothing, though the version searches a collection."
    )


class RunEstimateSerializer(serializers.Serializer[Any]):
    cases = serializers.IntegerField()
    excluded = serializers.IntegerField(help_text="Leaked cases that are left out.")
    answers = serializers.IntegerField()
    tokens_in = serializers.IntegerField()
    tokens_out = serializers.IntegerField()
    cost_usd = serializers.CharField(allow_null=True, help_text="Null where the price of the model is not known.")


class RunSerializer(serializers.ModelSerializer[Run]):
    prompt = serializers.CharField(source="version.prompt.name")
    version = serializers.IntegerField(source="version.number")
    hash = serializers.CharField(source="version.content_hash")
    dataset = serializers.CharField(source="dataset_version.dataset.name")
    dataset_version = serializers.IntegerField(source="dataset_version.number")
    provider = serializers.CharField(source="provider_name")
    model = serializers.CharField(source="model_name")
    planned = serializers.IntegerField()
    by = serializers.CharField(source="by_name")
    answers_of = serializers.IntegerField(source="answers_of_id", allow_null=True)
    scorers = serializers.ListField(child=ObjectField())
    parameters = ObjectField()
    fresh = serializers.BooleanField(source="is_fresh")
    without_retrieval = serializers.BooleanField(source="is_without_retrieval")
    as_of = serializers.DateTimeField(
        allow_null=True, help_text="The moment whose documents are searched; null where nothing is searched."
    )
    price = ObjectField(allow_null=True)
    estimate = ObjectField()
    summary = ObjectField(allow_null=True)

    class Meta:
        model = Run
        fields = [
            *("id", "state", "prompt", "version", "hash", "dataset", "dataset_version", "split", "provider", "model"),
            *(
                "is_simulation",
                "parameters",
                "scorers",
                "repetitions",
                "cases",
                "excluded",
                "leaked",
                "fresh",
                "concurrency",
                "without_retrieval",
                "as_of",
                "price",
                "estimate",
            ),
            *("budget_usd", "answers_of", "planned", "answered", "failed", "from_cache", "asked_again", "tokens_in"),
            *("tokens_out", "cost_usd", "error", "note", "not_before", "summary", "by", "created_at", "started_at"),
            "finished_at",
        ]


class ResumeInput(Input):
    budget_usd = serializers.DecimalField(max_digits=12, decimal_places=6, required=False, allow_null=True)


class RescoreInput(Input):
    scorers = serializers.ListField(child=AnyField(), help_text=SCORERS_HELP)


class ResultSerializer(serializers.ModelSerializer[Result]):
    case = serializers.IntegerField(source="case_id")
    variables = ObjectField(source="case.variables")
    expected = AnyField(source="case.expected")
    # The base class has a property of this name.
    label = serializers.CharField(source="case.label")  # type: ignore[assignment]
    tags = serializers.ListField(child=serializers.CharField(), source="case.tags")
    tool_calls = serializers.ListField(child=ObjectField(), allow_null=True)
    retrieved = serializers.ListField(
        child=ObjectField(),
        allow_null=True,
        help_text="Chunks that were found for it: source, revision, chunk, score.",
    )
    scores = ObjectField()
    from_cache = serializers.BooleanField(source="is_from_cache")
    usage_estimated = serializers.BooleanField(
        source="is_usage_estimated", help_text="The provider told no tokens; these are counted here."
    )
    leaked = serializers.BooleanField(source="is_leaked")

    class Meta:
        model = Result
        fields = [
            *("id", "case", "repeat", "variables", "expected", "label", "tags", "output", "tool_calls", "refusal"),
            *(
                "finish_reason",
                "error",
                "error_detail",
                "retrieved",
                "scores",
                "quality",
                "passed",
                "latency_ms",
                "tokens_in",
            ),
            *("tokens_cached", "tokens_cache_write", "tokens_reasoning"),
            *("tokens_out", "cost_usd", "from_cache", "usage_estimated", "leaked", "request_id"),
        ]


class ResultAnnotationInput(Input):
    is_correct = serializers.BooleanField()


class ScorerParameterSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    kind = serializers.CharField()
    title = serializers.CharField()
    required = serializers.BooleanField()  # type: ignore[assignment]
    default = AnyField()
    choices = serializers.ListField(child=serializers.CharField())


class ScorerSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    title = serializers.CharField()
    about = serializers.CharField()
    kind = serializers.CharField(help_text="score: 0 to 1, more is better; measure: in a unit, less is better.")
    unit = serializers.CharField()
    threshold = serializers.FloatField(help_text="The least that passes, where a run sets no other.")
    parameters = ScorerParameterSerializer(many=True)
