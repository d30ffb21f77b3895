"""Many things in one job, for children under limits (infra.limited.pool: `call_many`). Pure."""

import time
from collections.abc import Callable, Iterable
from typing import Any

from core.errors import Problem
from infra.limited.child import problem_as_dict

# After so much processor time a job returns what it has; the next one goes on.
BATCH_SECONDS = 0.3


def do_each(function: Callable[[Any], Any], every: Iterable[Any]) -> list[dict[str, Any]]:
    """Do as many as fit into BATCH_SECONDS, at least one; each is a `result` or a `problem`."""
    until = time.process_time() + BATCH_SECONDS
    answers: list[dict[str, Any]] = []
    for item in every:
        try:
            answers.append({"result": function(item)})
        except Problem as problem:
            answers.append({"problem": problem_as_dict(problem)})
        if time.process_time() > until:
            break
    return answers
