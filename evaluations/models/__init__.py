"""The evaluations' tables. Import from `evaluations.models`."""

from evaluations.models.annotation import Annotation, AnnotationItem, AnnotationRound, RoundState
from evaluations.models.comparisons import Comparison, ComparisonRun, ComparisonState
from evaluations.models.datasets import Case, CaseImage, CaseRemoval, Dataset, DatasetVersion, Split
from evaluations.models.gates import SLA, Gate, GateRun, GateState
from evaluations.models.imports import DatasetImport, ImportPart, ImportState, PartKind
from evaluations.models.playground import PLAYGROUND_OPEN, PlaygroundAnswer, PlaygroundRun, PlaygroundState
from evaluations.models.proposals import CaseProposal, ProposalState
from evaluations.models.providers import (
    Capability,
    ModelPrice,
    Provider,
    ProviderKind,
    ProviderModel,
    ProviderSlots,
)
from evaluations.models.reports import Finding, FindingKind, LeakageOverride, Report, ReportKind, ReportState
from evaluations.models.runs import (
    RUN_OPEN,
    BatchState,
    CachedAnswer,
    Result,
    ResultAnnotation,
    Run,
    RunBatch,
    RunState,
)
from evaluations.models.synthesis import SYNTHESIS_OPEN, Synthesis, SynthesisState

__all__ = [
    "PLAYGROUND_OPEN",
    "RUN_OPEN",
    "SLA",
    "SYNTHESIS_OPEN",
    "Annotation",
    "AnnotationItem",
    "AnnotationRound",
    "BatchState",
    "CachedAnswer",
    "Capability",
    "Case",
    "CaseImage",
    "CaseProposal",
    "CaseRemoval",
    "Comparison",
    "ComparisonRun",
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
    "ModelPrice",
    "PartKind",
    "PlaygroundAnswer",
    "PlaygroundRun",
    "PlaygroundState",
    "ProposalState",
    "Provider",
    "ProviderKind",
    "ProviderModel",
    "ProviderSlots",
    "Report",
    "ReportKind",
    "ReportState",
    "Result",
    "ResultAnnotation",
    "RoundState",
    "Run",
    "RunBatch",
    "RunState",
    "Split",
    "Synthesis",
    "SynthesisState",
]
