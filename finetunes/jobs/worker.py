"""Steps of a job at its provider: check, upload, create, poll, and save the results.

No worker waits for a job. A step is claimed by a lease on the row (infra.work), does at most one thing that costs
money, and ends by setting when the next is due. Its result is saved only by the worker that still has the lease.

A create request is sent once. Before it is sent the row records it (`asked_at`); where its answer is lost, by a dead
worker, a timeout or a 500, the provider's own list is searched until it shows the job, or has had time to and does not.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import Q
from django.utils import timezone

from core.errors import Problem
from evaluations.providers.chat import CallError, Remedy
from finetunes.jobs import lifecycle as jobs
from finetunes.jobs import polling, provider_settings, tuned_models
from finetunes.models import FineTune, FineTuningSettings, TuneCheckpoint, TuneEvent, TunePoint
from finetunes.providers import curves
from finetunes.providers.base import UPLOAD_SECONDS, CreateRequest, RemoteCheckpoint, RemoteEvent, RemoteJob
from finetunes.providers.curves import CurvePoint
from finetunes.providers.jsonl import Method
from finetunes.providers.states import FINAL_STATES, STATES_AT_PROVIDER, JobState
from finetunes.training_sets import lifecycle as training_sets
from finetunes.training_sets.estimates import MILLION
from infra import work
from infra.work import BROKEN, Lease, LeaseLostError

logger = logging.getLogger(__name__)

# The time within which a provider lists a job that it has accepted.
LISTING_DELAY = timedelta(seconds=60)
SLOT_WAIT = timedelta(seconds=15)
# Steps in a row that may end by a fault of our own.
MAX_BROKEN_STEPS = 5
MAX_COST_USD = 10**8
# Further events of a job are ignored.
MAX_EVENTS = 10_000


@dataclass(frozen=True)
class _StepResult:
    """Result of a step: members of the row, and in how many seconds the next is due (None: never)."""

    members: dict[str, Any]
    seconds: float | None = 0.0


def advance(job_id: int) -> FineTune | None:
    """Take a job's next step. None where it is not due, or another worker holds the job."""
    lease = work.claim_next(jobs.due_jobs().filter(pk=job_id))
    if lease is None:
        return None
    job = lease.item = jobs.jobs_with_related().get(pk=job_id)
    with work.beating(lambda: [lease]):
        step = _next_step(lease)
    try:
        return _finish_step(lease, step)
    except DatabaseError:
        # The provider's answer cannot be saved. It is not asked again by itself: what was done there stays done.
        logger.exception("finetune.cannot_keep job=%s state=%s", job.pk, job.state)
        return _finish_step(lease, _needs_attention(job, BROKEN))


def _next_step(lease: Lease[FineTune]) -> _StepResult:
    job = lease.item
    try:
        if job.attempts > job.MAX_ATTEMPTS:
            raise Problem("server.error", f"{job.MAX_ATTEMPTS} workers ended over this step without finishing it.")
        return _STEPS[JobState(job.state)](lease)
    except CallError as error:
        return _after_error(job, error)
    except Problem as problem:
        return _needs_attention(job, problem.detail)
    except Exception:
        logger.exception("finetune.broken job=%s state=%s", job.pk, job.state)
        broken = job.consecutive_failures + 1 >= MAX_BROKEN_STEPS
        return (
            _needs_attention(job, BROKEN)
            if broken
            else _StepResult({"consecutive_failures": job.consecutive_failures + 1}, polling.backoff_seconds(1))
        )


def _finish_step(lease: Lease[FineTune], step: _StepResult) -> FineTune:
    job = lease.item
    due = None if step.seconds is None else timezone.now() + timedelta(seconds=step.seconds)
    # A user who cancelled, or a webhook, may have set an earlier time meanwhile: that one holds.
    with transaction.atomic():
        row = lease.rows().select_for_update(of=("self",)).first()
        if row is None:
            return jobs.jobs_with_related().get(pk=job.pk)
        if due is not None and (row.cancel_asked_at != job.cancel_asked_at or row.next_poll_at != job.next_poll_at):
            due = timezone.now()
        lease.release(next_poll_at=due, **step.members)
    updated = jobs.jobs_with_related().get(pk=job.pk)
    if updated.state != job.state:
        logger.info("finetune.moved job=%s from=%s to=%s", job.pk, job.state, updated.state)
    return updated


