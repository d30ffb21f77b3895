"""The evaluations' tables. Import from `evaluations.models`."""

from evaluations.models.annotation import Annotation, AnnotationItem, AnnotationRound, RoundState
from evaluations.models.datasets import Case, CaseRemoval, Dataset, DatasetVersion, Split
from evaluations.models.imports import DatasetImport, ImportPart, ImportState, PartKind
from evaluations.models.proposals import CaseProposal, ProposalState
from evaluations.models.reports import Finding, FindingKind, LeakageOverride, Report, ReportKind, ReportState

__all__ = [
    "Annotation",
    "AnnotationItem",
    "AnnotationRound",
    "Case",
    "CaseProposal",
    "CaseRemoval",
    "Dataset",
    "DatasetImport",
    "DatasetVersion",
    "Finding",
    "FindingKind",
    "ImportPart",
    "ImportState",
    "LeakageOverride",
    "PartKind",
    "ProposalState",
    "Report",
    "ReportKind",
    "ReportState",
    "RoundState",
    "Split",
]
