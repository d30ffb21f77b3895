"""Unsaved results of a worker and the batches that they belong to."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from evaluations.models import Run
from evaluations.runs import batches
from evaluations.runs.batches import BatchLease, NewResult
from evaluations.runs.budget import NO_COST, Budget
from evaluations.runs.database_retry import retry_database
from evaluations.runs.judges import Judges
from evaluations.runs.requests import BatchPreparation, PendingCall

# Results are saved when there are so many of them, or when the oldest is so old.
MAX_UNSAVED_RESULTS = 250
SAVE_SECONDS = 0.5


@dataclass(frozen=True)
class SavedResults:
    """Results that were saved, and the run's row as it is now."""

    run: Run
    results: Sequence[NewResult]


class UnsavedResults:
    """The batches that a worker holds, and their results until they are saved."""

    def __init__(self, run: Run, judges: Judges, budget: Budget) -> None:
        self._run, self._judges, self._budget = run, judges, budget
        self._batch_leases: list[BatchLease] = []
        self._results: list[NewResult] = []
        self._cost = NO_COST
        self._saved_at = time.monotonic()

    @property
    def batch_leases(self) -> Sequence[BatchLease]:
        """Return the leases as they are now; a thread reads them for the heartbeat."""
        return [*self._batch_leases]

    @property
    def is_full(self) -> bool:
        return len(self._results) >= MAX_UNSAVED_RESULTS

    @property
    def cost(self) -> Decimal:
        return self._cost

    def claim_batch(self, preparation: BatchPreparation) -> list[PendingCall] | None:
        """Claim a batch and return its calls; None where no batch is left."""
        batch_lease = retry_database(self._run, lambda: batches.claim(self._run, self._batch_leases))
        if batch_lease is None:
            return None
        self._batch_leases.append(batch_lease)
        calls = retry_database(self._run, lambda: list(preparation.pending_calls(batch_lease)))
        if not batch_lease.answers_left:
            # All of it was answered by a worker that died before it could finish the batch.
            retry_database(self._run, lambda: batches.finish(batch_lease))
        return calls

    def add(self, result: NewResult) -> None:
        self._results.append(result)
        self._cost += result.spent

    def save_if_due(self) -> SavedResults | None:
        """Save where there are many results, or the last time is long ago; None where nothing was saved."""
        if self.is_full or time.monotonic() - self._saved_at > SAVE_SECONDS:
            return self.save()
        return None

    def save(self) -> SavedResults | None:
        """Save all results; None where there is none."""
        self._saved_at = time.monotonic()
        results, self._results, self._cost = self._results, [], NO_COST
        if not results:
            return None
        costs = [result.spent for result in results if result.spent > 0]
        judges_cost = self._judges.take_spent()
        if judges_cost:
            costs.append(max(costs, default=NO_COST) + judges_cost / len(results))
            first = results[0]
            results[0] = NewResult(first.batch_lease, first.result, first.spent + judges_cost, first.answer)
        answers_left = {id(result.batch_lease): result.batch_lease.answers_left for result in results}

        def save_results() -> Run:
            # A retry starts from the same counts.
            for result in results:
                result.batch_lease.answers_left = answers_left[id(result.batch_lease)]
            return batches.save_results(self._run, results)

        self._budget.learn(costs)
        run = retry_database(self._run, save_results)
        self._batch_leases = [batch_lease for batch_lease in self._batch_leases if batch_lease.answers_left > 0]
        return SavedResults(run, results)

    def release_batches(self) -> None:
        """Leave unfinished batches to other workers."""
        retry_database(self._run, lambda: batches.release(self._batch_leases))
