from django.urls import path

from evaluations.providers import profiles
from evaluations.views import (
    comparisons,
    gates,
    models,
    palette,
    panels,
    playground,
    prompt_imports,
    providers,
    runs,
    sweeps,
)
from evaluations.views.data import annotation, datasets, images, imports, proposals, reports
from registry.prompts import model_lookup
from registry.views.palette import register

register(palette.places, palette.find)
model_lookup.register(profiles.profile_in_project)
app_name = "evaluations"
P = "p/<slug:project>"
PROMPT = f"{P}/prompts/<str:name>"
RUN = f"{P}/evaluations/<int:key>"
PROVIDER = f"{P}/settings/providers/<str:name>"
DATASET = f"{P}/datasets/<str:name>"
urlpatterns = [
    path(f"{PROMPT}/evaluations/panel/", panels.prompt_panel, name="prompt-panel"),
    path(f"{PROMPT}/playground/", playground.playground_page, name="playground"),
    path(f"{PROMPT}/playground/panel/", playground.panel, name="playground-panel"),
    path(f"{PROMPT}/playground/<int:key>/wait/", playground.playground_run_wait, name="playground-wait"),
    path(f"{PROMPT}/playground/<int:key>/cancel/", playground.playground_run_cancel, name="playground-cancel"),
    path(f"{PROMPT}/playground/<int:key>/answers/<int:answer>/save/", playground.answer_save, name="answer-save"),
    path(f"{P}/import-prompts/", prompt_imports.prompt_import, name="prompt-import"),
    path(f"{P}/datasets/", datasets.dataset_list, name="dataset-list"),
    path(f"{P}/new-dataset/", datasets.dataset_new, name="dataset-new"),
    path(f"{P}/images/", images.image_list, name="image-list"),
    path(f"{P}/images/<str:sha256>/delete/", images.image_delete, name="image-delete"),
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
    path(f"{DATASET}/syntheses/<int:key>/wait/", proposals.synthesis_wait, name="synthesis-wait"),
    path(f"{DATASET}/rounds/", annotation.round_list, name="round-list"),
    path(f"{DATASET}/rounds/new/", annotation.round_new, name="round-new"),
    path(f"{DATASET}/rounds/<int:key>/", annotation.round_detail, name="round-detail"),
    path(f"{DATASET}/rounds/<int:key>/annotate/", annotation.annotate, name="annotate"),
    path(f"{DATASET}/rounds/<int:key>/unskip/", annotation.unskip, name="round-unskip"),
    path(f"{DATASET}/rounds/<int:key>/decide/", annotation.decide, name="round-decide"),
    path(f"{DATASET}/rounds/<int:key>/end/", annotation.round_end, name="round-end"),
    path(f"{P}/evaluations/", runs.run_list, name="run-list"),
    path(f"{P}/new-evaluation/", runs.run_new, name="run-new"),
    path(f"{RUN}/", runs.run_detail, name="run-detail"),
    path(f"{RUN}/progress/", runs.run_progress, name="run-progress"),
    path(f"{RUN}/cancel/", runs.run_cancel, name="run-cancel"),
    path(f"{RUN}/resume/", runs.run_resume, name="run-resume"),
    path(f"{RUN}/rescore/", runs.run_rescore, name="run-rescore"),
    path(f"{RUN}/without-retrieval/", sweeps.sweep_without_retrieval, name="run-without-retrieval"),
    path(f"{RUN}/file/", runs.run_file, name="run-file"),
    path(f"{RUN}/results/<int:result>/annotation/", runs.result_annotate, name="result-annotate"),
    path(f"{P}/new-comparison/", comparisons.comparison_new, name="comparison-new"),
    path(f"{P}/comparisons/<int:key>/", comparisons.comparison_detail, name="comparison-detail"),
    path(f"{P}/comparisons/<int:key>/wait/", comparisons.comparison_wait, name="comparison-wait"),
    path(f"{P}/new-sweep/", sweeps.sweep_new, name="sweep-new"),
    path(f"{P}/comparisons/<int:key>/cancel/", comparisons.comparison_cancel, name="comparison-cancel"),
    path(f"{P}/comparisons/<int:key>/resume/", comparisons.comparison_resume, name="comparison-resume"),
    path(f"{P}/comparisons/<int:key>/draft/", comparisons.comparison_draft, name="comparison-draft"),
    path(f"{P}/settings/providers/", providers.provider_list, name="provider-list"),
    path(f"{PROVIDER}/", providers.provider_detail, name="provider-detail"),
    path(f"{PROVIDER}/test/", providers.provider_test, name="provider-test"),
    path(f"{PROVIDER}/wait/", providers.provider_wait, name="provider-wait"),
    path(f"{PROVIDER}/end/", providers.provider_end, name="provider-end"),
    path(f"{PROVIDER}/models/", providers.model_new, name="model-new"),
    path(f"{PROVIDER}/prices/", providers.model_price, name="model-price"),
    path(f"{PROVIDER}/model/archive/", models.model_archive, name="model-archive"),
    path(f"{PROVIDER}/model/", models.model_detail, name="model-detail"),
    path(f"{PROVIDER}/refusals/", models.model_refusal, name="model-refusal"),
    path(f"{P}/settings/gates/", gates.gate_list, name="gate-list"),
    path(f"{P}/settings/gates/<int:key>/remove/", gates.gate_remove, name="gate-remove"),
    path(f"{P}/settings/gates/<int:key>/cases/", gates.gate_use_cases, name="gate-use-cases"),
    path(f"{P}/settings/slas/", gates.slas_set, name="slas-set"),
    path(f"{P}/gates/evidence/<int:key>/", gates.evidence_panel, name="evidence-panel"),
]
