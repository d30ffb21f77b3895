"""What a recommendation rests on: each input with its interval and where it comes from. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from core.errors import Fault, Problem
from finetunes.strategy.units import Quantity, quantity

LARGEST = 1e15


class Origin(StrEnum):
    MEASURED = "measured"
    ASSUMED = "assumed"
    DEFAULT = "default"


# How far a figure may be off in which nobody has measured: typed in, and from the published table.
UNSURE: Mapping[Origin, float] = {Origin.MEASURED: 0.0, Origin.ASSUMED: 0.25, Origin.DEFAULT: 0.5}


@dataclass(frozen=True)
class Kind:
    """What an input is: its title and unit, the most that it can be, and whether it is a yes or no."""

    title: str
    unit: str
    largest: float = LARGEST
    is_flag: bool = False


INPUTS: Mapping[str, Kind] = {
    "monthly_tokens": Kind("Volume", "token/month"),
    "latency_ms": Kind("Mean latency", "ms"),
    "format_error_rate": Kind("Format errors", "", 1),
    "dev_cost_hours": Kind("Work to tune a model", "hour"),
    "tuning_cost_usd": Kind("Tuning at the provider", "USD"),
    "prompt_price": Kind("Prompting", "USD/Mtoken"),
    "tuned_price": Kind("The tuned model", "USD/Mtoken"),
    "retrieval_price": Kind("Retrieval", "USD/Mtoken"),
    "prompt_tokens": Kind("The prompt itself", "token"),
    "examples": Kind("Examples in the prompt", "example"),
    "tokens_per_call": Kind("A whole question", "token"),
    "clean_examples": Kind("Clean examples to learn from", "example"),
    "base_months_left": Kind("The base lives for", "month"),
    "tuned_latency_ms": Kind("Mean latency, tuned", "ms"),
    "tuned_format_error_rate": Kind("Format errors, tuned", "", 1),
    "quality_change": Kind("Quality of the tuned model against the prompt", "", 1),
    "dynamic_knowledge": Kind("Needs facts that change", "", 1, is_flag=True),
    "complex_reasoning": Kind("Needs reasoning in steps", "", 1, is_flag=True),
    "consistent_style": Kind("Needs one style or tone", "", 1, is_flag=True),
    "strict_format": Kind("Answers are parsed", "", 1, is_flag=True),
}
SIGNED = frozenset({"quality_change"})


@dataclass(frozen=True)
class Figure:
    """An input. `source` says where it comes from, `link` where that can be read."""

    value: float
    low: float
    high: float
    origin: Origin
    source: str = ""
    link: str = ""

    def as_dict(self) -> dict[str, Any]:
        members = {"value": self.value, "low": self.low, "high": self.high, "origin": str(self.origin)}
        return {**members, "source": self.source, "link": self.link}


Evidence = Mapping[str, Figure]


def measured(
    value: float, low: float | None = None, high: float | None = None, *, source: str, link: str = ""
) -> Figure:
    """A figure of our own runs or live calls, with its interval where there is one."""
    return Figure(value, value if low is None else low, value if high is None else high, Origin.MEASURED, source, link)


def assumed(value: float, source: str = "typed in") -> Figure:
    return _unsure(value, Origin.ASSUMED, source)


def default(value: float, source: str = "the published table") -> Figure:
    return _unsure(value, Origin.DEFAULT, source)


def _unsure(value: float, origin: Origin, source: str) -> Figure:
    off = abs(value) * UNSURE[origin]
    return Figure(value, value - off, value + off, origin, source)


def of(evidence: Evidence, name: str) -> Quantity | None:
    """An input as a quantity of its unit; None where nobody knows it."""
    found = evidence.get(name)
    return None if found is None else quantity(found.value, INPUTS[name].unit)


def is_so(evidence: Evidence, name: str) -> bool:
    """A yes-or-no input; no where nobody has said."""
    found = evidence.get(name)
    return found is not None and found.value >= 0.5


def read(given: Mapping[str, Any], pointer: str = "/inputs") -> dict[str, Figure]:
    """Inputs as somebody typed them; `strategy.invalid` with every fault."""
    faults, found = [], {}
    for name, value in given.items():
        kind = INPUTS.get(str(name))
        if kind is None:
            faults.append(Fault(f"{pointer}/{name}", "unknown", f"Inputs are: {', '.join(INPUTS)}."))
            continue
        if kind.is_flag:
            if not isinstance(value, bool):
                faults.append(Fault(f"{pointer}/{name}", "type", "Must be true or false."))
            else:
                found[name] = Figure(float(value), float(value), float(value), Origin.ASSUMED, "typed in")
            continue
        least = -kind.largest if name in SIGNED else 0
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= kind.largest:
            faults.append(Fault(f"{pointer}/{name}", "range", f"Must be a number from {least:g} to {kind.largest:g}."))
        else:
            found[name] = _within(assumed(float(value)), name)
    if faults:
        raise Problem("strategy.invalid", faults[0].message, faults=faults)
    return found


def _within(figure: Figure, name: str) -> Figure:
    least = -INPUTS[name].largest if name in SIGNED else 0.0
    return Figure(
        figure.value, max(least, figure.low), min(INPUTS[name].largest, figure.high), figure.origin, figure.source
    )


def stored(document: Mapping[str, Mapping[str, Any]]) -> dict[str, Figure]:
    """Inputs as a recommendation keeps them, in the order of INPUTS."""
    there = {name: document[name] for name in INPUTS if name in document}
    return {name: Figure(**{**one, "origin": Origin(one["origin"])}) for name, one in there.items()}


def told(evidence: Evidence) -> dict[str, Any]:
    return {name: figure.as_dict() for name, figure in evidence.items()}


def missing(evidence: Evidence, names: Iterable[str]) -> list[str]:
    """Titles of those that nobody knows."""
    return [INPUTS[name].title for name in names if name not in evidence]
