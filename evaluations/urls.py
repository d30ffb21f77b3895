from django.urls import path

from evaluations.views import annotation, datasets, imports, panels, proposals, reports

app_name = "evaluations"
P = "p/<slug:project>"
PROMPT = f"{P}/prompts/<str:name>"
DATASET = f"{P}/datasets/<str:name>"
urlpatterns = [
    path(f"{PROMPT}/evaluations/panel/", panels.prompt_panel, name="prompt-panel"),
    path(f"{PROMPT}/usage/panel/", panels.usage_panel, name="usage-panel"),
    path(f"{P}/datasets/", datasets.dataset_list, name="dataset-list"),
    path(f"{P}/new-dataset/", datasets.dataset_new, name="dataset-new"),
    path(f"{DATASET}/", datasets.dataset_detail, name="dataset-detail"),
    path(f"{DATASET}/cases/", datasets.case_list, name="case-list"),
    path(f"{DATASET}/cases/new/", datasets.case_edit, name="case-new"),
    path(f"{DATASET}/cases/<int:key>/", datasets.case_edit, name="case-edit"),
    path(f"{DATASET}/history/", datasets.dataset_history, name="dataset-history"),
    path(f"{DATASET}/versions/<int:number>/file/", datasets.dataset_file, name="dataset-file"),
    path(f"{DATASET}/about/", datasets.dataset_about, name="dataset-about"),
    path(f"{DATASET}/archive/", datasets.dataset_archive, name="dataset-archive"),
    path(f"{DATASET}/restore/", datasets.dataset_restore, name="dataset-restore"),
    path(f"{DATASET}/import/", imports.import_new, name="import-new"),
    path(f"{DATASET}/imports/<int:key>/", imports.import_detail, name="import-detail"),
    path(f"{DATASET}/imports/<int:key>/again/", imports.import_again, name="import-again"),
    path(f"{DATASET}/imports/<int:key>/rejected/", imports.import_rejected, name="import-rejected"),
    path(f"{DATASET}/reports/<str:kind>/panel/", reports.report_panel, name="report-panel"),
    path(f"{DATASET}/readiness/", reports.readiness, name="readiness"),
    path(f"{DATASET}/leakage/", reports.leakage, name="leakage"),
    path(f"{DATASET}/leakage/ask/", reports.leakage_ask, name="leakage-ask"),
    path(f"{DATASET}/leakage/override/", reports.leakage_override, name="leakage-override"),
    path(f"{DATASET}/proposals/", proposals.proposal_list, name="proposal-list"),
    path(f"{DATASET}/rounds/", annotation.round_list, name="round-list"),
    path(f"{DATASET}/rounds/new/", annotation.round_new, name="round-new"),
    path(f"{DATASET}/rounds/<int:key>/", annotation.round_detail, name="round-detail"),
    path(f"{DATASET}/rounds/<int:key>/annotate/", annotation.annotate, name="annotate"),
    path(f"{DATASET}/rounds/<int:key>/unskip/", annotation.unskip, name="round-unskip"),
    path(f"{DATASET}/rounds/<int:key>/decide/", annotation.decide, name="round-decide"),
    path(f"{DATASET}/rounds/<int:key>/end/", annotation.round_end, name="round-end"),
]
