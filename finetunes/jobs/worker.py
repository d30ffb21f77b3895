"""One step of a job at its provider: look, send, ask, keep what was said, and say when to come back.

No worker waits for a job. A step is claimed by a lease on the row, does at most one thing that costs money, and ends by
setting when the next is due. What a step found is kept only by the worker that still has the lease.

An order is sent once. Before it goes out the row says so (`asked_at`); where its answer is lost, by a dead worker, a
timeout or a 500, the provider's own list is looked through until it shows the job, or has had time to and does not.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import F, Q
from django.utils import timezone

from core.errors import Problem
from evaluations.providers.chat import CallError, Remedy
from finetunes.jobs import lifecycle as jobs
from finetunes.jobs import polling, provider_settings, tuned_models
from finetunes.models import FineTune, TuneCheckpoint, TuneEvent, TunePoint, Tuner
from finetunes.providers import curves
from finetunes.providers.base import UPLOAD_SECONDS, Order, RemoteCheckpoint, RemoteEvent, RemoteJob
from finetunes.providers.curves import Point
from finetunes.providers.jsonl import Method
from finetunes.providers.states import OVER, UNDER_WAY, JobState, meant
from finetunes.training_sets import lifecycle as training_sets
from finetunes.training_sets.estimates import MILLION
from infra.work import BROKEN

logger = logging.getLogger(__name__)

# Longer than the longest step, which sends a file.
LEASE = timedelta(minutes=12)
# How long a provider may take to show a job in its list that it has accepted.
SETTLES = timedelta(seconds=60)
PLACE_PAUSE = timedelta(seconds=15)
# Steps in a row that ended by a fault of our own.
MOST_BROKEN = 5
DEAREST = 10**8
# A provider that has more to tell of a job is not listened to.
MOST_EVENTS = 10_000


@dataclass(frozen=True)
class _Left:
    """What a step leaves behind: members of the row, and in how many seconds the next is due (None: never)."""

    members: dict[str, Any]
    seconds: float | None = 0.0


def advance(job_id: int) -> FineTune | None:
    """Take a job's next step. None where it is not due, or another worker takes it."""
    now = timezone.now()
    taken = jobs.due().filter(pk=job_id)
    if taken.update(leased_until=now + LEASE, takes=F("takes") + 1, unfinished=F("unfinished") + 1) != 1:
        return None
    job = jobs.loaded().get(pk=job_id)
    try:
        if job.unfinished > MOST_BROKEN:
            raise Problem("server.error", f"{MOST_BROKEN} workers ended over this step without finishing it.")
        left = _STEPS[JobState(job.state)](job)
    except CallError as error:
        left = _after_error(job, error)
    except Problem as problem:
        left = _attention(job, problem.detail)
    except Exception:
        logger.exception("finetune.broken job=%s state=%s", job.pk, job.state)
        broken = job.setbacks + 1 >= MOST_BROKEN
        left = _attention(job, BROKEN) if broken else _Left({"setbacks": job.setbacks + 1}, polling.pause_after(1))
    try:
        return _leave(job, left)
    except DatabaseError:
        # What the provider said cannot be kept. It is not asked again by itself: what was done there stays done.
        logger.exception("finetune.cannot_keep job=%s state=%s", job.pk, job.state)
        return _leave(job, _attention(job, BROKEN))


def _leave(job: FineTune, left: _Left) -> FineTune:
    due = None if left.seconds is None else timezone.now() + timedelta(seconds=left.seconds)
    mine = FineTune.objects.filter(pk=job.pk, takes=job.takes, state=job.state)
    # Whoever asked to cancel, or a webhook, may have set an earlier time meanwhile: that one holds.
    with transaction.atomic():
        row = mine.select_for_update().first()
        if row is None:
            return jobs.loaded().get(pk=job.pk)
        if due is not None and (row.cancel_asked_at != job.cancel_asked_at or row.next_poll_at != job.next_poll_at):
            due = timezone.now()
        mine.update(leased_until=None, unfinished=0, next_poll_at=due, **left.members)
    found = jobs.loaded().get(pk=job.pk)
    if found.state != job.state:
        logger.info("finetune.moved job=%s from=%s to=%s", job.pk, job.state, found.state)
    return found


def _keep(job: FineTune, **members: Any) -> bool:
    """Write down something in the middle of a step; False where another worker has the job by now."""
    kept = FineTune.objects.filter(pk=job.pk, takes=job.takes, state=job.state).update(**members) == 1
    for name, value in members.items():
        setattr(job, name, value)
    return kept


def _attention(job: FineTune, sentence: str) -> _Left:
    members = {"state": JobState.NEEDS_ATTENTION, "resumes_at": job.state, "error": sentence[:1_000], "note": ""}
    return _Left(members, None)


def _after_error(job: FineTune, error: CallError) -> _Left:
    """A provider that cannot be asked now is asked later; what only a person can mend waits for one."""
    told = f"{error.detail} ({error.code})"
    if error.remedy != Remedy.RETRY:
        return _attention(job, told)
    setbacks = job.setbacks + 1
    seconds = polling.pause_after(setbacks, error.retry_after)
    return _Left({"setbacks": setbacks, "note": f"{told} Asked again in {seconds:.0f} s."[:500]}, seconds)


