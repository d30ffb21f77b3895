"""The shapes of training sets, jobs and tuned models. Every rule is in the domain function that is called."""

from datetime import date
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from evaluations.api.serializers import AnyField
from finetunes.jobs import tuned_models
from finetunes.models import (
    CrossValidation,
    FineTune,
    TrainingSet,
    TuneCheckpoint,
    TunedEvaluation,
    TunedModel,
    TuneEvent,
    TunePoint,
)
from finetunes.providers.jsonl import Method
from finetunes.providers.states import DIALECTS
from infra.serializer_fields import Input, ObjectField, Text

HYPERPARAMETERS = "n_epochs, batch_size, learning_rate_multiplier (a number, or auto), and for pairs beta."


class TrainingSetSerializer(serializers.ModelSerializer[TrainingSet]):
    dataset = serializers.CharField(source="dataset_version")
    replaces = serializers.CharField(source="source", help_text="What the tuned model is to replace.")
    prompt = serializers.CharField(help_text="The short prompt that the tuned model is asked with.")
    faults = serializers.IntegerField(source="errors", help_text="What keeps it from being used.")
    report = ObjectField(help_text="What was found, by rule, with file and line; what looks like knowledge.")
    pairs = ObjectField()

    class Meta:
        model = TrainingSet
        fields = [
            *("id", "dataset", "replaces", "prompt", "method", "pairs", "fold", "folds", "state", "error", "faults"),
            *("content_hash", "train", "validation", "size", "report", "by_name", "created_at", "finished_at"),
        ]


class HyperparametersInput(Input):
    model = Text(allow_blank=False, help_text="The base, as provider/model.")
    hyperparameters = ObjectField(required=False, help_text=HYPERPARAMETERS)


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
    method = serializers.ChoiceField([(one.value, one.value) for one in Method], required=False, default="supervised")
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
    provider_epochs = serializers.IntegerField(help_text="What a provider would choose by itself.")
    steps = serializers.IntegerField()
    trained_tokens = serializers.IntegerField()
    cost_usd = serializers.CharField(allow_null=True)
    seconds = serializers.FloatField(allow_null=True, help_text="As earlier jobs took; null where there is none.")
    hyperparameters = ObjectField()
    warnings = serializers.ListField(child=ObjectField())
    ends = serializers.ListField(child=serializers.CharField(), help_text="What is shut down soon.")


class TunedEvaluationSerializer(serializers.ModelSerializer[TunedEvaluation]):
    verdict = serializers.SerializerMethodField()

    class Meta:
        model = TunedEvaluation
        fields = ["split", "baseline", "candidate", "comparison", "verdict", "error"]

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_verdict(self, found: TunedEvaluation) -> str | None:
        result = found.comparison.result if found.comparison else None
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
        return tuned_models.ends(model)

    def get_stale(self, model: TunedModel) -> list[str]:
        return tuned_models.stale(model)

    @extend_schema_field(TunedEvaluationSerializer(many=True))
    def get_evaluations(self, model: TunedModel) -> Any:
        return TunedEvaluationSerializer(model.evaluations.all(), many=True).data


class FineTuneSerializer(serializers.ModelSerializer[FineTune]):
    model = serializers.CharField()
    baseline = serializers.CharField()
    hyperparameters = ObjectField()
    estimate = ObjectField()
    scorers = serializers.ListField(child=ObjectField())
    tuned_model = serializers.IntegerField(source="tuned.pk", allow_null=True, default=None)

    class Meta:
        model = FineTune
        fields = [
            *("id", "training_set", "cross_validation", "model", "is_simulation", "hyperparameters", "suffix"),
            *("baseline", "scorers", "reference", "estimate", "budget_usd", "state", "error", "note"),
            *("remote_status", "remote_id", "next_poll_at", "trained_tokens", "cost_usd", "tuned_model", "by_name"),
            *("created_at", "submitted_at", "started_at", "finished_at"),
        ]


class EventSerializer(serializers.ModelSerializer[TuneEvent]):
    class Meta:
        model = TuneEvent
        fields = ["at", "level", "message"]


class PointSerializer(serializers.ModelSerializer[TunePoint]):
    values = ObjectField(help_text="train_loss, train_accuracy, valid_loss, valid_accuracy; those that there are.")

    class Meta:
        model = TunePoint
        fields = ["step", "values"]


class CheckpointSerializer(serializers.ModelSerializer[TuneCheckpoint]):
    class Meta:
        model = TuneCheckpoint
        fields = ["step", "model_name"]


class CurvesSerializer(serializers.Serializer[Any]):
    points = PointSerializer(many=True)
    checkpoints = CheckpointSerializer(many=True)


class RetryInput(Input):
    budget_usd = serializers.DecimalField(max_digits=12, decimal_places=6, required=False, allow_null=True)


class DeployedInput(Input):
    name = Text(allow_blank=False, help_text="The name by which the deployed model answers.")


class PublishInput(Input):
    environment = Text(allow_blank=False)
    reason = Text(required=False, default="")


class TunerInput(Input):
    dialect = serializers.ChoiceField([(one.name, one.title) for one in DIALECTS.values()], required=False)
    max_jobs = serializers.IntegerField(required=False, help_text="Jobs under way at a time.")
    webhook_secret = Text(required=False, help_text="whsec_…; empty to take no webhooks. Never shown again.")


class TunerSerializer(serializers.Serializer[Any]):
    provider = serializers.CharField()
    dialect = serializers.CharField()
    max_jobs = serializers.IntegerField()
    webhook = serializers.CharField(allow_null=True, help_text="Where the provider may send webhooks.")
    closes = serializers.DateField(allow_null=True, help_text="From this day on it makes no new jobs.")


class TuningPriceInput(Input):
    """US dollars for a million tokens."""

    model = Text(allow_blank=False)
    training = serializers.DecimalField(max_digits=12, decimal_places=6)
    tuned_input = serializers.DecimalField(max_digits=12, decimal_places=6, required=False, allow_null=True)
    tuned_output = serializers.DecimalField(max_digits=12, decimal_places=6, required=False, allow_null=True)
