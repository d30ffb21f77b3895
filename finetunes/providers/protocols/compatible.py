"""Other servers with OpenAI's wire, whose statuses go by more names."""

from finetunes.providers.base import OPENAI_STATUSES, TuningProtocol
from finetunes.providers.states import JobState

PROTOCOL = TuningProtocol(
    "compatible",
    "Compatible with OpenAI",
    {
        **OPENAI_STATUSES,
        **{"created": JobState.QUEUED, "compressing": JobState.RUNNING, "uploading": JobState.RUNNING},
        **{"completed": JobState.SUCCEEDED, "success": JobState.SUCCEEDED, "error": JobState.FAILED},
    },
    max_suffix_length=40,
    keeps_metadata=False,
)
