"""The rows of inference configs, live calls and monitors. Import from `inference.models`."""

from inference.models.calls import Call, CallDay
from inference.models.configs import InferenceConfig
from inference.models.monitors import Monitor, MonitorState

__all__ = ["Call", "CallDay", "InferenceConfig", "Monitor", "MonitorState"]
