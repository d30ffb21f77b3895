"""Serializers of training sets, fine-tune jobs, tuned models and strategy."""

from datetime import date
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from finetunes.jobs import lifecycle as jobs
from finetunes.jobs import tuned_models
from finetunes.models import (
    CrossValidation,
    FineTune,
    StrategyRecommendation,
    TrainingSet,
    TuneCheckpoint,
    TunedEvaluation,
    TunedModel,
    TuneEvent,
    TunePoint,
)
from finetunes.presentation import inputs_with_addresses
from finetunes.providers.jsonl import Method
from finetunes.providers.protocols import PROTOCOLS
from finetunes.retirements.desk import CALL_DAYS, KINDS
from finetunes.strategy import evidence
from finetunes.strategy import policy as policies
from infra.serializer_fields import JSON_OBJECT, AnyField, Input, ObjectField, Text

HYPERPARAMETERS_HELP = (
    "n_epochs, batch_size, learning_rate_multiplier (a number, or auto); for pairs beta; for the local engine rank "
    "and layers."
)


class TrainingSetSerializer(serializers.ModelSerializer[TrainingSet]):
    dataset = serializers.CharField(source="dataset_version")
    replaces = serializers.CharField(source="source", help_text="What the tuned model is to replace.")
    prompt = serializers.CharField(help_text="The short prompt that the tuned model is asked with.")
    faults = serializers.IntegerField(source="errors", help_text="Faults that keep it from being used.")
    report = ObjectField(help_text="Faults and warnings by rule, with file and line; cases that look like knowledge.")
    pairs = ObjectField()

    class Meta:
        model = TrainingSet
        fields = [
            *("id", "dataset", "replaces", "prompt", "method", "pairs", "fold", "folds", "state", "error", "faults"),
            *("content_hash", "train", "validation", "size", "report", "by_name", "created_at", "finished_at"),
        ]


class HyperparametersInput(Input):
    model = Text(allow_blank=False, help_text="The base, as provider/model.")
    hyperparameters = ObjectField(required=False, help_text=HYPERPARAMETERS_HELP)


class CrossValidationInput(HyperparametersInput):
    folds = serializers.IntegerField(required=False, allow_null=True, help_text="2 to 10; 5 where it is not given.")
    baseline = Text(required=False, default="", help_text="What it is to beat; the set's own source by default.")
    scorers = serializers.ListField(child=AnyField(), required=False, help_text="By which both are judged.")
    budget_usd = serializers.DecimalField(
        max_digits=12, decimal_places=6, required=False, allow_null=True, help_text="Of all folds together."
    )


class CrossValidationSerializer(serializers.ModelSerializer[CrossValidation]):
    model = serializers.CharField()
    baseline = serializers.CharField()
    hyperparameters = ObjectField()
    scorers = serializers.ListField(child=ObjectField())
    result = ObjectField(allow_null=True, help_text="As a comparison's, of all folds' answers together.")
    jobs: Any = serializers.PrimaryKeyRelatedField(many=True, read_only=True)

    class Meta:
        model = CrossValidation
        fields = [
            *("id", "training_set", "model", "is_simulation", "folds", "hyperparameters", "baseline", "scorers"),
            *("budget_usd", "state", "error", "jobs", "result", "by_name", "created_at", "finished_at"),
        ]


class TrainingSetInput(Input):
    dataset = Text(allow_blank=False, help_text="support.tickets, or a version: support.tickets@3")
    prompt = Text(allow_blank=False, help_text="What the tuned model is to replace: support.route@production")
    instruction = Text(
        required=False, help_text="The short prompt's own; the first sentence of the long one where it is not given."
    )
    method = serializers.ChoiceField(
        [(method.value, method.value) for method in Method], required=False, default="supervised"
    )
    pairs = ObjectField(required=False, help_text='Of preference pairs: {"comparison": 3}, {"run": 5} or {"round": 7}.')


class FineTuneInput(HyperparametersInput):
    training_set = serializers.IntegerField()
    suffix = Text(required=False, default="", help_text="Part of the tuned model's name.")
    baseline = Text(required=False, default="", help_text="What it is to beat; the set's own source by default.")
    scorers = serializers.ListField(child=AnyField(), required=False, help_text="By which both are judged.")
    budget_usd = serializers.DecimalField(max_digits=12, decimal_places=6, required=False, allow_null=True)
    submit = serializers.BooleanField(required=False, default=False, help_text="Submit it at once.")


