"""The rows of training sets, jobs and their results. Rules that always hold are constraints and triggers."""

from finetunes.models.cross_validations import CROSS_VALIDATION_OVER, CrossValidation, CrossValidationState
from finetunes.models.fine_tuning import FineTuningPrice, FineTuningSettings
from finetunes.models.guides import Guide
from finetunes.models.jobs import FineTune, TuneCheckpoint, TuneEvent, TunePoint
from finetunes.models.strategy import StrategyPolicy, StrategyRecommendation
from finetunes.models.training_sets import TrainingFile, TrainingSet, TrainingSetState
from finetunes.models.tuned import TunedEvaluation, TunedModel

__all__ = [
    "CROSS_VALIDATION_OVER",
    "CrossValidation",
    "CrossValidationState",
    "FineTune",
    "FineTuningPrice",
    "FineTuningSettings",
    "Guide",
    "StrategyPolicy",
    "StrategyRecommendation",
    "TrainingFile",
    "TrainingSet",
    "TrainingSetState",
    "TuneCheckpoint",
    "TuneEvent",
    "TunePoint",
    "TunedEvaluation",
    "TunedModel",
]
