"""Tasks of the workers; each loads by id, calls one function, and has its limits. The rows are the messages: see
infra.work."""

from core.references import DEFAULT_ENVIRONMENT
from evaluations import tasks as evaluating
from finetunes.jobs import cross_validation, tuned_models
from finetunes.jobs import lifecycle as jobs
from finetunes.models import TunedEvaluation
from finetunes.strategy import config_proposals
from finetunes.training_sets import lifecycle as training_sets
from infra.queues import LONG, SHORT, task
from infra.work import start, start_waiting

MAX_STARTED = 50
HOUR = 3_600


@task(name="finetunes.tasks.build", queue=LONG, time_limit=HOUR + 60, soft_time_limit=HOUR)
def build(training_set_id: int) -> None:
    """Build a training set's files."""
    training_set = training_sets.training_sets_with_related().filter(pk=training_set_id).first()
    if training_set:
        training_sets.build(training_set)


@task(name="finetunes.tasks.advance", queue=SHORT, time_limit=660, soft_time_limit=640)
def advance(job_id: int) -> None:
    """Take one step of a job; a next step that is due at once is another task."""
    from finetunes.jobs.worker import advance as step  # noqa: PLC0415

    job = step(job_id)
    if job and job.is_driven and jobs.due_jobs().filter(pk=job.pk).exists():
        start(advance, job.pk)
    if job and hasattr(job, "tuned"):
        start(measure, job.tuned.pk)


@task(name="finetunes.tasks.measure", queue=SHORT, time_limit=300, soft_time_limit=280)
def measure(tuned_id: int) -> None:
    """Start the evaluation of a tuned model."""
    model = tuned_models.unmeasured_models().filter(pk=tuned_id).first()
    for run in tuned_models.measure(model) if model else ():
        start(evaluating.work_on_run, run.pk)


@task(name="finetunes.tasks.compare", queue=SHORT, time_limit=120, soft_time_limit=110)
def compare(evaluation_id: int) -> None:
    """Compare a tuned model's runs with those of the prompt that it replaces."""
    evaluation: TunedEvaluation | None = tuned_models.uncompared_evaluations().filter(pk=evaluation_id).first()
    number = tuned_models.compare(evaluation) if evaluation else None
    if number:
        start(evaluating.compare_runs, number)


@task(name="finetunes.tasks.cross_validate", queue=SHORT, time_limit=660, soft_time_limit=640)
def cross_validate(cross_validation_id: int) -> None:
    """Take the next steps of a cross-validation."""
    row = cross_validation.claimable_cross_validations().filter(pk=cross_validation_id).first()
    if row:
        cross_validation.advance(row)


@task(name="finetunes.tasks.look_at_drift", queue=SHORT, time_limit=600, soft_time_limit=580)
def look_at_drift() -> None:
    """Check whether live calls of published models still look like what they were measured on."""
    for model in tuned_models.models_due_for_drift_check()[:MAX_STARTED]:
        tuned_models.check_drift(model)


@task(name="finetunes.tasks.follow_recommendations", queue=SHORT, time_limit=600, soft_time_limit=580)
def follow_recommendations() -> None:
    """Recommend again for configs that follow a prompt; another answer opens a promotion."""
    config_proposals.propose_changes(DEFAULT_ENVIRONMENT)


@task(name="finetunes.tasks.reconcile", queue=SHORT, time_limit=60, soft_time_limit=50)
def sweep() -> None:
    """Start what is due, or waits because its own task was lost or its worker died."""
    start_waiting(build, training_sets.claimable_training_sets().values_list("pk", flat=True)[:MAX_STARTED])
    start_waiting(advance, jobs.due_jobs().values_list("pk", flat=True)[:MAX_STARTED])
    start_waiting(measure, tuned_models.unmeasured_models().values_list("pk", flat=True)[:MAX_STARTED])
    start_waiting(compare, tuned_models.uncompared_evaluations().values_list("pk", flat=True)[:MAX_STARTED])
    start_waiting(
        cross_validate, cross_validation.claimable_cross_validations().values_list("pk", flat=True)[:MAX_STARTED]
    )
