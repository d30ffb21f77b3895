"""What the inference service does about models that fail: tries again within a budget, and leaves one alone that is
down. Pure.

A retry budget (Google's SRE book, "Handling Overload"): retries are at most a tenth of the calls, so that a provider in
trouble does not get twice the load. A circuit breaker (Nygard, "Release It!"): after several failures in a row a model
is not asked for some seconds, then by one call that finds out.
"""

import random
import time
from collections.abc import Hashable
from dataclasses import dataclass, field

from evaluations.providers.chat import CallError, Remedy

# Of a call, beside its first try; and how long somebody who waits for an answer waits for it.
MAX_RETRIES = 1
MAX_PAUSE_SECONDS = 1.0
FIRST_PAUSE_SECONDS = 0.1
# A retry costs what so many calls bring; so many retries can be saved up.
CALLS_A_RETRY, MAX_RETRIES_SAVED = 10, 10
FAILURES_TO_OPEN = 5
OPEN_SECONDS = 10.0
OPEN = "gateway.model_down"
# Failures that are the request's, or the account's: another request may succeed.
NOT_DOWN = frozenset({"call.refused", "call.rate_limited", "call.no_credit"})


@dataclass(eq=False)
class Ask:
    """One try to have an answer of a model: what became of it is noted once, by the first of the three methods."""

    circuit: "Circuit"
    is_noted: bool = False

    def succeeded(self) -> None:
        """Note that the model answers."""
        if self._is_first():
            self.circuit.failures = 0

    def failed(self, error: CallError) -> None:
        """Note a try without an answer. One that is the request's own fault, or the account's, shows a model that
        answers."""
        if not self._is_first():
            return
        if error.remedy != Remedy.RETRY or error.code in NOT_DOWN:
            self.circuit.failures = 0
            return
        self.circuit.failures += 1
        self.circuit.reason = error.code
        self.circuit.open_until = time.monotonic() + OPEN_SECONDS

    def left(self) -> None:
        """Note that it ended without finding out, because its client left or the fault is our own."""
        self._is_first()

    def _is_first(self) -> bool:
        is_first, self.is_noted = not self.is_noted, True
        if self.circuit.probe is self:
            self.circuit.probe = None
        return is_first


@dataclass
class Circuit:
    failures: int = 0
    open_until: float = 0.0
    # The call that finds out whether the model is up again.
    probe: "Ask | None" = None
    budget: int = CALLS_A_RETRY * MAX_RETRIES_SAVED
    reason: str = ""

    def count_call(self) -> None:
        self.budget = min(CALLS_A_RETRY * MAX_RETRIES_SAVED, self.budget + 1)


@dataclass
class Circuits:
    """The circuits of a process, one for each model at its endpoint. Used from one event loop."""

    _circuits: dict[Hashable, Circuit] = field(default_factory=dict)

    def ask(self, model: Hashable) -> Ask:
        """Begin a try. Raises a CallError where a model is left alone now; after the pause one goes through, to find
        out."""
        circuit = self._circuits.setdefault(model, Circuit())
        ask = Ask(circuit)
        if circuit.failures < FAILURES_TO_OPEN:
            circuit.count_call()
            return ask
        now = time.monotonic()
        if now >= circuit.open_until and circuit.probe is None:
            circuit.probe = ask
            return ask
        left = max(0.1, circuit.open_until - now)
        sentence = f"The model has failed {circuit.failures} times in a row ({circuit.reason}); it is asked again soon."
        raise CallError(OPEN, sentence, Remedy.RETRY, retry_after=left)

    def pause_before_retry(self, model: Hashable, error: CallError, tries: int) -> float | None:
        """Return how long to wait before a call is tried again, or None where it is not: its failure is final, it has
        been tried often enough, the provider asks for a longer pause, or the budget is used up."""
        circuit = self._circuits.setdefault(model, Circuit())
        asked_pause = error.retry_after or 0.0
        if error.remedy != Remedy.RETRY or tries > MAX_RETRIES or asked_pause > MAX_PAUSE_SECONDS:
            return None
        if circuit.failures >= FAILURES_TO_OPEN or circuit.budget < CALLS_A_RETRY:
            return None
        circuit.budget -= CALLS_A_RETRY
        return asked_pause or FIRST_PAUSE_SECONDS * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
