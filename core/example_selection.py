"""Selection of few-shot examples for a request, with the reason why each was picked or passed over. Pure: server and
client select alike.

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
# Limit for a set that is used in its order: more than a request could hold anyway.
MAX_IN_ORDER = 2_000
# Passed-over examples beyond this number are not reported.
MAX_PASSED_OVER = 20


@dataclass(frozen=True)
class Candidate:
    """An example with its place in the set, and its similarity to the query (1 is the same, None: not compared)."""

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
        return [pick.candidate.shot for pick in self.picked]

    @property
    def tokens(self) -> int:
        return sum(pick.candidate.tokens for pick in self.picked)


def max_count(examples: Mapping[str, Any]) -> int | None:
    """Return how many examples a content asks for at most; None for all."""
    return None if examples.get("select", "fixed") == "fixed" else int(examples.get("k", DEFAULT_K))


def candidate_count(examples: Mapping[str, Any]) -> int:
    """Return how many of a set's first examples are candidates for a choice in its order."""
    limit = max_count(examples)
    # A budget may pass over some of the first.
    return MAX_IN_ORDER if limit is None or "token_budget" in examples else min(limit, MAX_IN_ORDER)


def choose(examples: Mapping[str, Any], candidates: Iterable[Candidate]) -> Choice:
    """Choose among candidates (in the set's order, or the most similar first) as a content's `examples` says."""
    select = examples.get("select", "fixed")
    limit = max_count(examples)
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
            passed.append(Picked(candidate, f"{_short_label(label)} has its {per_label} already"))
        elif budget is not None and used + candidate.tokens > budget:
            passed.append(Picked(candidate, f"{candidate.tokens:,} tokens do not fit into what is left of {budget:,}"))
        else:
            picked.append(Picked(candidate, _reason(rank, candidate)))
            labels[label] += 1
            used += candidate.tokens
    return Choice(tuple(picked), tuple(passed[:MAX_PASSED_OVER]))


def example_messages(shots: Sequence[Shot]) -> list[dict[str, str]]:
    """Return examples as a conversation: each input as a user message, its output as the assistant's."""
    return [
        {"role": role, "content": text}
        for shot in shots
        for role, text in (("user", shot.input), ("assistant", shot.output))
    ]


def _reason(rank: int, candidate: Candidate) -> str:
    if candidate.score is not None:
        return f"similarity {candidate.score:.2f}, {'the nearest' if rank == 1 else f'rank {rank}'}"
    return f"place {candidate.position} of the set"


def _short_label(label: str, max_length: int = 40) -> str:
    return f"“{label if len(label) <= max_length else label[:max_length] + '…'}”"
