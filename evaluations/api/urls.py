from django.urls import path

from evaluations.api import annotation, datasets, imports, proposals, reports

DATASET = "datasets/<str:name>"
VERSION = f"{DATASET}/versions/<str:selector>"
urlpatterns = [
    path("datasets", datasets.DatasetList.as_view()),
    path(DATASET, datasets.DatasetDetail.as_view()),
    path(f"{DATASET}/archive", datasets.DatasetArchive.as_view()),
    path(f"{DATASET}/restore", datasets.DatasetRestore.as_view()),
    path(f"{DATASET}/resplit", datasets.DatasetResplit.as_view()),
    path(f"{DATASET}/versions", datasets.DatasetVersions.as_view()),
    path(VERSION, datasets.DatasetVersionDetail.as_view()),
    path(f"{VERSION}/cases", datasets.DatasetCases.as_view()),
    path(f"{VERSION}/folds", datasets.DatasetFolds.as_view()),
    path(f"{VERSION}/file", datasets.DatasetFile.as_view()),
    path(f"{VERSION}/readiness", reports.ReadinessReport.as_view()),
    path(f"{VERSION}/leakage", reports.LeakageReport.as_view()),
    path(f"{VERSION}/leakage/findings", reports.LeakageFindings.as_view()),
    path(f"{VERSION}/leakage/override", reports.LeakageOverrideView.as_view()),
    path(f"{DATASET}/imports", imports.ImportList.as_view()),
    path(f"{DATASET}/imports/<int:key>", imports.ImportDetail.as_view()),
    path(f"{DATASET}/imports/<int:key>/parts/<int:part>", imports.ImportPartDetail.as_view()),
    path(f"{DATASET}/imports/<int:key>/start", imports.ImportStart.as_view()),
    path(f"{DATASET}/imports/<int:key>/again", imports.ImportAgain.as_view()),
    path(f"{DATASET}/imports/<int:key>/rejected", imports.ImportRejected.as_view()),
    path(f"{DATASET}/proposals", proposals.ProposalList.as_view()),
    path(f"{DATASET}/proposals/accept", proposals.ProposalsAccept.as_view()),
    path(f"{DATASET}/proposals/reject", proposals.ProposalsReject.as_view()),
    path(f"{DATASET}/rounds", annotation.RoundList.as_view()),
    path(f"{DATASET}/rounds/<int:key>", annotation.RoundDetail.as_view()),
    path(f"{DATASET}/rounds/<int:key>/apply", annotation.RoundApply.as_view()),
    path(f"{DATASET}/rounds/<int:key>/close", annotation.RoundClose.as_view()),
]
