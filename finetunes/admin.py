"""The administration site's view of training sets, jobs and tuned models. Jobs can be cancelled and resumed there."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from finetunes import tasks
from finetunes.jobs import lifecycle as jobs
from finetunes.models import (
    CrossValidation,
    FineTune,
    FineTuningPrice,
    FineTuningSettings,
    Guide,
    StrategyPolicy,
    StrategyRecommendation,
    TrainingFile,
    TrainingSet,
    TuneCheckpoint,
    TunedEvaluation,
    TunedModel,
    TuneEvent,
    TunePoint,
)
from finetunes.strategy import recommendations
from infra.work import start
from registry.admin.base import ReadOnlyAdmin, operator_in, report_outcome
from registry.admin.prompts import PromptAdmin
from registry.models import Prompt


@admin.register(TrainingSet)
class TrainingSetAdmin(ReadOnlyAdmin):
    list_display = ("id", "project", "dataset_version", "prompt", "method", "state", "train", "created_at")
    list_select_related = ("project", "dataset_version__dataset", "prompt__prompt")
    list_filter = ("state", "method")
    exclude = ("lengths",)


@admin.register(TrainingFile)
class TrainingFileAdmin(ReadOnlyAdmin):
    list_display = ("training_set", "file", "number")
    list_select_related = ("training_set",)
    exclude = ("data",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # A megabyte each, and nobody reads them here.
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.defer("data")


@admin.register(CrossValidation)
class CrossValidationAdmin(ReadOnlyAdmin):
    list_display = ("id", "project", "model", "folds", "state", "by_name", "created_at")
    list_select_related = ("project", "model__provider")
    list_filter = ("state", "is_simulation")


@admin.register(FineTune)
class FineTuneAdmin(ReadOnlyAdmin):
    list_display = ("id", "project", "model", "state", "remote_status", "note", "cost_usd", "created_at")
    list_select_related = ("project", "model__provider")
    list_filter = ("state", "is_simulation")
    actions = ("end", "go_on")

    @admin.action(description="Cancel")
    def end(self, request: HttpRequest, rows: QuerySet[FineTune]) -> None:
        for job in rows.select_related("project"):
            report_outcome(self, request, lambda job=job: self._end(request, job), job)  # type: ignore[misc]

    @admin.action(description="Go on where it needed attention")
    def go_on(self, request: HttpRequest, rows: QuerySet[FineTune]) -> None:
        for job in rows.select_related("project"):
            report_outcome(self, request, lambda job=job: self._go_on(request, job), job)  # type: ignore[misc]

    def _end(self, request: HttpRequest, job: FineTune) -> str:
        start(tasks.advance, jobs.cancel(operator_in(request, job.project), job).pk)
        return f"Ending {job}."

    def _go_on(self, request: HttpRequest, job: FineTune) -> str:
        start(tasks.advance, jobs.retry(operator_in(request, job.project), job).pk)
        return f"{job} goes on."


@admin.register(TuneEvent)
class TuneEventAdmin(ReadOnlyAdmin):
    list_display = ("job", "at", "level", "message")
    ordering = ("-id",)


@admin.register(TunePoint)
class TunePointAdmin(ReadOnlyAdmin):
    list_display = ("job", "step", "values")
    ordering = ("-id",)


@admin.register(TuneCheckpoint)
class TuneCheckpointAdmin(ReadOnlyAdmin):
    list_display = ("job", "step", "model_name")
    ordering = ("-id",)


@admin.register(TunedModel)
class TunedModelAdmin(ReadOnlyAdmin):
    list_display = ("remote_name", "project", "base", "model", "cost_usd", "created_at")
    list_select_related = ("project", "base__provider", "model__provider")


@admin.register(TunedEvaluation)
class TunedEvaluationAdmin(ReadOnlyAdmin):
    list_display = ("tuned", "split", "baseline", "candidate", "comparison", "error")
    list_select_related = ("tuned", "baseline", "candidate", "comparison")


@admin.register(FineTuningSettings)
class FineTuningSettingsAdmin(ReadOnlyAdmin):
    list_display = ("provider", "protocol", "max_jobs")
    list_select_related = ("provider",)


@admin.register(FineTuningPrice)
class FineTuningPriceAdmin(ReadOnlyAdmin):
    list_display = ("model", "valid_from", "training", "tuned_input", "tuned_output", "by_name")
    list_select_related = ("model__provider",)


@admin.register(StrategyPolicy)
class StrategyPolicyAdmin(ReadOnlyAdmin):
    list_display = ("project", "number", "by_name", "created_at")
    list_select_related = ("project",)


@admin.register(StrategyRecommendation)
class StrategyRecommendationAdmin(ReadOnlyAdmin):
    list_display = ("id", "project", "prompt", "policy", "strategy", "is_simulation", "by_name", "created_at")
    list_select_related = ("project", "prompt")
    list_filter = ("strategy", "policy", "is_simulation")


@admin.register(Guide)
class GuideAdmin(ReadOnlyAdmin):
    list_display = ("name", "project", "prompt", "dataset", "by_name", "created_at")
    list_select_related = ("project", "prompt", "dataset")


admin.site.unregister(Prompt)


@admin.register(Prompt)
class StrategicPromptAdmin(PromptAdmin):
    """Prompts as the registry shows them, with a recommendation for each."""

    actions = (*PromptAdmin.actions, "recommend")  # type: ignore[assignment]  # one more than the tuple before

    @admin.action(description="Recommend a strategy for the selected prompts")
    def recommend(self, request: HttpRequest, queryset: QuerySet[Prompt]) -> None:
        for prompt in queryset.select_related("project", "head"):
            report_outcome(self, request, lambda prompt=prompt: self._recommend(request, prompt), prompt)  # type: ignore[misc]

    def _recommend(self, request: HttpRequest, prompt: Prompt) -> str:
        recommendation = recommendations.recommend(operator_in(request, prompt.project), prompt=prompt)
        return f"{prompt}: {recommendation.strategy} (recommendation {recommendation.pk})."
