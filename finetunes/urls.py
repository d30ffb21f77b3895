from django.urls import path

from finetunes.views import jobs, panels, training_sets

app_name = "finetunes"
P = "p/<slug:project>"
JOB = f"{P}/fine-tunes/<int:key>"
SET = f"{P}/training-sets/<int:key>"
urlpatterns = [
    path(f"{P}/prompts/<str:name>/strategy/panel/", panels.prompt_panel, name="prompt-panel"),
    path(f"{P}/fine-tunes/", jobs.job_list, name="job-list"),
    path(f"{P}/new-training-set/", training_sets.set_new, name="set-new"),
    path(f"{SET}/", training_sets.set_detail, name="set-detail"),
    path(f"{SET}/wait/", training_sets.set_wait, name="set-wait"),
    path(f"{SET}/<str:file>.jsonl", training_sets.set_file, name="set-file"),
    path(f"{JOB}/", jobs.job_detail, name="job-detail"),
    path(f"{JOB}/wait/", jobs.job_wait, name="job-wait"),
    path(f"{JOB}/evaluation/", jobs.evaluation_wait, name="evaluation-wait"),
    path(f"{JOB}/deployed/", jobs.job_deployed, name="job-deployed"),
    path(f"{JOB}/publish/", jobs.job_publish, name="job-publish"),
    path(f"{JOB}/do/<str:verb>/", jobs.job_act, name="job-act"),
    path(f"{P}/settings/providers/<str:name>/tuning/panel/", jobs.tuner_panel, name="tuner-panel"),
    path(f"{P}/settings/providers/<str:name>/tuning/", jobs.tuner_set, name="tuner-set"),
]
