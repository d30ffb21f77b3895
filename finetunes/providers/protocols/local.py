"""This installation's local engine: a real model on this machine, tuned by LoRA."""

from finetunes.providers.base import OPENAI_STATUSES, TuningProtocol
from finetunes.providers.jsonl import Method

PROTOCOL = TuningProtocol(
    "local", "Local engine", OPENAI_STATUSES, methods=(Method.SUPERVISED,), more_settings=("rank", "layers")
)
