"""Azure OpenAI: tuned models are deployed by hand."""

from finetunes.providers.base import OPENAI_STATUSES, TuningProtocol
from finetunes.providers.states import JobState

PROTOCOL = TuningProtocol(
    "azure",
    "Azure OpenAI",
    {**OPENAI_STATUSES, "notrunning": JobState.QUEUED, "creating": JobState.QUEUED},
    max_suffix_length=18,
    keeps_metadata=False,
    deploys=True,
    hosts=(".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com"),
)
