"""The rows of inference configs, live calls, their texts and monitors. Import from `inference.models`."""

from inference.models.calls import Call, CallDay
from inference.models.configs import InferenceConfig
from inference.models.monitors import Monitor, MonitorState
from inference.models.texts import CallText, TextPolicy

__all__ = ["Call", "CallDay", "CallText", "InferenceConfig", "Monitor", "MonitorState", "TextPolicy"]
