"""The examples that a prompt's content picks for a request, with reasons."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.example_selection import BY_SIMILARITY, DEFAULT_K, Candidate, Choice, candidate_count, choose, max_count
from core.examples import Shot
from registry.examples import example_sets, vector_search
from registry.models import ExampleSetVersion

# `balanced` and a token budget pass some over: this many candidates for each pick, and all where that is not enough.
CANDIDATES_PER_PICK = 20


@dataclass(frozen=True)
class Picks:
    """The picked examples, their version, and the query (None where none is needed) and embedder used."""

    version: ExampleSetVersion
    select: str
    choice: Choice
    query: str | None = None
    embedder: str | None = None

    @property
    def shots(self) -> list[Shot]:
        return self.choice.shots

    def as_dict(self) -> dict[str, Any]:
        """Return the form used in responses."""
        return {
            "set": self.version.content_hash,
            "name": self.version.example_set.name,
            "number": self.version.number,
            "select": self.select,
            "query": self.query,
            "embedder": self.embedder,
            "tokens": self.choice.tokens,
            "chosen": [candidate_document(picked.candidate, picked.why) for picked in self.choice.picked],
            "passed_over": [candidate_document(picked.candidate, picked.why) for picked in self.choice.passed_over],
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


def pick(project_id: int, selection: Mapping[str, Any], query: str | None) -> Picks:
    """Pick the examples that a content's `examples` asks for; `query` is its rendered query, where it needs one."""
    version = example_sets.get_pinned_version(project_id, selection["set"])
    select = selection.get("select", "fixed")
    if select not in BY_SIMILARITY:
        return Picks(version, select, choose(selection, candidates_in_order(version, candidate_count(selection))))
    embedder = selection["embedder"]
    return Picks(version, select, choose_by_similarity(version, selection, query or "", embedder), query, embedder)


def choose_by_similarity(version: ExampleSetVersion, selection: Mapping[str, Any], query: str, embedder: str) -> Choice:
    """Choose among the examples nearest to a query; more candidates are fetched where too few of them fit."""
    k = max_count(selection) or DEFAULT_K
    passes_over = selection.get("select") == "balanced" or "token_budget" in selection
    limit = k * CANDIDATES_PER_PICK if passes_over else k
    choice = choose(selection, vector_search.nearest(version, embedder, query, limit))
    if len(choice.picked) < k and limit < min(version.size, vector_search.MOST_RESULTS):
        choice = choose(selection, vector_search.nearest(version, embedder, query, vector_search.MOST_RESULTS))
    return choice


def candidates_in_order(version: ExampleSetVersion, limit: int) -> list[Candidate]:
    """Return the first examples of a version."""
    return [
        Candidate(place.position, example_sets.stored_shot(place.example), place.example.tokens)
        for place in example_sets.version_places(version)[:limit]
    ]
