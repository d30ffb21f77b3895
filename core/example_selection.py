"""Choosing few-shot examples for a request, and saying why each one was taken or passed over. Pure: server and client
choose alike.

fixed      every example of the set, in its order
first      the first k
similar    the k whose input is nearest to the query
balanced   as similar, but at most `per_label` of one label

A token budget is filled in that order: an example that does not fit any more is passed over, and a shorter one further
down may still fit.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .examples import Shot

DEFAULT_K = 5
DEFAULT_PER_LABEL = 1
BY_SIMILARITY = frozenset({"similar", "balanced"})
# Of a set that is given whole, or of which the first are given: no more than a request could hold anyway.
MOST_IN_ORDER = 2_000
# What was passed over is told up to here; further down the list nobody asks.
MOST_PASSED_OVER = 20


@dataclass(frozen=True)
class Candidate:
    """An example with its place in the set, and how near its input is to the query (1 is the same, None: not asked)."""

    position: int
    shot: Shot
    tokens: int
    score: float | None = None


@dataclass(frozen=True)
class Picked:
    candidate: Candidate
    why: str


@dataclass(frozen=True)
class Choice:
    """`picked` in the order in which the model sees them; `passed_over` with the reason."""

    picked: tuple[Picked, ...]
    passed_over: tuple[Picked, ...] = ()

    @property
    def shots(self) -> list[Shot]:
        return [one.candidate.shot for one in self.picked]

    @property
    def tokens(self) -> int:
        return sum(one.candidate.tokens for one in self.picked)


def wanted(examples: Mapping[str, Any]) -> int | None:
    """How many examples a content asks for at most; None for all."""
    return None if examples.get("select", "fixed") == "fixed" else int(examples.get("k", DEFAULT_K))


def needed(examples: Mapping[str, Any]) -> int:
    """How many of a set's first examples a choice in its order is made among."""
    limit = wanted(examples)
    # A budget may pass over some of the first.
    return MOST_IN_ORDER if limit is None or "token_budget" in examples else min(limit, MOST_IN_ORDER)


def choose(examples: Mapping[str, Any], candidates: Iterable[Candidate]) -> Choice:
    """The choice that a content's `examples` makes among candidates: in the set's order, or the nearest first."""
    select = examples.get("select", "fixed")
    limit = wanted(examples)
    per_label = int(examples.get("per_label", DEFAULT_PER_LABEL)) if select == "balanced" else None
    budget = examples.get("token_budget")
    picked: list[Picked] = []
    passed: list[Picked] = []
    labels: Counter[str] = Counter()
    used = 0
    for rank, candidate in enumerate(candidates, start=1):
        if limit is not None and len(picked) >= limit:
            break
        label = candidate.shot.label
        if per_label is not None and labels[label] >= per_label:
            passed.append(Picked(candidate, f"{_shown(label)} has its {per_label} already"))
        elif budget is not None and used + candidate.tokens > budget:
            passed.append(Picked(candidate, f"{candidate.tokens:,} tokens do not fit into what is left of {budget:,}"))
        else:
            picked.append(Picked(candidate, _reason(rank, candidate)))
            labels[label] += 1
            used += candidate.tokens
    return Choice(tuple(picked), tuple(passed[:MOST_PASSED_OVER]))


def messages(shots: Sequence[Shot]) -> list[dict[str, str]]:
    """Examples as a conversation: each asks as the user and answers as the assistant."""
    return [
        {"role": role, "content": text}
        for shot in shots
        for role, text in (("user", shot.input), ("assistant", shot.output))
    ]


def _reason(rank: int, candidate: Candidate) -> str:
    if candidate.score is not None:
        return f"similarity {candidate.score:.2f}, {'the nearest' if rank == 1 else f'rank {rank}'}"
    return f"place {candidate.position} of the set"


def _shown(label: str, longest: int = 40) -> str:
    return f"“{label if len(label) <= longest else label[:longest] + '…'}”"
