"""The sandbox that comes with Cuebook: a simulation."""

from finetunes.providers.base import OPENAI_STATUSES, TuningProtocol

PROTOCOL = TuningProtocol("sandbox", "Sandbox", OPENAI_STATUSES)
