from django.urls import path

from finetunes.views import (
    cross_validations,
    guides,
    jobs,
    palette,
    panels,
    retirements,
    strategy,
    token_audit,
    training_sets,
)
from registry.views.palette import register

register(palette.places, palette.find)
app_name = "finetunes"
P = "p/<slug:project>"
JOB = f"{P}/fine-tunes/<int:key>"
SET = f"{P}/training-sets/<int:key>"
FOLDS = f"{P}/cross-validations/<int:key>"
urlpatterns = [
    path(f"{P}/prompts/<str:name>/strategy/panel/", panels.prompt_panel, name="prompt-panel"),
    path(f"{P}/prompts/<str:name>/strategy/", strategy.strategy_page, name="strategy"),
    path(f"{P}/prompts/<str:name>/strategy/answer/", strategy.strategy_answer, name="strategy-answer"),
    path(f"{P}/strategy/", strategy.recommendation_list, name="recommendation-list"),
    path(f"{P}/strategy/guides/", guides.guide_list, name="guide-list"),
    path(f"{P}/strategy/guides/<str:name>/", guides.guide_detail, name="guide-detail"),
    path(f"{P}/strategy/policy/", strategy.policy_page, name="strategy-policy"),
    path(f"{P}/strategy/retirements/", retirements.retirement_list, name="retirement-list"),
    path(f"{P}/strategy/tokens/", token_audit.token_audit, name="token-audit"),
    path(f"{P}/strategy/<int:key>/", strategy.recommendation_detail, name="recommendation-detail"),
    path(f"{P}/strategy/<int:key>/propose/", strategy.recommendation_propose, name="recommendation-propose"),
    path(f"{P}/strategy/<int:key>/report.md", strategy.recommendation_report, name="recommendation-report"),
    path(f"{P}/fine-tunes/", jobs.job_list, name="job-list"),
    path(f"{P}/new-training-set/", training_sets.set_new, name="set-new"),
    path(f"{SET}/", training_sets.set_detail, name="set-detail"),
    path(f"{SET}/wait/", training_sets.set_wait, name="set-wait"),
    path(f"{SET}/<str:file>.jsonl", training_sets.set_file, name="set-file"),
    path(f"{SET}/cross-validate/", cross_validations.cross_validation_new, name="cross-validation-new"),
    path(f"{FOLDS}/", cross_validations.cross_validation_detail, name="cross-validation-detail"),
    path(f"{FOLDS}/wait/", cross_validations.cross_validation_wait, name="cross-validation-wait"),
    path(f"{FOLDS}/cancel/", cross_validations.cross_validation_cancel, name="cross-validation-cancel"),
    path(f"{JOB}/", jobs.job_detail, name="job-detail"),
    path(f"{JOB}/wait/", jobs.job_wait, name="job-wait"),
    path(f"{JOB}/evaluation/", jobs.evaluation_wait, name="evaluation-wait"),
    path(f"{JOB}/deployed/", jobs.job_deployed, name="job-deployed"),
    path(f"{JOB}/measure/", jobs.job_measure, name="job-measure"),
    path(f"{JOB}/publish/", jobs.job_publish, name="job-publish"),
    path(f"{JOB}/do/<str:verb>/", jobs.job_act, name="job-act"),
    path(f"{P}/settings/providers/<str:name>/tuning/panel/", jobs.fine_tuning_panel, name="fine-tuning-panel"),
    path(f"{P}/settings/providers/<str:name>/tuning/", jobs.fine_tuning_set, name="fine-tuning-set"),
]
