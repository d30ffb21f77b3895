"""What a scorer gets, gives and takes."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Protocol

Parameters = Mapping[str, Any]
MISSING = object()


@dataclass(frozen=True)
class Sample:
    """One answer to one case, and what it took."""

    output: str
    expected: Any = None
    label: str = ""
    variables: Mapping[str, Any] = field(default_factory=dict)
    # The prompt's own JSON Schema for its answers, where it has one.
    schema: Mapping[str, Any] | None = None
    refusal: str = ""
    latency_ms: float = 0.0
    cost_usd: float | None = None
    tokens_out: int = 0
    # A number of the case and the repeat: what a scorer decides by lot is decided alike when it is asked again.
    lot: int = 0

    @cached_property
    def parsed(self) -> Any:
        """The output as JSON, or MISSING where it is none."""
        try:
            return json.loads(self.output, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            return MISSING

    @property
    def expected_text(self) -> str:
        """What is expected as text: JSON where it is none."""
        return self.expected if isinstance(self.expected, str) else json.dumps(self.expected, ensure_ascii=False)


def _no_constant(name: str) -> float:
    # Python reads NaN and Infinity, which JSON does not have.
    raise ValueError(name)


@dataclass(frozen=True)
class Score:
    """`value` is from 0 to 1, or what was measured in the scorer's unit; `note` says what is wrong."""

    value: float
    note: str = ""
    # What a scorer found beside the value, for figures over all cases: {"predicted": "billing"}.
    found: Mapping[str, Any] = field(default_factory=dict)


class Kind(StrEnum):
    # From 0 to 1, more is better; passes from a threshold on.
    SCORE = "score"
    # In a unit, less is better; passes up to a limit.
    MEASURE = "measure"


@dataclass(frozen=True)
class Parameter:
    """What a scorer can be told. `kind` is text, number, integer, boolean, texts, schema, prompt or model."""

    name: str
    kind: str
    title: str
    default: Any = None
    required: bool = False
    choices: tuple[str, ...] = ()


class Outside(Protocol):
    """What a scorer may ask for that costs time or money."""

    def nearness(self, first: str, second: str) -> float:
        """How near two texts are in meaning, from -1 to 1."""
        ...

    def ask(self, parameters: Parameters, variables: Mapping[str, Any]) -> str:
        """The judge's answer to these variables."""
        ...


@dataclass(frozen=True)
class Scorer:
    """`score` is None where there is nothing to judge by, such as no expected answer: the case counts for nothing
    there. Default thresholds are what passes where nobody says otherwise."""

    title: str
    about: str
    score: Callable[[Sample, Parameters, Outside], Score | None]
    parameters: Sequence[Parameter] = ()
    threshold: float = 1.0
    kind: Kind = Kind.SCORE
    unit: str = ""
    place: int = 50
    # Whether it judges against what is expected, asks a model, or compares meanings.
    needs_expected: bool = False
    asks_model: bool = False
    compares_meaning: bool = False


def clipped(text: str, most: int = 200) -> str:
    """A text as a note can show it."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