def _save(lease: Lease[FineTune], **members: Any) -> bool:
    """Save members in the middle of a step; False where another worker has the job by now."""
    try:
        lease.save(**members)
    except LeaseLostError:
        return False
    return True


def _needs_attention(job: FineTune, sentence: str) -> _StepResult:
    members = {"state": JobState.NEEDS_ATTENTION, "resumes_at": job.state, "error": sentence[:1_000], "note": ""}
    return _StepResult(members, None)


def _after_error(job: FineTune, error: CallError) -> _StepResult:
    """Put a temporary failure off; a failure that only a user can fix waits for one."""
    message = f"{error.detail} ({error.code})"
    if error.remedy != Remedy.RETRY:
        return _needs_attention(job, message)
    consecutive_failures = job.consecutive_failures + 1
    seconds = polling.backoff_seconds(consecutive_failures, error.retry_after)
    return _StepResult(
        {"consecutive_failures": consecutive_failures, "note": f"{message} Asked again in {seconds:.0f} s."[:500]},
        seconds,
    )


# --- Checked ---------------------------------------------------------------------------------------------------------


def _check(lease: Lease[FineTune]) -> _StepResult:
    """Check once more all that must hold, and wait for one of the provider's slots."""
    job = lease.item
    jobs.require_submittable(job)
    provider_settings.settings_for(job.model.provider)
    with transaction.atomic():
        # Jobs take slots one after the other.
        fine_tuning = FineTuningSettings.objects.select_for_update().get(provider=job.model.provider)
        # A job that needs attention after it was sent goes on at the provider.
        sent = Q(state=JobState.NEEDS_ATTENTION, resumes_at__in=STATES_AT_PROVIDER) & (
            ~Q(remote_id="") | ~Q(asked_at=None)
        )
        under_way = FineTune.objects.filter(Q(state__in=STATES_AT_PROVIDER) | sent, model__provider=job.model.provider)
        taken = under_way.count()
        if taken >= fine_tuning.max_jobs:
            note = f"Waits: {taken} jobs are under way at {job.provider_name}, which may have {fine_tuning.max_jobs}."
            return _StepResult({"note": note}, SLOT_WAIT.total_seconds())
        # The slot is taken when the lock is released, so the state changes here and not at the end of the step.
        _save(lease, state=JobState.UPLOADING, note="", consecutive_failures=0)
    return _StepResult({})


# --- Being sent ------------------------------------------------------------------------------------------------------


def _send(lease: Lease[FineTune]) -> _StepResult:
    """Send what the provider does not have yet: a file, the other file, the create request."""
    job = lease.item
    if job.cancel_asked_at and not job.asked_at:
        return _StepResult({"state": JobState.CANCELLED, "finished_at": timezone.now(), "note": ""}, None)
    for file, member in (("train", "training_file"), ("validation", "validation_file")):
        if not getattr(job, member) and (file == "train" or job.training_set.validation):
            return _StepResult(
                {member: _upload_file(lease, file), "asked_at": None, "consecutive_failures": 0, "note": ""}
            )
    return _create_job(lease)


def _upload_file(lease: Lease[FineTune], file: str) -> str:
    job = lease.item
    name = f"cuebook-{job.reference}-{file}.jsonl"
    # A file costs nothing, but a second copy of it is one more that holds people's data.
    if job.consecutive_failures:
        file_id = provider_settings.call_provider(job.model.provider, lambda tuning: tuning.find_file(name))
        if file_id:
            return file_id
    data = b"".join(training_sets.file_pieces(job.training_set, file))
    # A worker that dies here, or a lost answer, leaves a failure: the next worker searches first.
    _save(lease, consecutive_failures=job.consecutive_failures + 1)
    return provider_settings.call_provider(
        job.model.provider, lambda tuning: tuning.upload(name, data), seconds=UPLOAD_SECONDS
    )


