"""Calls of a run to its provider: those in flight, and their room under the rate limiter."""

import time
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import Any

from evaluations.models import Run
from evaluations.providers import rate_limits
from evaluations.providers.caller import Caller
from evaluations.providers.chat import CallError, Completion
from evaluations.providers.retries import MAX_RETRY_AFTER_SECONDS
from evaluations.runs.database_retry import retry_database
from evaluations.runs.requests import PendingCall
from registry.images.lookup import with_data

# Calls are queued no further ahead of the rate limiter than this.
LOOK_AHEAD_SECONDS = 2.0


@dataclass
class CallInFlight:
    call: PendingCall
    submitted_at: float


class Calls:
    """Calls in flight. Each future is put into `done` when its call is over."""

    def __init__(self, run: Run, caller: Caller, done: "SimpleQueue[Future[Any]]") -> None:
        self._run, self._caller, self._done = run, caller, done
        self._in_flight: dict[Future[Completion], CallInFlight] = {}
        # The end of the provider's block, and the time from which the last call may go (time.time()).
        self._blocked_until = self._last_reserved = 0.0
        self._succeeded_at = 0.0

    def __len__(self) -> int:
        return len(self._in_flight)

    def __contains__(self, future: "Future[Any]") -> bool:
        return future in self._in_flight

    @property
    def limit(self) -> int:
        """Return how many calls may be in flight or queued. Whatever other workers have: what waits here is what tells
        how many slots this one could use."""
        return 2 * self._caller.bearable

    @property
    def waits_for_slots(self) -> bool:
        """Return whether other workers have all of the provider's slots."""
        return self._caller.open > 0 and self._caller.slots == 0

    @property
    def is_far_ahead(self) -> bool:
        """Return whether the last call waits for the rate limiter: reserved room that is not used is lost to all."""
        return bool(self._in_flight) and self._last_reserved > time.time() + LOOK_AHEAD_SECONDS

    def submit(self, call: PendingCall) -> None:
        """Submit a call that has a request. Raises a Problem where it names an image that is not here."""
        assert call.request is not None  # noqa: S101 - for the type checker: calls without a request are not submitted
        key = f"cuebook-run-{self._run.pk}-{call.case.pk}-{call.repeat}"
        # As late as that: images of all that wait would not fit into memory.
        request = replace(call.request, messages=with_data(self._run.project_id, call.request.messages))
        future = self._caller.submit(request, key=key, not_before=self._reserve())
        self._in_flight[future] = CallInFlight(call, time.monotonic())
        future.add_done_callback(self._done.put)

    def pop(self, future: "Future[Any]") -> CallInFlight:
        """Remove a call that is over."""
        return self._in_flight.pop(future)

    def succeeded(self) -> None:
        """Note that the provider answers."""
        self._succeeded_at = time.monotonic()

    def is_provider_down(self, finished: CallInFlight, error: CallError) -> bool:
        """Return whether the provider fails and not this call: no call has succeeded since it was submitted."""
        return (error.retry_after or 0.0) > MAX_RETRY_AFTER_SECONDS or self._succeeded_at <= finished.submitted_at

    def refresh_block(self) -> None:
        """Share the provider's block with other workers, and read theirs."""
        provider = self._run.model.provider
        own_block = self._caller.stats.blocked_until
        if own_block > max(self._blocked_until, time.time()):
            until = datetime.fromtimestamp(own_block, UTC)
            retry_database(self._run, lambda: rate_limits.block(provider, until))
        blocked_until = retry_database(self._run, lambda: rate_limits.blocked_until(provider))
        self._blocked_until = blocked_until.timestamp() if blocked_until else 0.0

    def withdraw(self) -> None:
        """Make no more calls; those in flight still arrive."""
        self._caller.withdraw()

    def _reserve(self) -> float:
        """Reserve room for a call under limits that all workers share; return when it may go (time.time())."""
        provider = self._run.model.provider
        if not rate_limits.is_limited(provider):
            return self._blocked_until
        estimate = self._run.estimate
        tokens = (estimate["tokens_in"] + estimate["tokens_out"]) // max(1, self._run.planned)
        starts_at = retry_database(self._run, lambda: rate_limits.reserve(provider, requests=1, tokens=tokens))
        self._last_reserved = starts_at.timestamp()
        return self._last_reserved
