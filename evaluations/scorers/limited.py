"""Scores of the scorers that run what a user wrote: a job for a child under limits. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from evaluations.scorers import all_scorers
from evaluations.scorers.base import Sample, Score, score_safely
from infra.limited.batches import do_each

TOO_EXPENSIVE = "scorer.too_expensive"


def limited_item(scorer: str, parameters: Mapping[str, Any], sample: Sample) -> dict[str, Any]:
    """Return what the child needs to judge one answer by one scorer."""
    return {"scorer": scorer, "parameters": dict(parameters), "output": sample.output, "schema": sample.schema}


def score_all(every: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The job: score each item, as many as fit."""
    return do_each(_score, every)


def _score(item: Mapping[str, Any]) -> dict[str, Any] | None:
    sample = Sample(output=item["output"], schema=item["schema"])
    score = score_safely(all_scorers()[item["scorer"]], sample, item["parameters"], None)
    return None if score is None else asdict(score)


def read_score(document: Mapping[str, Any] | None) -> Score | None:
    """Return a score that a child computed."""
    return None if document is None else Score(**document)
