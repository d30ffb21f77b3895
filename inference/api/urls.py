from django.urls import path

from inference.api import calls, configs, feedback, otlp, texts

urlpatterns = [
    path("observations", calls.ObservationList.as_view()),
    path("calls", calls.CallList.as_view()),
    path("calls/<str:reference>", texts.CallDetail.as_view()),
    path("spans", otlp.SpanCountList.as_view()),
    path("feedback", feedback.FeedbackList.as_view()),
    path("subjects/<path:subject>", feedback.SubjectDetail.as_view()),
    path("text-policy", texts.TextPolicyDetail.as_view()),
    path("text-policy/delete-texts", texts.TextsDelete.as_view()),
    path("prompts/<str:name>/live", calls.PromptUsage.as_view()),
    path("monitors", calls.MonitorList.as_view()),
    path("monitors/<int:key>/remove", calls.MonitorRemove.as_view()),
    path("inference-configs", configs.ConfigList.as_view()),
    path("inference-configs/<str:task>", configs.ConfigDetail.as_view()),
    path("inference-configs/<str:task>/promotions", configs.ConfigPropose.as_view()),
    path("inference-configs/<str:task>/follow", configs.ConfigFollow.as_view()),
]
