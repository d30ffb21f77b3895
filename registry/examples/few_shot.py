"""The examples that a prompt's content picks for a request: which, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.example_selection import BY_SIMILARITY, DEFAULT_K, Candidate, Choice, choose, needed, wanted
from core.examples import Shot
from registry.examples import example_sets, vector_search
from registry.models import ExampleSetVersion

# `balanced` and a token budget pass some over: so many candidates for each that is wanted, and all where that is short.
CANDIDATES_PER_PICK = 20


@dataclass(frozen=True)
class Picks:
    """What was picked from which version, by which query (None where none is asked) and embedder."""

    version: ExampleSetVersion
    select: str
    choice: Choice
    query: str | None = None
    embedder: str | None = None

    @property
    def shots(self) -> list[Shot]:
        return self.choice.shots

    def as_dict(self) -> dict[str, Any]:
        """How an answer names them."""
        return {
            "set": self.version.content_hash,
            "name": self.version.example_set.name,
            "number": self.version.number,
            "select": self.select,
            "query": self.query,
            "embedder": self.embedder,
            "tokens": self.choice.tokens,
            "chosen": [candidate_document(one.candidate, one.why) for one in self.choice.picked],
            "passed_over": [candidate_document(one.candidate, one.why) for one in self.choice.passed_over],
        }


def candidate_document(candidate: Candidate, why: str) -> dict[str, Any]:
    return {
        "position": candidate.position,
        "input": candidate.shot.input,
        "output": candidate.shot.output,
        "tags": list(candidate.shot.tags),
        "label": candidate.shot.label,
        "tokens": candidate.tokens,
        "score": None if candidate.score is None else round(candidate.score, 4),
        "why": why,
    }


def pick(project_id: int, asked: Mapping[str, Any], query: str | None) -> Picks:
    """The examples that a content's `examples` asks for; `query` is its rendered query, where it needs one."""
    version = example_sets.pinned(project_id, asked["set"])
    select = asked.get("select", "fixed")
    if select not in BY_SIMILARITY:
        return Picks(version, select, choose(asked, in_order(version, needed(asked))))
    embedder = asked["embedder"]
    return Picks(version, select, by_similarity(version, asked, query or "", embedder), query, embedder)


def by_similarity(version: ExampleSetVersion, asked: Mapping[str, Any], query: str, embedder: str) -> Choice:
    """The choice among the examples nearest to a query; further ones are asked for where too few of them will do."""
    k = wanted(asked) or DEFAULT_K
    passes_over = asked.get("select") == "balanced" or "token_budget" in asked
    limit = k * CANDIDATES_PER_PICK if passes_over else k
    choice = choose(asked, vector_search.nearest(version, embedder, query, limit))
    if len(choice.picked) < k and limit < min(version.size, vector_search.MOST_RESULTS):
        choice = choose(asked, vector_search.nearest(version, embedder, query, vector_search.MOST_RESULTS))
    return choice


def in_order(version: ExampleSetVersion, limit: int) -> list[Candidate]:
    """The first examples of a version."""
    return [
        Candidate(place.position, example_sets.shot(place.example), place.example.tokens)
        for place in example_sets.places(version)[:limit]
    ]
