from django.urls import path

from inference.api import calls, configs

urlpatterns = [
    path("observations", calls.ObservationList.as_view()),
    path("prompts/<str:name>/live", calls.PromptLive.as_view()),
    path("monitors", calls.MonitorList.as_view()),
    path("monitors/<int:key>/remove", calls.MonitorRemove.as_view()),
    path("inference-configs", configs.ConfigList.as_view()),
    path("inference-configs/<str:task>", configs.ConfigDetail.as_view()),
    path("inference-configs/<str:task>/promotions", configs.ConfigPropose.as_view()),
    path("inference-configs/<str:task>/follow", configs.ConfigFollow.as_view()),
]
