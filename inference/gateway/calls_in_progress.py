"""A call on its way, and the record that is made of it."""

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from evaluations.providers.chat import Completion, storable
from inference.gateway.plans import Caller, Plan, Route
from inference.gateway.records.spool import Record
from inference.gateway.request_reading import InferenceRequest
from inference.gateway.tracing import CallTrace
from inference.texts.keeping import is_sampled
from registry.content import tokens

TOKENS = ("tokens_in", "tokens_cached", "tokens_cache_write", "tokens_out", "tokens_reasoning")
# Names of variables in a header, at most.
MAX_UNUSED = 20
MAX_HEADER_CHARACTERS = 2_000


@dataclass
class CallInProgress:
    """A call on its way: its id, by which feedback will name it, and what the record will say."""

    request: InferenceRequest
    plan: Plan
    caller: Caller
    trace: CallTrace = field(default_factory=CallTrace)
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    started: float = field(default_factory=time.perf_counter)
    route: Route = field(init=False)
    fallback: str = ""
    first_token_ms: float | None = None
    # Whether a model was asked; or the route could not be asked, for reasons of its own: that is recorded, too.
    is_asked: bool = False
    is_broken: bool = False
    # What of a stream was sent.
    sent: list[str] = field(default_factory=list)
    # What is wrong with the form of the answer, None where nobody can say.
    faults: Sequence[str] | None = None
    # Whether the model was told once what is wrong; whether the answer is one that was kept.
    is_repaired: bool = False
    is_cached: bool = False
    # What the route asked, with images by their addresses; and what is kept of it and its answer.
    messages: Sequence[Mapping[str, Any]] = ()
    variables: Mapping[str, Any] = field(default_factory=dict)
    text: Mapping[str, Any] | None = None
    # The chunks that were found for it.
    retrieved: Sequence[Mapping[str, Any]] = ()
    # When the route has had all the time that the config gives it, on the clock of perf_counter.
    deadline: float | None = None
    # What was paid for, and of which route: also answers that are not taken.
    spent: list[tuple[Route, Completion]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.take(self.plan.route)

    def take(self, route: Route) -> None:
        """Go by this route from now on."""
        self.route = route
        limit = self.plan.timeout_seconds
        self.deadline = None if limit is None else time.perf_counter() + limit

    @property
    def seconds_left(self) -> float | None:
        """Return how long the route may still take; None where the config gives no limit."""
        return None if self.deadline is None else max(0.0, self.deadline - time.perf_counter())

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers of its answer; what came and was not used is named."""
        headers = {
            "X-Cuebook-Version": self.route.version_name,
            "X-Cuebook-Call": self.id,
            "X-Cuebook-Route": self.route.name,
        }
        unused = sorted((self.request.variables or {}).keys() - self.route.variables)
        if self.plan.exposure:
            headers["X-Cuebook-Arm"] = self.plan.exposure["arm"]
        if self.is_repaired:
            headers["X-Cuebook-Repaired"] = "1"
        if self.is_cached:
            headers["X-Cuebook-Cache"] = "hit"
        if self.retrieved:
            named = [f"{quote(each['source'], safe='/')}@{each['revision']}#{each['chunk']}" for each in self.retrieved]
            while len(",".join(named)) > MAX_HEADER_CHARACTERS:
                # The record has them all.
                named.pop()
            headers["X-Cuebook-Retrieved"] = ",".join(named)
        if unused:
            headers["X-Cuebook-Unused-Variables"] = ",".join(quote(name[:60]) for name in unused[:MAX_UNUSED])
        return headers

    @property
    def is_sampled(self) -> bool:
        """Return whether this is one of the calls whose texts the project keeps."""
        return is_sampled(self.id, self.plan.texts)

    def pay(self, answer: Completion) -> None:
        """Note an answer that was paid for, whether or not it is the one that is taken."""
        self.spent.append((self.route, answer))

    def pay_unfinished(self) -> None:
        """Note a question whose answer did not come to its end: what it cost until then is estimated."""
        tokens_in = tokens.count_messages(self.messages, self.route.model).tokens
        tokens_out = tokens.count("".join(self.sent), self.route.model).tokens
        self.pay(Completion("", tokens_in=tokens_in, tokens_out=tokens_out, is_usage_estimated=True))

    @property
    def token_count(self) -> int:
        """Return the tokens of all questions and answers."""
        return sum(answer.tokens_in + answer.tokens_out for _, answer in self.spent)

    @property
    def known_cost_usd(self) -> Decimal:
        """Return what is known to be spent: what limits go by, also where one of several answers has no price."""
        return sum((route.price.of(answer.usage) for route, answer in self.spent if route.price), Decimal())

    @property
    def cost_usd(self) -> Decimal | None:
        """Return what the call cost; None where nobody knows. An answer that was kept costs nothing."""
        if not self.spent:
            return Decimal() if self.is_cached else None
        return self.known_cost_usd if all(route.price for route, _ in self.spent) else None

    def record(self, answer: Completion | None, error: str) -> Record:
        """Return what is recorded of it: its answer, or why there is none. An answer that was kept costs nothing, and
        has no tokens."""
        route = self.route
        cost, exposure = self.cost_usd, self.plan.exposure
        return {
            "reference": self.id,
            "project": self.plan.project,
            "version": route.version,
            "environment": self.plan.environment,
            "at": self.at.isoformat(),
            "model_name": route.model,
            "failed": bool(error),
            "error": error,
            "latency_ms": (time.perf_counter() - self.started) * 1_000,
            "time_to_first_token_ms": self.first_token_ms,
            **{name: getattr(answer, name) if answer and not self.is_cached else None for name in TOKENS},
            "cost_usd": None if cost is None else str(cost),
            "known_cost_usd": str(self.known_cost_usd),
            "format_ok": None if answer is None or self.faults is None else not self.faults,
            "finish_reason": storable(answer.finish_reason)[:30] if answer else "",
            "route": route.name,
            "fallback": self.fallback,
            "is_repaired": self.is_repaired,
            "is_cached": self.is_cached,
            "retrieved": list(self.retrieved),
            "config_hash": self.plan.config_hash,
            "subject": self.request.subject,
            "trace": self.trace.id,
            "metadata": dict(self.request.metadata),
            "key": self.caller.key_id,
            "tokens": self.token_count,
            "text": self.text,
            "is_simulation": route.is_simulation,
            "experiment_run": exposure["run"] if exposure else 0,
            "experiment_step": exposure["step"] if exposure else 0,
            "arm": exposure["arm"] if exposure else "",
        }