class TuningEstimateSerializer(serializers.Serializer[Any]):
    examples = serializers.IntegerField()
    tokens = serializers.IntegerField()
    is_exact = serializers.BooleanField(help_text="Whether the tokens were counted by the model's own vocabulary.")
    epochs = serializers.IntegerField()
    provider_epochs = serializers.IntegerField(help_text="The number that a provider would choose by itself.")
    steps = serializers.IntegerField()
    trained_tokens = serializers.IntegerField()
    cost_usd = serializers.CharField(allow_null=True)
    seconds = serializers.FloatField(
        allow_null=True, help_text="As long as earlier jobs took; null where there are none."
    )
    hyperparameters = ObjectField()
    warnings = serializers.ListField(child=ObjectField())
    ends = serializers.ListField(child=serializers.CharField(), help_text="Models that are shut down soon.")


class TunedEvaluationSerializer(serializers.ModelSerializer[TunedEvaluation]):
    verdict = serializers.SerializerMethodField()

    class Meta:
        model = TunedEvaluation
        fields = ["split", "baseline", "candidate", "comparison", "verdict", "error"]

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_verdict(self, evaluation: TunedEvaluation) -> str | None:
        result = evaluation.comparison.result if evaluation.comparison else None
        return str(result["quality"]["verdict"]) if result and result.get("quality") else None


class TunedModelSerializer(serializers.ModelSerializer[TunedModel]):
    base = serializers.CharField()
    model = serializers.CharField(allow_null=True, help_text="As it is asked; null until it is deployed.")
    shutdown_date = serializers.SerializerMethodField(help_text="Its own, or its base's where that is sooner.")
    hyperparameters = ObjectField()
    published = serializers.CharField(allow_null=True)
    stale = serializers.SerializerMethodField(help_text="Why it should be tuned again.")
    evaluations = serializers.SerializerMethodField()

    class Meta:
        model = TunedModel
        fields = [
            *("id", "job", "base", "remote_name", "model", "shutdown_date", "training_set_hash", "prompt_hash"),
            *("hyperparameters", "cost_usd", "published", "promotion", "stale", "evaluations", "created_at"),
        ]

    def get_shutdown_date(self, model: TunedModel) -> date | None:
        return tuned_models.end_date(model)

    def get_stale(self, model: TunedModel) -> list[str]:
        return tuned_models.retuning_reasons(model)

    @extend_schema_field(TunedEvaluationSerializer(many=True))
    def get_evaluations(self, model: TunedModel) -> Any:
        return TunedEvaluationSerializer(model.evaluations.all(), many=True).data


class FineTuneSerializer(serializers.ModelSerializer[FineTune]):
    model = serializers.CharField()
    baseline = serializers.CharField()
    hyperparameters = ObjectField()
    estimate = ObjectField()
    actual = serializers.SerializerMethodField(help_text="What came of it, as far as it is known.")
    scorers = serializers.ListField(child=ObjectField())
    tuned_model = serializers.IntegerField(source="tuned.pk", allow_null=True, default=None)

    class Meta:
        model = FineTune
        fields = [
            *("id", "training_set", "cross_validation", "model", "is_simulation", "hyperparameters", "suffix"),
            *("baseline", "scorers", "reference", "estimate", "actual", "budget_usd", "state", "error", "note"),
            *("remote_status", "remote_id", "next_poll_at", "trained_tokens", "cost_usd", "tuned_model", "by_name"),
            *("created_at", "submitted_at", "started_at", "finished_at"),
        ]

    @extend_schema_field(JSON_OBJECT)
    def get_actual(self, job: FineTune) -> dict[str, float | None]:
        return {figure.name: figure.actual for figure in jobs.estimated_and_actual(job)}


class FineTuneEventSerializer(serializers.ModelSerializer[TuneEvent]):
    class Meta:
        model = TuneEvent
        fields = ["at", "level", "message"]


class FineTunePointSerializer(serializers.ModelSerializer[TunePoint]):
    values = ObjectField(help_text="train_loss, train_accuracy, valid_loss, valid_accuracy; those that there are.")

    class Meta:
        model = TunePoint
        fields = ["step", "values"]


class FineTuneCheckpointSerializer(serializers.ModelSerializer[TuneCheckpoint]):
    class Meta:
        model = TuneCheckpoint
        fields = ["step", "model_name"]


class FineTuneCurvesSerializer(serializers.Serializer[Any]):
    points = FineTunePointSerializer(many=True)
    checkpoints = FineTuneCheckpointSerializer(many=True)


class FineTuneRetryInput(Input):
    budget_usd = serializers.DecimalField(max_digits=12, decimal_places=6, required=False, allow_null=True)


class TunedModelDeploymentInput(Input):
    name = Text(allow_blank=False, help_text="The name by which the deployed model answers.")


class TunedModelPublishInput(Input):
    environment = Text(allow_blank=False)
    reason = Text(required=False, default="")


