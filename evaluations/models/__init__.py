"""The evaluations' tables. Import from `evaluations.models`."""

from evaluations.models.annotation import Annotation, AnnotationItem, AnnotationRound, RoundState
from evaluations.models.comparisons import Comparison, ComparisonState
from evaluations.models.datasets import Case, CaseRemoval, Dataset, DatasetVersion, Split
from evaluations.models.gates import Gate, GateRun, GateState, ServiceLevels
from evaluations.models.imports import DatasetImport, ImportPart, ImportState, PartKind
from evaluations.models.lineups import Lineup, LineupRun, LineupState
from evaluations.models.playground import TRIAL_OPEN, Trial, TrialAnswer, TrialState
from evaluations.models.proposals import CaseProposal, ProposalState
from evaluations.models.providers import Capability, ModelPrice, Provider, ProviderModel
from evaluations.models.reports import Finding, FindingKind, LeakageOverride, Report, ReportKind, ReportState
from evaluations.models.runs import (
    RUN_OPEN,
    BatchState,
    CachedAnswer,
    Result,
    ResultMark,
    Run,
    RunBatch,
    RunState,
)
from evaluations.models.synthesis import SYNTHESIS_OPEN, Synthesis, SynthesisState

__all__ = [
    "RUN_OPEN",
    "SYNTHESIS_OPEN",
    "TRIAL_OPEN",
    "Annotation",
    "AnnotationItem",
    "AnnotationRound",
    "BatchState",
    "CachedAnswer",
    "Capability",
    "Case",
    "CaseProposal",
    "CaseRemoval",
    "Comparison",
    "ComparisonState",
    "Dataset",
    "DatasetImport",
    "DatasetVersion",
    "Finding",
    "FindingKind",
    "Gate",
    "GateRun",
    "GateState",
    "ImportPart",
    "ImportState",
    "LeakageOverride",
    "Lineup",
    "LineupRun",
    "LineupState",
    "ModelPrice",
    "PartKind",
    "ProposalState",
    "Provider",
    "ProviderModel",
    "Report",
    "ReportKind",
    "ReportState",
    "Result",
    "ResultMark",
    "RoundState",
    "Run",
    "RunBatch",
    "RunState",
    "ServiceLevels",
    "Split",
    "Synthesis",
    "SynthesisState",
    "Trial",
    "TrialAnswer",
    "TrialState",
]
