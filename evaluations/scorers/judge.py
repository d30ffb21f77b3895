"""Judge: a model judges by a rubric, and the rubric is a registered prompt.

The prompt gets `output`, `expected`, `input` (the case's variables), `documents` (what was retrieved) and, where it
compares, `first` and `second`: the output and the expected answer in random order, so that the position gains nothing
over all cases. It answers JSON:
{"score": 0 to 1, "reason": "..."} or {"better": "first" | "second" | "tie", "reason": "..."}.
"""

import json
import random
from typing import Any

from evaluations.scorers.base import Parameter, Parameters, Sample, Score, Scorer, ScoringContext, clipped

# The variable of a rubric that has what was retrieved.
DOCUMENTS = "documents"


def score(sample: Sample, parameters: Parameters, context: ScoringContext) -> Score | None:
    compares = parameters.get("mode") == "compare"
    if compares and sample.expected is None:
        return None
    is_first = random.Random(sample.seed).random() < 0.5  # noqa: S311 - a fair coin, not a secret
    variables = judge_variables(sample, is_first=is_first)
    answer = context.ask(parameters, variables)
    return read_verdict(answer, compares=compares, is_first=is_first)


def judge_variables(sample: Sample, *, is_first: bool) -> dict[str, Any]:
    """Return the variables that the judge's prompt may use."""
    pair = (sample.output, sample.expected_text) if is_first else (sample.expected_text, sample.output)
    inputs = json.dumps(sample.variables, ensure_ascii=False, indent=2)
    return {
        "output": sample.output,
        "expected": sample.expected_text,
        "input": inputs,
        "first": pair[0],
        "second": pair[1],
        DOCUMENTS: sample.documents,
    }


def read_verdict(answer: str, *, compares: bool, is_first: bool) -> Score:
    """Read the judge's answer as a score. An answer in another form fails the case, with a note."""
    try:
        verdict = json.loads(answer)
    except ValueError:
        verdict = None
    reason = clipped(str(verdict.get("reason", ""))) if isinstance(verdict, dict) else ""
    if not isinstance(verdict, dict):
        return Score(0.0, f"The judge did not answer in JSON: {clipped(answer, 120)}", {"unread": True})
    if compares:
        better = {"first": is_first, "second": not is_first}.get(str(verdict.get("better")))
        if better is None and verdict.get("better") != "tie":
            return Score(0.0, "The judge answered neither first, second nor tie.", {"unread": True})
        return Score(0.5 if better is None else float(better), reason, {"first": is_first})
    value = verdict.get("score")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        return Score(0.0, "The judge gave no score from 0 to 1.", {"unread": True})
    return Score(float(value), reason)


SCORER = Scorer(
    "Judged by a model",
    "A registered prompt is the rubric; a model answers it for each case.",
    score,
    (
        Parameter("prompt", "prompt", "Rubric: a prompt such as judges.tone@production", required=True),
        Parameter("model", "model", "Model, where the prompt names none: provider/model"),
        Parameter(
            "mode", "text", "Grade alone, or compare with the expected answer", "grade", choices=("grade", "compare")
        ),
    ),
    threshold=0.5,
    place=60,
    asks_model=True,
)