class FineTuningSettingsInput(Input):
    protocol = serializers.ChoiceField(
        [(protocol.name, protocol.title) for protocol in PROTOCOLS.values()], required=False
    )
    max_jobs = serializers.IntegerField(required=False, help_text="Jobs under way at a time.")
    webhook_secret = Text(required=False, help_text="whsec_…; empty to take no webhooks. Never shown again.")


class FineTuningSettingsSerializer(serializers.Serializer[Any]):
    provider = serializers.CharField()
    protocol = serializers.CharField()
    max_jobs = serializers.IntegerField()
    webhook = serializers.CharField(allow_null=True, help_text="Where the provider may send webhooks.")
    closes = serializers.DateField(allow_null=True, help_text="From this day on it makes no new jobs.")


class FineTuningPriceInput(Input):
    """US dollars for a million tokens."""

    model = Text(allow_blank=False)
    training = serializers.DecimalField(max_digits=12, decimal_places=6)
    tuned_input = serializers.DecimalField(max_digits=12, decimal_places=6, required=False, allow_null=True)
    tuned_output = serializers.DecimalField(max_digits=12, decimal_places=6, required=False, allow_null=True)


INPUTS_HELP = f"Entered inputs, which count more than measured ones: {', '.join(evidence.INPUTS)}."


class RecommendationInput(Input):
    prompt = Text(required=False, default="", help_text="From measurements: support.route@production.")
    metrics = ObjectField(
        required=False,
        allow_null=True,
        default=None,
        help_text="From numbers: monthly_tokens, avg_latency_ms, format_error_rate, dev_cost_hours.",
    )
    inputs = ObjectField(required=False, help_text=INPUTS_HELP)
    policy = Text(required=False, default="default", help_text="default, or seed: the published function.")


class RecommendationSerializer(serializers.ModelSerializer[StrategyRecommendation]):
    prompt = serializers.CharField(allow_null=True)
    version = serializers.CharField(allow_null=True)
    payback_months = serializers.SerializerMethodField(
        help_text="Cost to tune / monthly savings; null where it is never paid back."
    )
    reasons = serializers.SerializerMethodField()
    confidence = serializers.SerializerMethodField(
        help_text="The share of draws from the inputs' intervals with this answer; null for the seed policy."
    )
    inputs = ObjectField(help_text="Each with its interval, where it comes from, and a link to that.")
    policy_members = ObjectField()
    result = ObjectField(help_text="Signals, conflicts, flips and costs, as they were computed.")

    class Meta:
        model = StrategyRecommendation
        fields = [
            *("id", "strategy", "payback_months", "reasons", "confidence", "prompt", "version", "environment"),
            *("policy", "policy_number", "policy_members", "inputs", "result", "is_simulation", "by_name"),
            "created_at",
        ]

    def to_representation(self, instance: StrategyRecommendation) -> dict[str, Any]:
        """A recommendation whose inputs link to addresses."""
        document = super().to_representation(instance)
        return {**document, "inputs": inputs_with_addresses(instance.inputs, instance.project.slug)}

    def get_payback_months(self, recommendation: StrategyRecommendation) -> float | None:
        months: float | None = recommendation.result["payback_months"]
        return months

    def get_reasons(self, recommendation: StrategyRecommendation) -> list[str]:
        return list(recommendation.result["reasons"])

    def get_confidence(self, recommendation: StrategyRecommendation) -> float | None:
        confidence: float | None = recommendation.result.get("confidence")
        return confidence


class StrategyPolicySerializer(serializers.Serializer[Any]):
    number = serializers.IntegerField(help_text="0: the policy that Cuebook comes with.")
    members = ObjectField()


class StrategyPolicyInput(Input):
    members = ObjectField(help_text=f"Members that are not sent stay: {', '.join(policies.TITLES)}.")


class ModelUseSerializer(serializers.Serializer[dict[str, Any]]):
    kind = serializers.ChoiceField([*KINDS.items()])
    title = serializers.CharField()
    environment = serializers.CharField(allow_null=True)
    calls = serializers.IntegerField(help_text=f"Reported in the last {CALL_DAYS} days.")
    page = serializers.CharField()


class RetirementSerializer(serializers.Serializer[dict[str, Any]]):
    model = serializers.CharField()
    ends = serializers.DateField()
    days_left = serializers.IntegerField(help_text="Negative once it is past.")
    successor = serializers.CharField(allow_null=True, help_text="As its maker names it.")
    offers = serializers.ListField(child=serializers.CharField(), help_text="The successor, as provider/model here.")
    calls = serializers.IntegerField()
    uses = ModelUseSerializer(many=True)


class RetirementListSerializer(serializers.Serializer[dict[str, Any]]):
    results = RetirementSerializer(many=True)
