"""A budget while a run is driven: whether another call fits into it.

What a call will cost is known when it is over. Until then it counts as much as the dearest one so far, and before
there is one, as much as was estimated; the first few go alone. So a budget is exceeded by no more than the surprise of
the calls that are in the air.
"""

from collections.abc import Sequence
from decimal import Decimal
from enum import StrEnum

from evaluations.models import Run
from evaluations.runs import batches

# Under a budget so many calls go first, which show what a call costs.
FIRST_CALLS = 4
NOTHING = Decimal(0)


class May(StrEnum):
    """What may be done about another call."""

    ASK = "ask"
    # Some that are in the air have to arrive first.
    WAIT = "wait"
    END = "end"


class Spending:
    """Of one run; a sweep's runs spend of one budget together."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.budget = run.sweep.budget_usd if run.sweep else run.budget_usd
        self._dearest: Decimal | None = None
        self._beside = NOTHING
        self.look_beside()

    def another(self, unkept: Decimal, in_air: int) -> May:
        """Whether another call may go: `unkept` US dollars are spent and not counted on the run yet, and so many calls
        are in the air."""
        if self.budget is None:
            return May.ASK
        spent = self._run.cost_usd + self._beside + unkept
        call = self._of_a_call()
        if spent + call > self.budget and not in_air:
            return May.END
        if self._dearest is None and in_air >= FIRST_CALLS:
            return May.WAIT
        return May.ASK if spent + call * (in_air + 1) <= self.budget else May.WAIT

    def learn(self, paid: Sequence[Decimal]) -> None:
        """What calls have cost; one that was free, from the cache or for want of an answer, says nothing of others."""
        costs = [cost for cost in paid if cost > 0]
        if costs:
            self._dearest = max(self._dearest or NOTHING, *costs)

    def look_beside(self) -> None:
        """Read again what the other runs of the sweep have spent."""
        if self.budget is not None:
            self._beside = batches.spent_beside(self._run)

    def _of_a_call(self) -> Decimal:
        estimate = Decimal(self._run.estimate.get("cost_usd") or 0) / max(1, self._run.planned)
        return estimate if self._dearest is None else self._dearest
