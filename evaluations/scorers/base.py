"""Types of scorers: the sample, the score, the parameters and the context."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Protocol

Parameters = Mapping[str, Any]
MISSING = object()
# Of an expected output that is an object: {"answer": "14 days", "sources": ["billing/refunds.md"]}.
ANSWER, SOURCES = "answer", "sources"


@dataclass(frozen=True)
class Sample:
    """One answer to one case, with its latency, cost and length."""

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
    # Calls of tools, each with its name and its arguments as text.
    tool_calls: Sequence[Mapping[str, Any]] | None = None
    # The chunks that were retrieved for it, the best first, each with its source; None where nothing is searched.
    retrieved: Sequence[Mapping[str, Any]] | None = None
    # Their texts, framed as a prompt shows them, for a judge to compare the answer with.
    documents: str = ""
    # A number of the case and the repetition, so that a scorer's random choice is the same when it is re-scored.
    seed: int = 0

    @cached_property
    def parsed(self) -> Any:
        """Parse the output as JSON; MISSING where it is none."""
        try:
            return json.loads(self.output, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            return MISSING

    @property
    def expected_text(self) -> str:
        """Return the expected output as text: JSON where it is not text. Of an object that names its sources as well
        it is the answer alone, unless the output is an object too."""
        if isinstance(self.expected, dict) and SOURCES in self.expected and not isinstance(self.parsed, dict):
            return str(self.expected.get(ANSWER, ""))
        return self.expected if isinstance(self.expected, str) else json.dumps(self.expected, ensure_ascii=False)


def _no_constant(name: str) -> float:
    # Python reads NaN and Infinity, which JSON does not have.
    raise ValueError(name)


@dataclass(frozen=True)
class Score:
    """A scorer's result: `value` is from 0 to 1, or measured in the scorer's unit; `note` says what is wrong."""

    value: float
    note: str = ""
    # Details beside the value, for figures over all cases: {"predicted": "billing"}.
    details: Mapping[str, Any] = field(default_factory=dict)
    # Whether it could not be judged: then it fails also where the scorer is inverted.
    is_unjudged: bool = False


class Kind(StrEnum):
    # From 0 to 1, higher is better; passes from a threshold on.
    SCORE = "score"
    # In a unit, lower is better; passes up to a limit.
    MEASURE = "measure"


@dataclass(frozen=True)
class Parameter:
    """A setting of a scorer. `kind` is text, number, integer, boolean, texts, schema, prompt or model."""

    name: str
    kind: str
    title: str
    default: Any = None
    required: bool = False
    choices: tuple[str, ...] = ()


class ScoringContext(Protocol):
    """Services for scorers that cost time or money."""

    def similarity(self, first: str, second: str) -> float:
        """Compare two texts in meaning, from -1 to 1."""
        ...

    def ask(self, parameters: Parameters, variables: Mapping[str, Any]) -> str:
        """Return the judge's answer to these variables."""
        ...


@dataclass(frozen=True)
class Scorer:
    """A way to judge answers. `score` returns None where there is nothing to judge by, such as no expected answer: the
    case is left out there. `threshold` is the default."""

    title: str
    about: str
    score: Callable[[Sample, Parameters, ScoringContext], Score | None]
    parameters: Sequence[Parameter] = ()
    threshold: float = 1.0
    kind: Kind = Kind.SCORE
    unit: str = ""
    place: int = 50
    # Whether it compares with the expected output, asks a model, or compares meanings.
    needs_expected: bool = False
    # Whether it judges what was retrieved.
    needs_retrieval: bool = False
    asks_model: bool = False
    compares_meaning: bool = False
    # Whether it runs what a user wrote (an expression, a schema): then in a child under limits, without a context
    # (evaluations.scorers.limited).
    is_limited: bool = False
    # Whether it judges the form and not what is said: that is a condition beside quality, and no part of its mean.
    is_format: bool = False


MAX_REASON_LENGTH = 200


def score_safely(
    scorer: Scorer, sample: Sample, parameters: Parameters, context: ScoringContext | None
) -> Score | None:
    """Judge by one scorer. An answer can be so odd that a scorer raises (nested a thousand deep, a number of four
    hundred digits): then the answer fails, and the other scorers go on."""
    try:
        return scorer.score(sample, parameters, context)  # type: ignore[arg-type]  # limited ones do not use it
    except (ValueError, ArithmeticError, RecursionError, TypeError) as error:
        reason = f"Cannot be judged: {type(error).__name__}: {str(error)[:MAX_REASON_LENGTH]}"
        return Score(0.0, reason, is_unjudged=True)


def clipped(text: str, max_length: int = 200) -> str:
    """Shorten a text for a note."""
    return text if len(text) <= max_length else f"{text[: max_length - 1]}…"
