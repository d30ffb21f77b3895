"""The shapes of providers, runs and comparisons. Every rule is in the domain function that is called."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from evaluations.api.serializers import AnyField
from evaluations.models import (
    Capability,
    Comparison,
    Gate,
    GateRun,
    Lineup,
    ModelPrice,
    Provider,
    ProviderModel,
    Result,
    Run,
    ServiceLevels,
    Split,
)
from infra.serializer_fields import Input, ObjectField, Text

# --- Providers -------------------------------------------------------------------------------------------------------


class ProviderSerializer(serializers.ModelSerializer[Provider]):
    key = serializers.CharField(source="key_hint", help_text="The key's last characters; it is never shown whole.")
    archived = serializers.SerializerMethodField()

    class Meta:
        model = Provider
        fields = [
            *("name", "base_url", "key", "capabilities", "max_concurrency", "requests_per_minute"),
            *("tokens_per_minute", "timeout_seconds", "is_simulation", "archived", "tested_at", "test_passed"),
            *("test_result", "synced_at", "created_at"),
        ]

    def get_archived(self, provider: Provider) -> bool:
        return provider.archived_at is not None


class ProviderSettings(Input):
    base_url = Text(required=False)
    key = Text(required=False, help_text="With another address it has to be sent again.")
    capabilities = serializers.ListField(child=serializers.ChoiceField(Capability.choices), required=False)
    max_concurrency = serializers.IntegerField(required=False, help_text="Calls in the air at once, 1 to 256.")
    requests_per_minute = serializers.IntegerField(required=False, allow_null=True)
    tokens_per_minute = serializers.IntegerField(required=False, allow_null=True)
    timeout_seconds = serializers.IntegerField(required=False)


class ProviderInput(ProviderSettings):
    name = Text(allow_blank=False)
    base_url = Text(required=False, default="")
    is_simulation = serializers.BooleanField(
        required=False, default=False, help_text="This installation's sandbox: it has no address and no key."
    )


class ProviderTest(Input):
    model = Text(required=False, default="", help_text="Ask this model for a word as well.")


class PriceSerializer(serializers.ModelSerializer[ModelPrice]):
    class Meta:
        model = ModelPrice
        fields = ["valid_from", "input", "cached_input", "output", "source"]


class ModelSerializer(serializers.ModelSerializer[ProviderModel]):
    provider = serializers.CharField(source="provider.name")
    price = serializers.SerializerMethodField()

    class Meta:
        model = ProviderModel
        fields = ["provider", "name", "is_listed", "shutdown_date", "price"]

    @extend_schema_field(PriceSerializer(allow_null=True))
    def get_price(self, model: ProviderModel) -> dict[str, Any] | None:
        prices: list[ModelPrice] = getattr(model, "current_prices", [])
        return dict(PriceSerializer(prices[0]).data) if prices else None


class ModelInput(Input):
    name = Text(allow_blank=False)


class PriceInput(Input):
    """US dollars for a million tokens."""

    model = Text(allow_blank=False)
    input = serializers.DecimalField(max_digits=12, decimal_places=6)
    output = serializers.DecimalField(max_digits=12, decimal_places=6)
    cached_input = serializers.DecimalField(max_digits=12, decimal_places=6, required=False, allow_null=True)
    valid_from = serializers.DateField(required=False, allow_null=True, help_text="Today where it is not given.")


# --- Runs ------------------------------------------------------------------------------------------------------------

SCORERS_HELP = 'Names, or {"scorer", "name", "parameters", "weight", "threshold", "negate"}; GET /evaluations/scorers.'


class MeasuredInput(Input):
    prompt = Text(allow_blank=False, help_text="support.route@production")
    dataset = Text(allow_blank=False, help_text="support.tickets, or a version: support.tickets@3")
    split = Text(required=False, default="test", help_text="train, validation, test, general; empty for all.")
    scorers = serializers.ListField(child=AnyField(), help_text=SCORERS_HELP)
    parameters = ObjectField(required=False, help_text="Model settings in place of the version's own.")
    repeats = serializers.IntegerField(required=False, default=1)
    limit = serializers.IntegerField(required=False, allow_null=True, help_text="At most so many cases.")
    leaked = serializers.ChoiceField(["mark", "exclude"], required=False, default="mark")
    budget_usd = serializers.DecimalField(max_digits=12, decimal_places=6, required=False, allow_null=True)


class RunInput(MeasuredInput):
    model = Text(allow_blank=False, help_text="provider/model")


class SweepInput(MeasuredInput):
    models = serializers.ListField(
        child=Text(allow_blank=False), help_text="The first is what the others are held against."
    )
    temperatures = serializers.ListField(
        child=serializers.FloatField(),
        required=False,
        default=list,
        max_length=6,
        help_text="The version's own where it is empty.",
    )
    budget_usd = serializers.DecimalField(
        max_digits=12, decimal_places=6, required=False, allow_null=True, help_text="For all runs together."
    )
    margin = serializers.FloatField(required=False, default=0.02, help_text="How much worse in quality is put up with.")
    levels = ObjectField(required=False, help_text="Service levels in place of the project's own.")


class SweepEstimateSerializer(serializers.Serializer[Any]):
    runs = serializers.IntegerField()
    cases = serializers.IntegerField()
    answers = serializers.IntegerField()
    tokens_in = serializers.IntegerField()
    tokens_out = serializers.IntegerField()
    cost_usd = serializers.CharField(allow_null=True)


class EstimateSerializer(serializers.Serializer[Any]):
    cases = serializers.IntegerField()
    excluded = serializers.IntegerField(help_text="Leaked cases that are left out.")
    answers = serializers.IntegerField()
    tokens_in = serializers.IntegerField()
    tokens_out = serializers.IntegerField()
    cost_usd = serializers.CharField(allow_null=True, help_text="Null where nobody has said what the model costs.")


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
    price = ObjectField(allow_null=True)
    estimate = ObjectField()
    summary = ObjectField(allow_null=True)

    class Meta:
        model = Run
        fields = [
            *("id", "state", "prompt", "version", "hash", "dataset", "dataset_version", "split", "provider", "model"),
            *("is_simulation", "parameters", "scorers", "repeats", "cases", "excluded", "leaked", "price", "estimate"),
            *("budget_usd", "answers_of", "planned", "answered", "failed", "from_cache", "asked_again", "tokens_in"),
            *("tokens_out", "cost_usd", "error", "note", "not_before", "summary", "by", "created_at", "started_at"),
            "finished_at",
        ]


class LineupSerializer(serializers.ModelSerializer[Lineup]):
    prompt = serializers.SerializerMethodField(help_text="The version that was swept; null where runs were chosen.")
    runs = serializers.SerializerMethodField()
    levels = ObjectField()
    result = ObjectField(
        allow_null=True,
        help_text="`rows` by run, with each level and how its quality differs from the first's; `shown` and `met` are"
        " the runs of the cheapest that is shown to keep all levels, and of the cheapest whose figures do.",
    )
    by = serializers.CharField(source="by_name")

    class Meta:
        model = Lineup
        fields = [
            *("id", "state", "prompt", "runs", "budget_usd", "margin", "levels", "result", "error", "by", "created_at")
        ]

    def get_prompt(self, lineup: Lineup) -> str | None:
        return str(lineup.swept) if lineup.swept else None

    @extend_schema_field(RunSerializer(many=True))
    def get_runs(self, lineup: Lineup) -> list[dict[str, Any]]:
        return [dict(RunSerializer(place.run).data) for place in lineup.places.all()]


class LineupInput(Input):
    runs = serializers.ListField(
        child=serializers.IntegerField(), max_length=24, help_text="The others are held against the first."
    )
    margin = serializers.FloatField(required=False, default=0.02)
    levels = ObjectField(required=False, help_text="Service levels in place of the project's own.")


class ResumeInput(Input):
    budget_usd = serializers.DecimalField(max_digits=12, decimal_places=6, required=False, allow_null=True)


class JudgeAgainInput(Input):
    scorers = serializers.ListField(child=AnyField(), help_text=SCORERS_HELP)


class ResultSerializer(serializers.ModelSerializer[Result]):
    case = serializers.IntegerField(source="case_id")
    variables = ObjectField(source="case.variables")
    expected = AnyField(source="case.expected")
    # The base class has a property of this name.
    label = serializers.CharField(source="case.label")  # type: ignore[assignment]
    tags = serializers.ListField(child=serializers.CharField(), source="case.tags")
    tool_calls = serializers.ListField(child=ObjectField(), allow_null=True)
    scores = ObjectField()
    from_cache = serializers.BooleanField(source="is_from_cache")
    leaked = serializers.BooleanField(source="is_leaked")

    class Meta:
        model = Result
        fields = [
            *("id", "case", "repeat", "variables", "expected", "label", "tags", "output", "tool_calls", "refusal"),
            *("finish_reason", "error", "error_detail", "scores", "quality", "passed", "latency_ms", "tokens_in"),
            *("tokens_out", "cost_usd", "from_cache", "leaked", "request_id"),
        ]


class MarkInput(Input):
    is_right = serializers.BooleanField()


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
    threshold = serializers.FloatField(help_text="What passes where nobody says otherwise.")
    parameters = ScorerParameterSerializer(many=True)


# --- Comparisons -----------------------------------------------------------------------------------------------------


class ComparisonInput(Input):
    baseline = serializers.IntegerField(min_value=1, max_value=2**63 - 1)
    candidate = serializers.IntegerField(min_value=1, max_value=2**63 - 1)
    margin = serializers.FloatField(
        required=False, default=0.02, help_text="How much worse in quality one would put up with, 0 to 1."
    )


class ComparisonSerializer(serializers.ModelSerializer[Comparison]):
    result = ObjectField(allow_null=True)
    by = serializers.CharField(source="by_name")

    class Meta:
        model = Comparison
        fields = ["id", "state", "baseline", "candidate", "margin", "seed", "result", "error", "by", "created_at"]


# --- Gates -----------------------------------------------------------------------------------------------------------


class GateInput(Input):
    environment = Text(allow_blank=False)
    name = Text(allow_blank=False, help_text="The check that it writes on versions.")
    prompts = Text(required=False, default="", help_text="A prompt's name, or the start of names: support.")
    dataset = Text(allow_blank=False, help_text="Its newest version counts, whenever a promotion is asked for.")
    split = serializers.ChoiceField(Split.choices, required=False, default="test")
    model = Text(allow_blank=False, help_text="provider/model")
    scorers = serializers.ListField(child=AnyField(), help_text=SCORERS_HELP)
    repeats = serializers.IntegerField(required=False, default=1, min_value=1, max_value=20)
    least_quality = serializers.FloatField(required=False, allow_null=True)
    not_worse = serializers.BooleanField(required=False, default=True)
    margin = serializers.FloatField(required=False, default=0.02)
    keeps_levels = serializers.BooleanField(required=False, default=True)
    budget_usd = serializers.DecimalField(max_digits=12, decimal_places=6, required=False, allow_null=True)


class GateSerializer(serializers.ModelSerializer[Gate]):
    environment = serializers.CharField(source="environment.name")
    dataset = serializers.CharField(source="dataset.name")
    model = serializers.SerializerMethodField()
    scorers = serializers.ListField(child=ObjectField())
    created_by = serializers.CharField(source="created_by_name")

    class Meta:
        model = Gate
        fields = [
            *("id", "environment", "name", "prompts", "dataset", "split", "model", "scorers", "repeats"),
            *("least_quality", "not_worse", "margin", "keeps_levels", "budget_usd", "created_by", "created_at"),
        ]

    def get_model(self, gate: Gate) -> str:
        return str(gate.model)


class GateRunSerializer(serializers.ModelSerializer[GateRun]):
    prompt = serializers.CharField(source="version.prompt.name")
    version = serializers.IntegerField(source="version.number")
    dataset_version = serializers.IntegerField(source="dataset_version.number")
    reasons = serializers.ListField(child=ObjectField())

    class Meta:
        model = GateRun
        fields = [
            *("id", "state", "prompt", "version", "dataset_version", "run", "baseline", "comparison", "reasons"),
            *("created_at", "finished_at"),
        ]


class ServiceLevelsSerializer(serializers.ModelSerializer[ServiceLevels]):
    class Meta:
        model = ServiceLevels
        fields = ["p99_latency_ms", "cost_per_call_usd", "format_adherence", "quality"]


class ServiceLevelsInput(Input):
    p99_latency_ms = serializers.IntegerField(required=False, allow_null=True)
    cost_per_call_usd = serializers.DecimalField(max_digits=12, decimal_places=6, required=False, allow_null=True)
    format_adherence = serializers.FloatField(required=False, allow_null=True)
    quality = serializers.FloatField(required=False, allow_null=True)
