"""What serves and watches live traffic, as rows. Import from `inference.models`."""

from inference.models.calls import Call, CallDay
from inference.models.configs import InferenceConfig
from inference.models.monitors import Monitor, MonitorState

__all__ = ["InferenceConfig", "Monitor", "MonitorState", "Call", "CallDay"]