# --- Checked ---------------------------------------------------------------------------------------------------------


def _check(job: FineTune) -> _Left:
    """Look once more at all that must hold, and wait for one of the provider's places."""
    jobs.require_submittable(job)
    provider_settings.of(job.model.provider)
    with transaction.atomic():
        # Jobs take their places one after the other.
        tuner = Tuner.objects.select_for_update().get(provider=job.model.provider)
        # What needs attention after it was sent goes on at the provider.
        sent = Q(state=JobState.NEEDS_ATTENTION, resumes_at__in=UNDER_WAY) & (~Q(remote_id="") | ~Q(asked_at=None))
        under_way = FineTune.objects.filter(Q(state__in=UNDER_WAY) | sent, model__provider=job.model.provider)
        taken = under_way.count()
        if taken >= tuner.max_jobs:
            note = f"Waits: {taken} jobs are under way at {job.provider_name}, which may have {tuner.max_jobs}."
            return _Left({"note": note}, PLACE_PAUSE.total_seconds())
        # The place is taken when the lock is given back, so the move is made here and not when the step is left.
        _keep(job, state=JobState.UPLOADING, note="", setbacks=0)
    return _Left({})


# --- Being sent ------------------------------------------------------------------------------------------------------


def _send(job: FineTune) -> _Left:
    """Send what the provider does not have yet: a file, the other, the order."""
    if job.cancel_asked_at and not job.asked_at:
        return _Left({"state": JobState.CANCELLED, "finished_at": timezone.now(), "note": ""}, None)
    for file, member in (("train", "training_file"), ("validation", "validation_file")):
        if not getattr(job, member) and (file == "train" or job.training_set.validation):
            return _Left({member: _sent_file(job, file), "asked_at": None, "setbacks": 0, "note": ""})
    return _ordered(job)


def _sent_file(job: FineTune, file: str) -> str:
    name = f"cuebook-{job.reference}-{file}.jsonl"
    # A file costs nothing, but a second copy of it is one more that holds people's data.
    if job.setbacks:
        there = provider_settings.asked(job.model.provider, lambda tuning: tuning.uploaded(name))
        if there:
            return there
    data = b"".join(training_sets.pieces(job.training_set, file))
    # A worker that dies here, or an answer that is lost, leaves a setback: the next one looks first.
    _keep(job, setbacks=job.setbacks + 1)
    return provider_settings.asked(job.model.provider, lambda tuning: tuning.upload(name, data), seconds=UPLOAD_SECONDS)


def _ordered(job: FineTune) -> _Left:
    order = Order(
        reference=str(job.reference),
        model=job.model_name,
        training_file=job.training_file,
        validation_file=job.validation_file or None,
        method=Method(job.training_set.method),
        hyperparameters=job.hyperparameters,
        suffix=job.suffix,
    )
    if job.asked_at:
        found = provider_settings.asked(job.model.provider, lambda tuning: tuning.created(order))
        if found:
            return _adopted(job, found)
        waited = timezone.now() - job.asked_at
        if waited < SETTLES:
            note = "The provider’s answer was lost; its list of jobs is looked through before anything is sent again."
            return _Left({"note": note}, min(10.0, (SETTLES - waited).total_seconds() + 1))
    else:
        # Somebody may have mended, or spoilt, something since it was checked.
        jobs.require_submittable(job)
    # The list may have been long in coming.
    if FineTune.objects.filter(pk=job.pk, cancel_asked_at__isnull=False).exists():
        return _Left({"state": JobState.CANCELLED, "finished_at": timezone.now(), "note": ""}, None)
    # Committed before the order goes out: whatever happens after this line, the next worker looks before it asks.
    if not _keep(job, asked_at=timezone.now()):
        return _Left({})
    try:
        made = provider_settings.asked(job.model.provider, lambda tuning: tuning.create(order))
    except CallError as error:
        # The provider has said no, so there is no job; or the answer is lost, and from now on its list has time to
        # show the job.
        is_refused = error.remedy != Remedy.RETRY or error.code == "call.rate_limited"
        _keep(job, asked_at=None if is_refused else timezone.now())
        raise
    return _adopted(job, made)


def _adopted(job: FineTune, remote: RemoteJob) -> _Left:
    state = meant(provider_settings.spoken(provider_settings.of(job.model.provider)), remote.status)
    # Whatever it is by now, it is looked at from its beginning.
    first = JobState.RUNNING if state == JobState.RUNNING else JobState.QUEUED
    members = {
        "state": first,
        "remote_id": remote.id,
        "remote_status": remote.status,
        "setbacks": 0,
        "unchanged": 0,
        "note": "",
        "started_at": timezone.now() if first == JobState.RUNNING else None,
    }
    return _Left(members, polling.pause(0))


# --- At the provider -------------------------------------------------------------------------------------------------