def _create_job(lease: Lease[FineTune]) -> _StepResult:
    job = lease.item
    request = CreateRequest(
        reference=str(job.reference),
        model=job.model_name,
        training_file=job.training_file,
        validation_file=job.validation_file or None,
        method=Method(job.training_set.method),
        hyperparameters=job.hyperparameters,
        suffix=job.suffix,
    )
    if job.asked_at:
        remote = provider_settings.call_provider(job.model.provider, lambda tuning: tuning.find_job(request))
        if remote:
            return _attach(job, remote)
        waited = timezone.now() - job.asked_at
        if waited < LISTING_DELAY:
            note = "The provider’s answer was lost; its list of jobs is searched before anything is sent again."
            return _StepResult({"note": note}, min(10.0, (LISTING_DELAY - waited).total_seconds() + 1))
    else:
        # Something may have changed since it was checked.
        jobs.require_submittable(job)
    # The list may have taken long.
    if FineTune.objects.filter(pk=job.pk, cancel_asked_at__isnull=False).exists():
        return _StepResult({"state": JobState.CANCELLED, "finished_at": timezone.now(), "note": ""}, None)
    # Committed before the request is sent: whatever happens after this line, the next worker searches before it asks.
    if not _save(lease, asked_at=timezone.now()):
        return _StepResult({})
    try:
        remote = provider_settings.call_provider(job.model.provider, lambda tuning: tuning.create(request))
    except CallError as error:
        # The provider has refused, so there is no job; or the answer is lost, and its list has time from now on to show
        # the job.
        is_refused = error.remedy != Remedy.RETRY or error.code == "call.rate_limited"
        _save(lease, asked_at=None if is_refused else timezone.now())
        raise
    return _attach(job, remote)


def _attach(job: FineTune, remote: RemoteJob) -> _StepResult:
    state = _state_for_status(job, remote.status)
    # Whatever its state is by now, it is polled from its beginning.
    first = JobState.RUNNING if state == JobState.RUNNING else JobState.QUEUED
    members = {
        "state": first,
        "remote_id": remote.id,
        "remote_status": remote.status,
        "consecutive_failures": 0,
        "unchanged": 0,
        "note": "",
        "started_at": timezone.now() if first == JobState.RUNNING else None,
    }
    return _StepResult(members, polling.pause_seconds(0))


# --- At the provider -------------------------------------------------------------------------------------------------


def _poll(lease: Lease[FineTune]) -> _StepResult:
    """Poll the job; cancel it first where a user asked for that."""
    job = lease.item
    if job.cancel_asked_at:
        try:
            provider_settings.call_provider(job.model.provider, lambda tuning: tuning.cancel(job.remote_id))
        except CallError as error:
            # It may be over by now; the next request shows its state.
            if error.code == "call.rate_limited":
                raise
    try:
        remote = provider_settings.call_provider(job.model.provider, lambda tuning: tuning.retrieve(job.remote_id))
    except CallError as error:
        if job.cancel_asked_at and error.code == "call.unknown_model":
            # The provider does not have it any more: nothing is left to cancel.
            return _StepResult({"state": JobState.CANCELLED, "finished_at": timezone.now(), "note": ""}, None)
        raise
    events = provider_settings.call_provider(job.model.provider, lambda tuning: tuning.events(job.remote_id))
    new_event_count = _save_events(job, events)
    state = _state_for_status(job, remote.status)
    if state == JobState.SUCCEEDED and not remote.fine_tuned_model:
        return _needs_attention(job, "The provider says that it succeeded, and names no model.")
    if state in FINAL_STATES:
        return _finish_job(job, state, remote)
    has_changed = bool(new_event_count) or remote.status != job.remote_status
    unchanged = 0 if has_changed else job.unchanged + 1
    unknown_status_note = f"The provider reports the unknown status “{remote.status}”; polling goes on."
    members: dict[str, Any] = {
        "remote_status": remote.status,
        "unchanged": unchanged,
        "consecutive_failures": 0,
        "note": "" if state else unknown_status_note,
    }
    if state and state != job.state:
        members["state"] = state
        members["started_at"] = job.started_at or (timezone.now() if state == JobState.RUNNING else None)
    return _StepResult(members, polling.pause_seconds(unchanged))


