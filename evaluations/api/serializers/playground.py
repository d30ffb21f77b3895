"""Serializers of playground runs."""

from rest_framework import serializers

from evaluations.models import PlaygroundAnswer, PlaygroundRun
from infra.serializer_fields import Input, ObjectField, SelectorField, Text


class PlaygroundRunInput(Input):
    selector = SelectorField(required=False, default="latest", help_text="The version that is tried.")
    content = ObjectField(required=False, help_text="What is tried instead of a version; it need not be committed.")
    models = serializers.ListField(child=Text(), max_length=6, help_text="From 1 to 6: openai/gpt-6-luna")
    variables = ObjectField(required=False, default=dict)
    dataset = Text(required=False, default="", help_text="Try on cases instead: support.tickets or support.tickets@3")
    cases = serializers.ListField(child=serializers.IntegerField(), required=False, default=list, max_length=20)
    split = Text(required=False, default="", help_text="train, validation, test or general; any where it is empty.")
    count = serializers.IntegerField(
        required=False, default=1, help_text="Number of cases drawn by chance, without `cases`."
    )
    parameters = ObjectField(required=False, default=dict, help_text="Model settings in place of the content's own.")


class PlaygroundAnswerSerializer(serializers.ModelSerializer[PlaygroundAnswer]):
    model = serializers.CharField()
    is_simulation = serializers.BooleanField(source="model.provider.is_simulation")
    case = serializers.IntegerField(source="case_id", allow_null=True)
    variables = ObjectField()
    request = ObjectField(allow_null=True)
    tool_calls = serializers.ListField(child=ObjectField(), allow_null=True)
    faults = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = PlaygroundAnswer
        fields = [
            *("id", "model", "is_simulation", "case", "variables", "state", "request", "output", "tool_calls"),
            *(
                "refusal",
                "finish_reason",
                "faults",
                "is_expected",
                "error",
                "error_detail",
                "time_to_first_token_ms",
                "latency_ms",
            ),
            *(
                "tokens_in",
                "tokens_cached",
                "tokens_cache_write",
                "tokens_out",
                "tokens_reasoning",
                "cost_usd",
                "saved_as",
            ),
        ]


class PlaygroundRunSerializer(serializers.ModelSerializer[PlaygroundRun]):
    prompt = serializers.CharField(source="prompt.name")
    version = serializers.IntegerField(
        source="version.number", allow_null=True, help_text="Null where the content was not committed."
    )
    parameters = ObjectField()
    by = serializers.CharField(source="by_name")
    answers = PlaygroundAnswerSerializer(many=True)

    class Meta:
        model = PlaygroundRun
        fields = ["id", "state", "prompt", "version", "parameters", "by", "created_at", "finished_at", "answers"]


class KeepAnswerInput(Input):
    dataset = Text(required=False, default="", help_text="Save it as a case of this dataset.")
    example_set = Text(required=False, default="", help_text="Or as an example of this set.")
