"""One answer judged as runs judge it: what users wrote runs in a child under limits."""

from collections.abc import Sequence
from typing import Any

from evaluations.runs.limited_scores import get_limited_scores
from evaluations.scorers import specs as scoring
from evaluations.scorers.base import Sample


def judge(sample: Sample, specs: Sequence[scoring.Spec], context: Any = None) -> scoring.AnswerScores:
    """Judge by all scorers; without a context, none may ask anybody."""
    return scoring.judge(sample, specs, context, get_limited_scores([sample], specs, owner=1)[0])
