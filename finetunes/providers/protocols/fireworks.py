"""Fireworks: jobs and datasets of an account, under names of ours. A tuned model has to be deployed."""

from finetunes.providers.base import TuningProtocol
from finetunes.providers.jsonl import Method
from finetunes.providers.states import JobState

QUEUED = ("unspecified", "creating", "pending", "validating", "creating_input_dataset", "re_queueing", "paused")
RUNNING = ("running", "writing_results", "idle", "cancelling", "deleting", "deleting_cleaning_up")
PROTOCOL = TuningProtocol(
    "fireworks",
    "Fireworks",
    {
        **{f"job_state_{name}": JobState.QUEUED for name in QUEUED},
        **{f"job_state_{name}": JobState.RUNNING for name in RUNNING},
        **{"job_state_completed": JobState.SUCCEEDED, "job_state_early_stopped": JobState.SUCCEEDED},
        **{"job_state_failed": JobState.FAILED, "job_state_expired": JobState.FAILED},
        "job_state_cancelled": JobState.CANCELLED,
    },
    max_suffix_length=20,
    keeps_metadata=False,
    deploys=True,
    hosts=("api.fireworks.ai",),
    methods=(Method.SUPERVISED,),
    has_rate_multiplier=False,
    min_examples=3,
    max_examples=3_000_000,
    client="finetunes.providers.fireworks_tuning",
)
