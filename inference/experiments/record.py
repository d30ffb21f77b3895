"""What an experiment is to be: arms, weights, metrics and rules. Pure."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from inference.usage.stats import CONVERSION, FEEDBACK

HIGHER, LOWER = "higher", "lower"
# What is better of each metric; of feedback its sender knows, and says so.
BETTER = {
    "errors": LOWER,
    "format": HIGHER,
    "score": HIGHER,
    "cost": LOWER,
    "latency_p50": LOWER,
    "latency_p95": LOWER,
    "latency_p99": LOWER,
}
TITLES = {
    "errors": "Errors",
    "format": "Format adherence",
    "score": "Score",
    "cost": "Cost per call",
    "latency_p50": "Latency, p50",
    "latency_p95": "Latency, p95",
    "latency_p99": "Latency, p99",
    "latency_mean": "Latency, mean",
}
UNITS = {"cost": "USD", "latency_p50": "ms", "latency_p95": "ms", "latency_p99": "ms", "latency_mean": "ms"}
QUANTILES = {"latency_p50": 0.5, "latency_p95": 0.95, "latency_p99": 0.99}
DECIDES, GUARDS = "decides", "guards"
DEFAULT_RAMP = (1, 10, 50, 100)


@dataclass(frozen=True)
class Metric:
    """A metric by its name: one of BETTER, `feedback.NAME` (the mean of what subjects say), or `conversion.NAME` (of
    how many subjects anything above zero came). `margin` is by how much worse one accepts, in its own unit; `role`
    whether it decides the experiment, or guards it."""

    name: str
    better: str
    margin: float = 0.0
    role: str = GUARDS

    @property
    def title(self) -> str:
        for prefix, title in ((FEEDBACK, "Feedback"), (CONVERSION, "Conversion")):
            if self.name.startswith(prefix):
                return f"{title}: {self.name.removeprefix(prefix)}"
        return TITLES.get(self.name, self.name)

    @property
    def unit(self) -> str:
        return UNITS.get(self.name, "")

    @property
    def is_higher_better(self) -> bool:
        return self.better == HIGHER

    def as_dict(self) -> dict[str, Any]:
        """Return the metric as JSON, without what goes without saying."""
        members: dict[str, Any] = {"metric": self.name}
        members |= {} if self.name in BETTER else {"better": self.better}
        return members | ({"margin": self.margin} if self.margin else {})


@dataclass(frozen=True)
class PlannedArm:
    """A version (a reference, pinned when it is stored) and how many per cent of the subjects it is to serve."""

    version: str
    weight: float


@dataclass(frozen=True)
class PlannedShadow:
    """A version that is asked beside what is live and served to nobody: of so many per cent of the calls, and for so
    many US dollars a day at most."""

    version: str
    percent: float
    daily_usd: float

    def as_dict(self) -> dict[str, Any]:
        return {"version": self.version, "percent": self.percent, "daily_usd": self.daily_usd}


@dataclass(frozen=True)
class ExperimentRecord:
    """Content of an experiment. The baseline is what is live; `primary` is the metric that decides, and an arm that is
    surely worse by a guardrail's margin is stopped. `ramp` is in per cent of the weights, each step `step_hours` long
    at least; intervals are closest after `expected_subjects`."""

    prompt: str
    baseline: str
    arms: Sequence[PlannedArm]
    primary: Metric
    guardrails: Sequence[Metric] = (Metric("errors", LOWER),)
    ramp: Sequence[int] = DEFAULT_RAMP
    step_hours: float = 24.0
    expected_subjects: int = 2_000
    hypothesis: str = ""
    shadow: PlannedShadow | None = None

    @property
    def versions(self) -> list[str]:
        """Return the references of all versions: the baseline's, the arms', the shadow's."""
        shadow = [self.shadow.version] if self.shadow else []
        return [self.baseline, *(arm.version for arm in self.arms), *shadow]

    @property
    def metrics(self) -> list[Metric]:
        """Return the metrics that are watched, the one that decides first."""
        return [self.primary, *self.guardrails]

    def as_dict(self) -> dict[str, Any]:
        """Return the record as JSON."""
        return {
            "prompt": self.prompt,
            "baseline": self.baseline,
            "arms": [{"version": arm.version, "weight": arm.weight} for arm in self.arms],
            "primary": self.primary.as_dict(),
            "guardrails": [metric.as_dict() for metric in self.guardrails],
            "ramp": list(self.ramp),
            "step_hours": self.step_hours,
            "expected_subjects": self.expected_subjects,
            **({"hypothesis": self.hypothesis} if self.hypothesis else {}),
            **({"shadow": self.shadow.as_dict()} if self.shadow else {}),
        }

    def text(self) -> str:
        """Return the record as it is stored: one member a line, so that diffs can be read."""
        return json.dumps(self.as_dict(), indent=2, ensure_ascii=False, sort_keys=True)
