from django.urls import path

from inference.views import call_log, calls, configs, experiments, palette, panels, texts
from registry.views.palette import register

register(palette.places, palette.find)
app_name = "inference"
P = "p/<slug:project>"
PROMPT = f"{P}/prompts/<str:name>"
urlpatterns = [
    path(f"{PROMPT}/live/", calls.live_page, name="live"),
    path(f"{PROMPT}/live/monitors/<int:key>/remove/", calls.monitor_remove, name="monitor-remove"),
    path(f"{PROMPT}/live/monitors/<int:key>/mute/", calls.monitor_mute, name="monitor-mute"),
    path(f"{PROMPT}/live/alerts/<int:key>/", calls.alert_decide, name="alert-decide"),
    path(f"{PROMPT}/usage/panel/", panels.usage_panel, name="usage-panel"),
    path(f"{P}/settings/texts/", texts.text_policy, name="text-policy"),
    path(f"{P}/settings/texts/delete/", texts.texts_delete, name="texts-delete"),
    path(f"{P}/calls/", call_log.call_list, name="call-list"),
    path(f"{P}/calls/cases/", call_log.call_cases, name="call-cases"),
    path(f"{P}/calls/<path:reference>/feedback/", call_log.call_feedback, name="call-feedback"),
    path(f"{P}/calls/<path:reference>/replay/", call_log.call_replay, name="call-replay"),
    path(f"{P}/calls/<path:reference>/example/", call_log.call_example, name="call-example"),
    path(f"{P}/settings/texts/subject/", texts.subject_delete, name="subject-delete"),
    path(f"{P}/calls/texts/", texts.text_list, name="text-list"),
    path(f"{P}/promotions/<int:number>/experiment/panel/", panels.promotion_panel, name="promotion-panel"),
    path(f"{P}/experiments/", experiments.experiment_list, name="experiment-list"),
    path(f"{P}/experiments/new/", experiments.experiment_new, name="experiment-new"),
    path(f"{P}/experiments/runs/<int:key>/", experiments.experiment_run, name="experiment-run"),
    path(f"{P}/experiments/runs/<int:key>/act/", experiments.experiment_run_act, name="experiment-run-act"),
    path(f"{P}/experiments/<str:name>/", experiments.experiment_detail, name="experiment-detail"),
    path(f"{P}/experiments/<str:name>/edit/", experiments.experiment_edit, name="experiment-edit"),
    path(f"{P}/experiments/<str:name>/propose/", experiments.experiment_propose, name="experiment-propose"),
    path(f"{P}/strategy/configs/", configs.config_list, name="config-list"),
    path(f"{P}/strategy/configs/<str:task>/", configs.config_detail, name="config-detail"),
    path(f"{P}/strategy/configs/<str:task>/propose/", configs.config_propose, name="config-propose"),
    path(f"{P}/strategy/configs/<str:task>/follow/", configs.config_follow, name="config-follow"),
]
