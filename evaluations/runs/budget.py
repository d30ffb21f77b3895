"""Budget of a run while a worker makes its calls.

The cost of a call is known when it is over. Until then it counts as much as the most expensive one so far, and before
there is one, as much as was estimated; the first few calls go alone. So a budget is exceeded by no more than the
surprise of the calls in flight.
"""

from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum

from evaluations.models import Run
from evaluations.runs import batches

# Under a budget so many calls go first, to learn the cost of a call.
FIRST_CALLS = 4
NO_COST = Decimal(0)


class BudgetDecision(StrEnum):
    """The decision about another call."""

    CALL = "call"
    # Some calls in flight have to arrive first.
    WAIT = "wait"
    STOP = "stop"


class Budget:
    """The budget of one run, or of all runs of its sweep together. `limit` is None where there is none."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.limit = run.sweep.budget_usd if run.sweep else run.budget_usd
        self._max_cost: Decimal | None = None
        self._cost_of_others = NO_COST
        self.refresh_other_runs()

    def decide(self, unsaved_cost: Decimal, in_flight: int) -> BudgetDecision:
        """Decide about another call. `unsaved_cost` US dollars are spent and not counted on the run yet."""
        if self.limit is None:
            return BudgetDecision.CALL
        spent = self._run.cost_usd + self._cost_of_others + unsaved_cost
        call = self._cost_of_call()
        if spent + call > self.limit and not in_flight:
            return BudgetDecision.STOP
        if self._max_cost is None and in_flight >= FIRST_CALLS:
            return BudgetDecision.WAIT
        return BudgetDecision.CALL if spent + call * (in_flight + 1) <= self.limit else BudgetDecision.WAIT

    def learn(self, paid: Sequence[Decimal]) -> None:
        """Learn from the costs of calls; a free one, from the cache or without an answer, says nothing about others."""
        costs = [cost for cost in paid if cost > 0]
        if costs:
            self._max_cost = max(self._max_cost or NO_COST, *costs)

    def refresh_other_runs(self) -> None:
        """Read again the cost of the other runs of the sweep."""
        if self.limit is not None:
            self._cost_of_others = batches.cost_of_other_runs(self._run)

    def _cost_of_call(self) -> Decimal:
        estimate = Decimal(self._run.estimate.get("cost_usd") or 0) / max(1, self._run.planned)
        return estimate if self._max_cost is None else self._max_cost