def _finish_job(job: FineTune, state: JobState, remote: RemoteJob) -> _StepResult:
    now = timezone.now()
    price = Decimal(job.price["training"]) if job.price else None
    cost = None
    if remote.trained_tokens is not None and price is not None:
        computed_cost = round(price * remote.trained_tokens / MILLION, 6)
        # A larger cost means that the provider counts something else than tokens.
        cost = computed_cost if computed_cost < MAX_COST_USD else None
    members: dict[str, Any] = {
        "state": state,
        "remote_status": remote.status,
        "trained_tokens": remote.trained_tokens,
        "cost_usd": cost,
        "error": remote.error if state == JobState.FAILED else "",
        "note": "",
        "consecutive_failures": 0,
        "finished_at": now,
        "started_at": job.started_at or job.submitted_at or now,
    }
    if state == JobState.SUCCEEDED:
        points = [point for file in remote.result_files[:3] for point in _read_results(job, file)]
        checkpoints = provider_settings.call_provider(
            job.model.provider, lambda tuning: tuning.checkpoints(job.remote_id)
        )
        _save_points(job, [*(checkpoint.point for checkpoint in checkpoints if checkpoint.point), *points])
        _save_checkpoints(job, checkpoints)
        tuned_models.create_from_job(job, remote, cost)
    return _StepResult(members, None)


def _read_results(job: FineTune, file: str) -> list[CurvePoint]:
    """Read a file of results; a job has succeeded without it as well."""
    try:
        return curves.read_csv(provider_settings.call_provider(job.model.provider, lambda tuning: tuning.result(file)))
    except (CallError, ValueError) as error:
        logger.warning("finetune.no_results job=%s file=%s %s", job.pk, file, error)
        return []


def _save_events(job: FineTune, events: list[RemoteEvent]) -> int:
    """Save new events; returns their number."""
    known_ids = set(job.events.filter(remote_id__in=[event.id for event in events]).values_list("remote_id", flat=True))
    room = max(0, MAX_EVENTS - job.events.count())
    new_events = [event for event in events if event.id not in known_ids][:room]
    TuneEvent.objects.bulk_create(
        (
            TuneEvent(
                job=job,
                remote_id=event.id,
                at=datetime.fromtimestamp(event.at, UTC),
                level=event.level,
                message=event.message,
            )
            for event in new_events
        ),
        ignore_conflicts=True,
    )
    _save_points(job, [event.point for event in new_events if event.point])
    return len(new_events)


def _save_points(job: FineTune, points: list[CurvePoint]) -> None:
    if not points:
        return
    values_by_step = {row.step: row.values for row in job.points.filter(step__in=[row.step for row in points])}
    TunePoint.objects.bulk_create(
        (
            TunePoint(job=job, step=point.step, values={**values_by_step.get(point.step, {}), **point.values})
            for point in curves.merge_points(points)
        ),
        update_conflicts=True,
        unique_fields=["job", "step"],
        update_fields=["values"],
        batch_size=1_000,
    )


def _save_checkpoints(job: FineTune, checkpoints: list[RemoteCheckpoint]) -> None:
    TuneCheckpoint.objects.bulk_create(
        (
            TuneCheckpoint(job=job, remote_id=checkpoint.id, step=checkpoint.step, model_name=checkpoint.model)
            for checkpoint in checkpoints
            if checkpoint.model
        ),
        ignore_conflicts=True,
    )


def _state_for_status(job: FineTune, status: str) -> JobState | None:
    return provider_settings.protocol_for(provider_settings.settings_for(job.model.provider)).state_for_status(status)


_STEPS: dict[JobState, Callable[[Lease[FineTune]], _StepResult]] = {
    JobState.VALIDATING: _check,
    JobState.UPLOADING: _send,
    JobState.QUEUED: _poll,
    JobState.RUNNING: _poll,
}
