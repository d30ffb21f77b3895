"""Scorers of what was retrieved, against figures worked out by hand."""

from math import log2
from typing import Any

import pytest

from evaluations.scorers import all_scorers
from evaluations.scorers.base import Sample, Score


def score(name: str, sources: list[str] | None, expected: Any, k: int | None = None) -> Score | None:
    retrieved = (
        None if sources is None else [{"source": source, "chunk": place} for place, source in enumerate(sources)]
    )
    sample = Sample("14 days", expected=expected, retrieved=retrieved)
    context: Any = None
    return all_scorers()[name].score(sample, {} if k is None else {"k": k}, context)


EXPECTED = {"answer": "14 days", "sources": ["refunds.md", "abroad.md"]}


@pytest.mark.parametrize(
    ("sources", "k", "hit", "rank", "ndcg"),
    [
        (["refunds.md", "abroad.md"], None, 1, 1, 1),
        # Chunks of one document count once, at the first of them.
        (["refunds.md", "refunds.md", "abroad.md"], None, 1, 1, 1),
        (["x.md", "refunds.md", "abroad.md"], None, 1, 1 / 2, (1 / log2(3) + 1 / log2(4)) / (1 + 1 / log2(3))),
        (["x.md", "y.md", "abroad.md"], None, 1, 1 / 3, (1 / log2(4)) / (1 + 1 / log2(3))),
        (["x.md", "refunds.md"], 1, 0, 0, 0),
        (["abroad.md", "refunds.md"], 1, 1, 1, 1),
        ([], None, 0, 0, 0),
    ],
)
def test_figures(sources: list[str], k: int | None, hit: float, rank: float, ndcg: float):
    for name, value in (("source_hit", hit), ("source_rank", rank), ("source_ndcg", ndcg)):
        result = score(name, sources, EXPECTED, k)
        assert result
        assert result.value == pytest.approx(value)
    # What is missing is named.
    hit_note = score("source_hit", sources, EXPECTED, k)
    assert hit_note
    assert hit_note.note == ("" if hit else "Not retrieved: refunds.md, abroad.md.")


@pytest.mark.parametrize("expected", [None, "14 days", {"answer": "x"}, {"sources": []}, {"sources": "refunds.md"}])
def test_where_a_case_names_no_sources_there_is_nothing_to_judge(expected: Any):
    for name in ("source_hit", "source_rank", "source_ndcg"):
        assert score(name, ["refunds.md"], expected) is None
        assert score(name, None, EXPECTED) is None
