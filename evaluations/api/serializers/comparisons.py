"""Serializers of comparisons and model sweeps."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from evaluations.api.serializers.runs import RunSerializer, RunSettingsInput
from evaluations.models import Comparison
from infra.serializer_fields import Input, ObjectField, Text

MAX_KEY = 2**63 - 1
MARGIN_HELP = "How much worse in quality than the first one would accept, 0 to 1."


class ComparisonInput(Input):
    runs = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=MAX_KEY),
        required=False,
        max_length=24,
        help_text="Two or more; the others are compared with the first.",
    )
    baseline = serializers.IntegerField(
        min_value=1, max_value=MAX_KEY, required=False, help_text="The first of two runs, in place of `runs`."
    )
    candidate = serializers.IntegerField(min_value=1, max_value=MAX_KEY, required=False)
    margin = serializers.FloatField(required=False, default=0.02, help_text=MARGIN_HELP)
    slas = ObjectField(required=False, help_text="SLAs in place of the project's own.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        pair = [name for name in ("baseline", "candidate") if name in attrs]
        if "runs" in attrs and pair:
            raise serializers.ValidationError({pair[0]: ["Name the runs once: `runs`, or `baseline` and `candidate`."]})
        missing = [] if "runs" in attrs else [name for name in ("baseline", "candidate") if name not in attrs]
        if missing:
            raise serializers.ValidationError({name: ["This field is required."] for name in missing})
        return attrs


class ComparisonSerializer(serializers.ModelSerializer[Comparison]):
    prompt = serializers.SerializerMethodField(help_text="The version that was swept; null where runs were chosen.")
    baseline = serializers.SerializerMethodField(help_text="The first run.")
    candidate = serializers.SerializerMethodField(help_text="The second of two runs; null where there are more.")
    runs = serializers.SerializerMethodField()
    slas = ObjectField()
    result = ObjectField(
        allow_null=True,
        help_text="`rows` by run, with each SLA and how its quality differs from the first's; `shown` and `met` are the"
        " runs of the cheapest that is shown to keep all SLAs, and of the cheapest whose figures do. Of two runs also"
        " `quality` with the verdict, `figures`, `by_label`, `by_tag`, and the cases that got `better` and `worse`.",
    )
    by = serializers.CharField(source="by_name")

    class Meta:
        model = Comparison
        fields = [
            *("id", "state", "prompt", "baseline", "candidate", "runs", "budget_usd", "margin", "slas", "seed"),
            *("result", "error", "by", "created_at"),
        ]

    def get_prompt(self, comparison: Comparison) -> str | None:
        return str(comparison.swept) if comparison.swept else None

    def get_baseline(self, comparison: Comparison) -> int:
        return comparison.baseline.pk

    def get_candidate(self, comparison: Comparison) -> int | None:
        return comparison.candidate.pk if comparison.candidate else None

    @extend_schema_field(RunSerializer(many=True))
    def get_runs(self, comparison: Comparison) -> list[dict[str, Any]]:
        return [dict(RunSerializer(run).data) for run in comparison.runs]


class SweepInput(RunSettingsInput):
    models = serializers.ListField(
        child=Text(allow_blank=False), help_text="The first is what the others are compared with."
    )
    temperatures = serializers.ListField(
        child=serializers.FloatField(),
        required=False,
        default=list,
        max_length=6,
        help_text="The version's own where it is empty.",
    )
    also_without_retrieval = serializers.BooleanField(
        required=False,
        default=False,
        help_text="Each setting also without retrieval, which comes first: what searching is worth.",
    )
    budget_usd = serializers.DecimalField(
        max_digits=12, decimal_places=6, required=False, allow_null=True, help_text="For all runs together."
    )
    margin = serializers.FloatField(required=False, default=0.02, help_text=MARGIN_HELP)
    slas = ObjectField(required=False, help_text="SLAs in place of the project's own.")


class SweepEstimateSerializer(serializers.Serializer[Any]):
    runs = serializers.IntegerField()
    cases = serializers.IntegerField()
    answers = serializers.IntegerField()
    tokens_in = serializers.IntegerField()
    tokens_out = serializers.IntegerField()
    cost_usd = serializers.CharField(allow_null=True)
