"""Scores of what users wrote (an expression, a schema), for many answers at once and under limits."""

from collections.abc import Mapping, Sequence

from core.errors import Problem
from evaluations.scorers import limited
from evaluations.scorers.base import Sample, Score
from evaluations.scorers.specs import Spec
from registry.prompts.versions import renderer_pool


def get_limited_scores(
    samples: Sequence[Sample], specs: Sequence[Spec], *, owner: int
) -> list[Mapping[str, Score | None]]:
    """Return, for each sample, the scores of the limited specs by name. One that exceeds the limits is 0 and says so;
    raises `render.busy` where the machine has no time: that is no score."""
    own = [spec for spec in specs if spec.definition.is_limited]
    if not own:
        return [{} for _ in samples]
    items = [limited.limited_item(spec.scorer, spec.parameters, sample) for sample in samples for spec in own]
    results = renderer_pool().call_many(
        limited.score_all, items, {}, owner=owner, code=limited.TOO_EXPENSIVE, subject="The scorer"
    )
    scores = [
        Score(0.0, f"{limited.TOO_EXPENSIVE}: {result.detail}", is_unjudged=True)
        if isinstance(result, Problem)
        else limited.read_score(result)
        for result in results
    ]
    return [
        dict(zip((spec.name for spec in own), scores[start : start + len(own)], strict=True))
        for start in range(0, len(scores), len(own))
    ]