def _look(job: FineTune) -> _Left:
    """Ask how it goes; end it first where somebody wants that."""
    if job.cancel_asked_at:
        try:
            provider_settings.asked(job.model.provider, lambda tuning: tuning.cancel(job.remote_id))
        except CallError as error:
            # It may be over by now; what it is then is what the next question finds.
            if error.code == "call.rate_limited":
                raise
    try:
        remote = provider_settings.asked(job.model.provider, lambda tuning: tuning.retrieve(job.remote_id))
    except CallError as error:
        if job.cancel_asked_at and error.code == "call.unknown_model":
            # The provider has it no more: nothing is left to end.
            return _Left({"state": JobState.CANCELLED, "finished_at": timezone.now(), "note": ""}, None)
        raise
    events = provider_settings.asked(job.model.provider, lambda tuning: tuning.events(job.remote_id))
    news = _keep_events(job, events)
    state = meant(provider_settings.spoken(provider_settings.of(job.model.provider)), remote.status)
    if state == JobState.SUCCEEDED and not remote.fine_tuned_model:
        return _attention(job, "The provider says that it succeeded, and names no model.")
    if state in OVER:
        return _over(job, state, remote)
    changed = bool(news) or remote.status != job.remote_status
    unchanged = 0 if changed else job.unchanged + 1
    unknown = f"The provider says “{remote.status}”, which nobody here knows; it goes on being asked."
    members: dict[str, Any] = {
        "remote_status": remote.status,
        "unchanged": unchanged,
        "setbacks": 0,
        "note": "" if state else unknown,
    }
    if state and state != job.state:
        members["state"] = state
        members["started_at"] = job.started_at or (timezone.now() if state == JobState.RUNNING else None)
    return _Left(members, polling.pause(unchanged))


def _over(job: FineTune, state: JobState, remote: RemoteJob) -> _Left:
    now = timezone.now()
    price = Decimal(job.price["training"]) if job.price else None
    cost = None
    if remote.trained_tokens is not None and price is not None:
        found = round(price * remote.trained_tokens / MILLION, 6)
        # Beyond that the provider counts something else than tokens.
        cost = found if found < DEAREST else None
    members: dict[str, Any] = {
        "state": state,
        "remote_status": remote.status,
        "trained_tokens": remote.trained_tokens,
        "cost_usd": cost,
        "error": remote.error if state == JobState.FAILED else "",
        "note": "",
        "setbacks": 0,
        "finished_at": now,
        "started_at": job.started_at or job.submitted_at or now,
    }
    if state == JobState.SUCCEEDED:
        points = [found for file in remote.result_files[:3] for found in _results(job, file)]
        checkpoints = provider_settings.asked(job.model.provider, lambda tuning: tuning.checkpoints(job.remote_id))
        _keep_points(job, [*(one.point for one in checkpoints if one.point), *points])
        _keep_checkpoints(job, checkpoints)
        tuned_models.keep(job, remote, cost)
    return _Left(members, None)


def _results(job: FineTune, file: str) -> list[Point]:
    """A file of results is good to have: a job has succeeded without it as well."""
    try:
        return curves.read_csv(provider_settings.asked(job.model.provider, lambda tuning: tuning.result(file)))
    except (CallError, ValueError) as error:
        logger.warning("finetune.no_results job=%s file=%s %s", job.pk, file, error)
        return []


def _keep_events(job: FineTune, events: list[RemoteEvent]) -> int:
    """Keep what is new; returns how much."""
    there = set(job.events.filter(remote_id__in=[one.id for one in events]).values_list("remote_id", flat=True))
    room = max(0, MOST_EVENTS - job.events.count())
    fresh = [one for one in events if one.id not in there][:room]
    TuneEvent.objects.bulk_create(
        (
            TuneEvent(
                job=job,
                remote_id=one.id,
                at=datetime.fromtimestamp(one.at, UTC),
                level=one.level,
                message=one.message,
            )
            for one in fresh
        ),
        ignore_conflicts=True,
    )
    _keep_points(job, [one.point for one in fresh if one.point])
    return len(fresh)


def _keep_points(job: FineTune, points: list[Point]) -> None:
    if not points:
        return
    there = {one.step: one.values for one in job.points.filter(step__in=[one.step for one in points])}
    TunePoint.objects.bulk_create(
        (
            TunePoint(job=job, step=one.step, values={**there.get(one.step, {}), **one.values})
            for one in curves.merged(points)
        ),
        update_conflicts=True,
        unique_fields=["job", "step"],
        update_fields=["values"],
        batch_size=1_000,
    )


def _keep_checkpoints(job: FineTune, checkpoints: list[RemoteCheckpoint]) -> None:
    TuneCheckpoint.objects.bulk_create(
        (
            TuneCheckpoint(job=job, remote_id=one.id, step=one.step, model_name=one.model)
            for one in checkpoints
            if one.model
        ),
        ignore_conflicts=True,
    )


_STEPS: dict[JobState, Callable[[FineTune], _Left]] = {
    JobState.VALIDATING: _check,
    JobState.UPLOADING: _send,
    JobState.QUEUED: _look,
    JobState.RUNNING: _look,
}
