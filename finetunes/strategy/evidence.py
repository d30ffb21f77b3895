"""Evidence of a recommendation: each input with its interval and where it comes from. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from core.errors import Fault, Problem
from finetunes.strategy.links import Link, link_from_dict
from finetunes.strategy.units import Quantity, quantity

MAX_VALUE = 1e15
CLOSE = 0.1


class Origin(StrEnum):
    MEASURED = "measured"
    ASSUMED = "assumed"
    DEFAULT = "default"


# How far a figure may be off by its origin: measured, entered by a user, or from the published table.
RELATIVE_ERRORS: Mapping[Origin, float] = {Origin.MEASURED: 0.0, Origin.ASSUMED: 0.25, Origin.DEFAULT: 0.5}


@dataclass(frozen=True)
class InputKind:
    """Title and unit of an input, its maximum, and whether it is a yes or no."""

    title: str
    unit: str
    maximum: float = MAX_VALUE
    is_flag: bool = False


INPUTS: Mapping[str, InputKind] = {
    "monthly_tokens": InputKind("Volume", "token/month"),
    "latency_ms": InputKind("Mean latency", "ms"),
    "format_error_rate": InputKind("Format errors", "", 1),
    "quality": InputKind("Quality of the prompt", "", 1),
    "dev_cost_hours": InputKind("Work to tune a model", "hour"),
    "tuning_cost_usd": InputKind("Tuning at the provider", "USD"),
    "prompt_price": InputKind("Prompting", "USD/Mtoken"),
    "tuned_price": InputKind("The tuned model", "USD/Mtoken"),
    "retrieval_price": InputKind("Retrieval", "USD/Mtoken"),
    "prompt_tokens": InputKind("The prompt itself", "token"),
    "examples": InputKind("Examples in the prompt", "example"),
    "tokens_per_call": InputKind("A whole question", "token"),
    "clean_examples": InputKind("Clean examples to learn from", "example"),
    "base_months_left": InputKind("The base lives for", "month"),
    "tuned_latency_ms": InputKind("Mean latency, tuned", "ms"),
    "tuned_format_error_rate": InputKind("Format errors, tuned", "", 1),
    "quality_change": InputKind("Quality of the tuned model against the prompt", "", 1),
    "dynamic_knowledge": InputKind("Needs facts that change", "", 1, is_flag=True),
    "complex_reasoning": InputKind("Needs reasoning in steps", "", 1, is_flag=True),
    "consistent_style": InputKind("Needs one style or tone", "", 1, is_flag=True),
    "strict_format": InputKind("Answers are parsed", "", 1, is_flag=True),
    "schema_enforced": InputKind("The provider holds answers to a JSON Schema", "", 1, is_flag=True),
    "examples_picked": InputKind("Examples are picked for each question", "", 1, is_flag=True),
}
SIGNED = frozenset({"quality_change"})


@dataclass(frozen=True)
class Figure:
    """The value of an input. `source` says where it comes from, `link` where that can be read; a text is an address, as
    recommendations made earlier have it."""

    value: float
    low: float
    high: float
    origin: Origin
    source: str = ""
    link: Link | str = ""
    # A sentence where another measurement of the same says otherwise; the interval covers both then.
    conflict: str = ""

    def as_dict(self) -> dict[str, Any]:
        members = {"value": self.value, "low": self.low, "high": self.high, "origin": str(self.origin)}
        link = self.link.as_dict() if isinstance(self.link, Link) else self.link
        conflict = {"conflict": self.conflict} if self.conflict else {}
        return {**members, "source": self.source, "link": link, **conflict}


Evidence = Mapping[str, Figure]


def measured_figure(
    value: float, low: float | None = None, high: float | None = None, *, source: str, link: Link | str = ""
) -> Figure:
    """Make a figure from our own runs or live calls, with its interval where there is one."""
    return Figure(value, value if low is None else low, value if high is None else high, Origin.MEASURED, source, link)


def reconcile(figure: Figure, other: Figure, name: str) -> Figure:
    """Return a figure that another measurement of the same may contradict: where their intervals do not meet, its own
    covers both, and it says so. A difference of a tenth is none: some figures have no interval."""
    is_close = abs(figure.value - other.value) <= CLOSE * max(abs(figure.value), abs(other.value))
    if is_close or (other.low <= figure.high and figure.low <= other.high):
        return figure
    sentence = (
        f"{INPUTS[name].title}: {other.source} and {figure.source} measured different things. Find out why first."
    )
    low, high = min(figure.low, other.low), max(figure.high, other.high)
    return replace(figure, low=low, high=high, conflict=sentence)


def contradictions(evidence: Evidence) -> list[str]:
    """Return the sentences of inputs that another measurement contradicts, in the order of INPUTS."""
    figures = [evidence[name] for name in INPUTS if name in evidence]
    return [figure.conflict for figure in figures if figure.conflict]


def assumed_figure(value: float, source: str = "entered") -> Figure:
    return _figure_with_margin(value, Origin.ASSUMED, source)


def default_figure(value: float, source: str = "the published table") -> Figure:
    return _figure_with_margin(value, Origin.DEFAULT, source)


def _figure_with_margin(value: float, origin: Origin, source: str) -> Figure:
    margin = abs(value) * RELATIVE_ERRORS[origin]
    return Figure(value, value - margin, value + margin, origin, source)


def quantity_of(evidence: Evidence, name: str) -> Quantity | None:
    """Return an input as a quantity of its unit; None where it is not known."""
    figure = evidence.get(name)
    return None if figure is None else quantity(figure.value, INPUTS[name].unit)


def is_flag_set(evidence: Evidence, name: str) -> bool:
    """Read a yes-or-no input; no where it is not known."""
    figure = evidence.get(name)
    return figure is not None and figure.value >= 0.5


def read_inputs(document: Mapping[str, Any], pointer: str = "/inputs") -> dict[str, Figure]:
    """Read inputs as a user entered them; raises `strategy.invalid` with every fault."""
    faults, figures = [], {}
    for name, value in document.items():
        kind = INPUTS.get(str(name))
        if kind is None:
            faults.append(Fault(f"{pointer}/{name}", "unknown", f"Inputs are: {', '.join(INPUTS)}."))
            continue
        if kind.is_flag:
            if not isinstance(value, bool):
                faults.append(Fault(f"{pointer}/{name}", "type", "Must be true or false."))
            else:
                figures[name] = Figure(float(value), float(value), float(value), Origin.ASSUMED, "entered")
            continue
        minimum = -kind.maximum if name in SIGNED else 0
        if isinstance(value, bool) or not isinstance(value, int | float) or not minimum <= value <= kind.maximum:
            faults.append(
                Fault(f"{pointer}/{name}", "range", f"Must be a number from {minimum:g} to {kind.maximum:g}.")
            )
        else:
            figures[name] = _clamp_figure(assumed_figure(float(value)), name)
    if faults:
        raise Problem("strategy.invalid", faults[0].message, faults=faults)
    return figures


def _clamp_figure(figure: Figure, name: str) -> Figure:
    minimum = -INPUTS[name].maximum if name in SIGNED else 0.0
    return Figure(
        figure.value, max(minimum, figure.low), min(INPUTS[name].maximum, figure.high), figure.origin, figure.source
    )


def inputs_from_dict(document: Mapping[str, Mapping[str, Any]]) -> dict[str, Figure]:
    """Read the inputs that a recommendation stores, in the order of INPUTS."""
    by_name = {name: document[name] for name in INPUTS if name in document}
    return {
        name: Figure(**{**members, "origin": Origin(members["origin"]), "link": link_from_dict(members["link"])})
        for name, members in by_name.items()
    }


def inputs_as_dict(evidence: Evidence) -> dict[str, Any]:
    return {name: figure.as_dict() for name, figure in evidence.items()}


def missing_titles(evidence: Evidence, names: Iterable[str]) -> list[str]:
    """Return the titles of inputs that are not known."""
    return [INPUTS[name].title for name in names if name not in evidence]
