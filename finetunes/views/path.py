"""The steps from data to a published model, and the step that a page is at."""

from collections.abc import Sequence
from dataclasses import dataclass

from finetunes.models import FineTune, TrainingSet
from finetunes.providers.states import JobState
from registry.accounts.permissions import Actor
from registry.views.frame import page_url

TITLES = ("Readiness", "Build", "Validate", "Estimate", "Submit", "Watch", "Compare", "Publish")


@dataclass(frozen=True)
class PathStep:
    """A step; `state` is done, here or ahead; `address` is empty where there is no page yet."""

    title: str
    state: str
    address: str = ""


def path(actor: Actor, training_set: TrainingSet | None = None, job: FineTune | None = None) -> Sequence[PathStep]:
    """Return the steps of a fine-tune that has got as far as these rows."""
    training_set = job.training_set if job else training_set
    here = _place(training_set, job)
    set_page = page_url("finetunes:set-detail", actor, training_set.pk) if training_set else ""
    job_page = page_url("finetunes:job-detail", actor, job.pk) if job else ""
    addresses = ("", set_page, set_page, set_page, job_page, job_page, job_page, job_page)
    return [
        PathStep(
            title, "done" if place < here else "here" if place == here else "ahead", address if place <= here else ""
        )
        for place, (title, address) in enumerate(zip(TITLES, addresses, strict=True))
    ]


def _place(training_set: TrainingSet | None, job: FineTune | None) -> int:
    if training_set is None:
        return 0
    if job is None:
        return 1 if training_set.is_open else 2 if training_set.errors or training_set.error else 3
    if job.state == JobState.DRAFT:
        return 4
    if job.state != JobState.SUCCEEDED:
        return 5
    if not hasattr(job, "tuned"):
        return 6
    if job.tuned.published_id:
        return len(TITLES)
    rows = list(job.tuned.evaluations.select_related("comparison"))
    return 7 if rows and all(row.is_over for row in rows) else 6
