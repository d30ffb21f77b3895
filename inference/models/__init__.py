"""The rows of inference configs, live calls, their texts and monitors. Import from `inference.models`."""

from inference.models.calls import Call, DeletedSubject, RollupSpan, SpanCount, UsageRollup
from inference.models.configs import InferenceConfig
from inference.models.experiments import (
    Experiment,
    ExperimentArm,
    ExperimentEvent,
    ExperimentEventKind,
    ExperimentRun,
    ExperimentUnit,
)
from inference.models.feedback import Feedback, FeedbackKind, FeedbackSource
from inference.models.monitors import Alert, Monitor, MonitorState, NightlyRun
from inference.models.shadows import ShadowPair
from inference.models.texts import CallText, TextPolicy
from inference.models.watches import ReleaseWatch

__all__ = [
    "Alert",
    "Call",
    "CallText",
    "DeletedSubject",
    "Experiment",
    "ExperimentArm",
    "ExperimentEvent",
    "ExperimentEventKind",
    "ExperimentRun",
    "ExperimentUnit",
    "Feedback",
    "FeedbackKind",
    "FeedbackSource",
    "InferenceConfig",
    "Monitor",
    "MonitorState",
    "NightlyRun",
    "ReleaseWatch",
    "RollupSpan",
    "ShadowPair",
    "SpanCount",
    "TextPolicy",
    "UsageRollup",
]
