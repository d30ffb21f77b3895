"""Work for the workers; each task loads by id, calls one function, and has its limits. The rows are the messages: see
registry.tasks."""

from celery import shared_task

from core.references import DEFAULT_ENVIRONMENT
from evaluations import tasks as evaluating
from finetunes.jobs import cross_validation, tuned_models
from finetunes.jobs import lifecycle as jobs
from finetunes.models import TunedEvaluation
from finetunes.strategy import config_proposals
from finetunes.training_sets import lifecycle as training_sets
from registry.tasks import start

MOST_SWEPT = 50
HOUR = 3_600


@shared_task(name="finetunes.tasks.build", time_limit=HOUR + 60, soft_time_limit=HOUR)
def build(training_set_id: int) -> None:
    """Make a training set's files."""
    found = training_sets.loaded().filter(pk=training_set_id).first()
    if found:
        training_sets.perform(found)


@shared_task(name="finetunes.tasks.advance", time_limit=660, soft_time_limit=640)
def advance(job_id: int) -> None:
    """Take one step of a job; what can be done at once is another task."""
    from finetunes.jobs.worker import advance as step  # noqa: PLC0415

    job = step(job_id)
    if job and job.is_driven and jobs.due().filter(pk=job.pk).exists():
        start(advance, job.pk)
    if job and hasattr(job, "tuned"):
        start(measure, job.tuned.pk)


@shared_task(name="finetunes.tasks.measure", time_limit=300, soft_time_limit=280)
def measure(tuned_id: int) -> None:
    """Begin to measure a tuned model."""
    found = tuned_models.unmeasured().filter(pk=tuned_id).first()
    for run in tuned_models.measure(found) if found else ():
        start(evaluating.drive_run, run.pk)


@shared_task(name="finetunes.tasks.compare", time_limit=120, soft_time_limit=110)
def compare(evaluation_id: int) -> None:
    """Hold a tuned model's runs against those of what it is to replace."""
    found: TunedEvaluation | None = tuned_models.uncompared().filter(pk=evaluation_id).first()
    number = tuned_models.compare(found) if found else None
    if number:
        start(evaluating.compare_runs, number)


@shared_task(name="finetunes.tasks.cross_validate", time_limit=660, soft_time_limit=640)
def cross_validate(cross_validation_id: int) -> None:
    """Take the next steps of a cross-validation."""
    found = cross_validation.open_work().filter(pk=cross_validation_id).first()
    if found:
        cross_validation.perform(found)


@shared_task(name="finetunes.tasks.look_at_drift", time_limit=600, soft_time_limit=580)
def look_at_drift() -> None:
    """Look whether live calls of published models are still what they were measured on."""
    for model in tuned_models.undrifted()[:MOST_SWEPT]:
        tuned_models.look_at_drift(model)


@shared_task(name="finetunes.tasks.follow_recommendations", time_limit=600, soft_time_limit=580)
def follow_recommendations() -> None:
    """Recommend anew for configs that follow a prompt; another answer opens a promotion."""
    config_proposals.look(DEFAULT_ENVIRONMENT)


@shared_task(name="finetunes.tasks.sweep", time_limit=60, soft_time_limit=50)
def sweep() -> None:
    """Start what is due, or waits because its own task was lost or its worker died."""
    for key in training_sets.open_work().values_list("pk", flat=True)[:MOST_SWEPT]:
        start(build, key)
    for key in jobs.due().values_list("pk", flat=True)[:MOST_SWEPT]:
        start(advance, key)
    for key in tuned_models.unmeasured().values_list("pk", flat=True)[:MOST_SWEPT]:
        start(measure, key)
    for key in tuned_models.uncompared().values_list("pk", flat=True)[:MOST_SWEPT]:
        start(compare, key)
    for key in cross_validation.open_work().values_list("pk", flat=True)[:MOST_SWEPT]:
        start(cross_validate, key)
