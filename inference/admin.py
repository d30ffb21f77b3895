"""The administration site's view of inference configs, calls and monitors, read-only."""

from django.contrib import admin

from inference.models import (
    Alert,
    Call,
    CallText,
    DeletedSubject,
    Experiment,
    ExperimentEvent,
    ExperimentRun,
    Feedback,
    InferenceConfig,
    Monitor,
    NightlyRun,
    ReleaseWatch,
    ShadowPair,
    SpanCount,
    TextPolicy,
    UsageRollup,
)
from registry.admin.base import ReadOnlyAdmin


@admin.register(InferenceConfig)
class InferenceConfigAdmin(ReadOnlyAdmin):
    list_display = ("task", "project", "holder", "follows", "by_name", "created_at")
    list_select_related = ("project", "holder", "follows")


@admin.register(Experiment)
class ExperimentAdmin(ReadOnlyAdmin):
    list_display = ("name", "project", "prompt", "by_name", "created_at")
    list_select_related = ("project", "prompt")


@admin.register(ExperimentRun)
class ExperimentRunAdmin(ReadOnlyAdmin):
    list_display = ("experiment", "environment", "step", "percent", "started_at", "ended_at", "end_reason")
    list_select_related = ("experiment", "environment")


@admin.register(ExperimentEvent)
class ExperimentEventAdmin(ReadOnlyAdmin):
    list_display = ("run", "kind", "arm", "reason", "by_name", "at")
    list_select_related = ("run__experiment", "run__environment")
    list_filter = ("kind",)
    ordering = ("-id",)


@admin.register(ShadowPair)
class ShadowPairAdmin(ReadOnlyAdmin):
    list_display = ("arm", "call", "at", "live_cost_usd", "cost_usd", "failed", "is_same")
    list_select_related = ("arm__run__experiment", "arm__run__environment")
    show_full_result_count = False


@admin.register(Call)
class CallAdmin(ReadOnlyAdmin):
    list_display = ("reference", "version", "environment", "at", "model_name", "latency_ms", "cost_usd", "format_ok")
    list_select_related = ("version__prompt",)
    list_filter = ("environment", "is_simulation")
    ordering = ("-id",)
    show_full_result_count = False


@admin.register(Feedback)
class FeedbackAdmin(ReadOnlyAdmin):
    list_display = ("name", "kind", "value", "call", "version", "source", "at", "by_name")
    list_select_related = ("version__prompt",)
    list_filter = ("kind", "source")
    show_full_result_count = False


@admin.register(SpanCount)
class SpanCountAdmin(ReadOnlyAdmin):
    list_display = ("day", "project", "reason", "spans")
    list_select_related = ("project",)


@admin.register(DeletedSubject)
class DeletedSubjectAdmin(ReadOnlyAdmin):
    list_display = ("at", "project")
    list_select_related = ("project",)


@admin.register(UsageRollup)
class UsageRollupAdmin(ReadOnlyAdmin):
    list_display = ("version", "environment", "start", "minutes", "route", "is_simulation")
    list_select_related = ("version__prompt",)
    list_filter = ("minutes", "environment")
    ordering = ("-start", "id")
    show_full_result_count = False


@admin.register(Monitor)
class MonitorAdmin(ReadOnlyAdmin):
    list_display = ("prompt", "environment", "figure", "bound", "state", "value", "calls", "looked_at")
    list_select_related = ("prompt",)
    list_filter = ("state", "figure")


@admin.register(NightlyRun)
class NightlyRunAdmin(ReadOnlyAdmin):
    list_display = ("monitor", "day", "version", "cases", "loss", "is_worse", "sentence")
    list_select_related = ("monitor__prompt", "version__prompt")


@admin.register(Alert)
class AlertAdmin(ReadOnlyAdmin):
    list_display = ("about", "opened_at", "value", "acknowledged_by", "resolved_at", "resolved_by")
    list_select_related = ("monitor__prompt", "event__run__experiment", "event__run__environment")


@admin.register(ReleaseWatch)
class ReleaseWatchAdmin(ReadOnlyAdmin):
    list_display = ("release", "ends_at", "ended_at", "sentence")
    list_select_related = ("release__prompt", "release__environment", "release__version")


@admin.register(TextPolicy)
class TextPolicyAdmin(ReadOnlyAdmin):
    list_display = ("project", "share", "days", "presets", "by_name", "changed_at")
    list_select_related = ("project",)


@admin.register(CallText)
class CallTextAdmin(ReadOnlyAdmin):
    list_display = ("reference", "project", "at", "subject")
    list_select_related = ("project",)
    list_filter = ("project",)
    show_full_result_count = False
