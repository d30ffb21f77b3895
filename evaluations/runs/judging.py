"""Judging of a run's answers: at once, or in threads where a scorer asks a model."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

from evaluations.models import Run
from evaluations.providers.chat import Completion
from evaluations.runs.batches import NewResult
from evaluations.runs.database_retry import retry_database
from evaluations.runs.judges import Judges
from evaluations.runs.limited_scores import get_limited_scores
from evaluations.runs.requests import PendingCall
from evaluations.runs.results import ResultBuilder
from evaluations.scorers import specs as scoring
from evaluations.scorers.specs import AnswerScores, Spec

MAX_THREADS = 16


class Judging:
    """Answers that are being judged. Each future is put into `done` when its answer is judged."""

    def __init__(
        self,
        run: Run,
        specs: Sequence[Spec],
        judges: Judges,
        builder: ResultBuilder,
        threads: ThreadPoolExecutor,
        done: "SimpleQueue[Future[Any]]",
    ) -> None:
        self._run, self._specs, self._judges = run, specs, judges
        self._builder, self._threads, self._done = builder, threads, done
        self._asks_models = asks_models(specs)
        self._being_judged: dict[Future[AnswerScores], tuple[PendingCall, Completion]] = {}

    def __len__(self) -> int:
        return len(self._being_judged)

    def judge(self, answers: Sequence[tuple[PendingCall, Completion]]) -> list[NewResult]:
        """Judge answers; none is returned where threads do it. Raises `render.busy` where the machine has no time."""
        samples = [self._builder.sample(call, answer) for call, answer in answers]
        limited = get_limited_scores(samples, self._specs, owner=self._run.project_id)
        if not self._asks_models:
            return [
                self._builder.judged(call, answer, scoring.judge(sample, self._specs, self._judges, own))
                for (call, answer), sample, own in zip(answers, samples, limited, strict=True)
            ]
        for judged, sample, own in zip(answers, samples, limited, strict=True):
            context = retry_database(self._run, self._judges.context_for_answer)
            future = self._threads.submit(scoring.judge, sample, self._specs, context, own)
            self._being_judged[future] = judged
            future.add_done_callback(self._done.put)
        return []

    def pop(self, future: "Future[Any]") -> tuple[PendingCall, Completion]:
        """Remove an answer that is judged."""
        return self._being_judged.pop(future)


def asks_models(specs: Sequence[Spec]) -> bool:
    """Return whether a scorer asks a model."""
    return any(spec.definition.asks_model for spec in specs)
