from django.urls import path

from inference.api import calls, configs, feedback, monitors, otlp, texts

urlpatterns = [
    path("observations", calls.ObservationList.as_view()),
    path("calls", calls.CallList.as_view()),
    path("calls/<path:reference>", texts.CallDetail.as_view()),
    path("spans", otlp.SpanCountList.as_view()),
    path("feedback", feedback.FeedbackList.as_view()),
    path("subjects/<path:subject>", feedback.SubjectDetail.as_view()),
    path("text-policy", texts.TextPolicyDetail.as_view()),
    path("text-policy/delete-texts", texts.TextsDelete.as_view()),
    path("prompts/<str:name>/live", calls.PromptUsage.as_view()),
    path("prompts/<str:name>/watches", monitors.ReleaseWatchList.as_view()),
    path("monitors", monitors.MonitorList.as_view()),
    path("monitors/<int:key>/remove", monitors.MonitorRemove.as_view()),
    path("monitors/<int:key>/mute", monitors.MonitorMute.as_view()),
    path("alerts", monitors.AlertList.as_view()),
    path("alerts/<int:key>/acknowledge", monitors.AlertAcknowledge.as_view()),
    path("alerts/<int:key>/resolve", monitors.AlertResolve.as_view()),
    path("inference-configs", configs.ConfigList.as_view()),
    path("inference-configs/<str:task>", configs.ConfigDetail.as_view()),
    path("inference-configs/<str:task>/promotions", configs.ConfigPropose.as_view()),
    path("inference-configs/<str:task>/follow", configs.ConfigFollow.as_view()),
]
