"""Together: its own address for jobs. A tuned model answers on an endpoint that somebody makes for it."""

from finetunes.providers.base import TuningProtocol
from finetunes.providers.states import JobState

PROTOCOL = TuningProtocol(
    "together",
    "Together",
    {
        **{"pending": JobState.QUEUED, "queued": JobState.QUEUED},
        **dict.fromkeys(("running", "compressing", "uploading", "cancel_requested"), JobState.RUNNING),
        **{"completed": JobState.SUCCEEDED, "error": JobState.FAILED, "cancelled": JobState.CANCELLED},
    },
    max_suffix_length=64,
    keeps_metadata=False,
    deploys=True,
    hosts=("api.together.xyz", "api.together.ai"),
    has_rate_multiplier=False,
    min_examples=1,
    client="finetunes.providers.together_tuning",
)
