"""A call on its way, and the record that is made of it."""

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote

from evaluations.providers.chat import Completion, storable
from inference.gateway.plans import Plan, Route
from inference.gateway.request_reading import InferenceRequest
from inference.gateway.spool import Record

TOKENS = ("tokens_in", "tokens_cached", "tokens_cache_write", "tokens_out", "tokens_reasoning")
# Names of variables in a header, at most.
MAX_UNUSED = 20


@dataclass
class CallInProgress:
    """A call on its way: its id, by which feedback will name it, and what the record will say."""

    request: InferenceRequest
    plan: Plan
    trace: str = ""
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    started: float = field(default_factory=time.perf_counter)
    route: Route = field(init=False)
    fallback: str = ""
    first_token_ms: float | None = None
    # Whether a model was asked; and what is wrong with its answer's form, None where nobody can say.
    is_asked: bool = False
    faults: Sequence[str] | None = None
    # What was paid for before the answer: a route that failed with an answer.
    spent: list[tuple[Route, Completion]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.route = self.plan.route

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers of its answer; what came and was not used is named."""
        headers = {
            "X-Cuebook-Version": self.route.version_name,
            "X-Cuebook-Call": self.id,
            "X-Cuebook-Route": self.route.name,
        }
        unused = sorted((self.request.variables or {}).keys() - self.route.variables)
        if unused:
            headers["X-Cuebook-Unused-Variables"] = ",".join(quote(name[:60]) for name in unused[:MAX_UNUSED])
        return headers

    def record(self, answer: Completion | None, error: str) -> Record:
        """Return what is recorded of it: its answer, or why there is none."""
        route = self.route
        paid = [*self.spent, *([(route, answer)] if answer else [])]
        costs = [each.price.of(completion.usage) if each.price else None for each, completion in paid]
        is_priced = bool(costs) and None not in costs
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
            **{name: getattr(answer, name) if answer else None for name in TOKENS},
            "cost_usd": str(sum(cost for cost in costs if cost is not None)) if is_priced else None,
            "format_ok": None if answer is None or self.faults is None else not self.faults,
            "finish_reason": storable(answer.finish_reason)[:30] if answer else "",
            "route": route.name,
            "fallback": self.fallback,
            "config_hash": self.plan.config_hash,
            "subject": self.request.subject,
            "trace": self.trace,
            "metadata": dict(self.request.metadata),
            "is_simulation": route.is_simulation,
        }
