"""What scorers may ask for outside: nearness of meaning, and a model as a judge."""

import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Self

from evaluations.models import ProviderModel, Run
from evaluations.providers import configuration as providers
from evaluations.providers import rate_limits
from evaluations.providers.chat import CallError, Price, Remedy, request_of
from evaluations.providers.concurrency import Caller
from evaluations.providers.openai_chat import connected
from evaluations.runs import planning
from evaluations.runs.requests import messages_of
from evaluations.scorers.base import Outside, Parameters
from evaluations.scorers.specs import Spec
from registry.examples import embedders
from registry.examples.tfidf import Lexicon
from registry.models import PromptVersion
from registry.prompts import includes, versions

# What a judgement takes, for limits on tokens: a rubric, what is judged, and a short answer.
TOKENS_A_CALL = 1_000


class JudgeError(Exception):
    """A judge that cannot be asked now; `cause` is the call that failed."""

    def __init__(self, cause: CallError) -> None:
        super().__init__(f"The judge did not answer: {cause.detail}")
        self.cause = cause


@dataclass(frozen=True)
class _Judge:
    rubric: PromptVersion
    partials: Mapping[str, Any]
    model: ProviderModel
    price: Price | None


class Judges:
    """Use as a context manager. `ask` may be called by many threads; `spent` is what it has cost since it was read."""

    def __init__(self, run: Run, specs: Sequence[Spec]) -> None:
        self._run = run
        self._stack = ExitStack()
        self._lock = threading.Lock()
        self._callers: dict[int, Caller] = {}
        self._spent = Decimal(0)
        self._has_answered = False
        self._embedder = embedders.default()
        self._judges = {
            (str(spec.parameters["prompt"]), str(spec.parameters["model"])): self._judge(spec)
            for spec in specs
            if spec.definition.asks_model
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def take_spent(self) -> Decimal:
        """What judges have cost since the last time."""
        with self._lock:
            spent, self._spent = self._spent, Decimal(0)
        return spent

    def for_one(self) -> "Outside":
        """What the scorers of one answer may ask: its calls have their turn under limits that all workers share. Called
        by the thread that has the database."""
        turns = {}
        for judge in self._judges.values():
            provider = judge.model.provider
            if rate_limits.is_limited(provider):
                turns[judge.model.pk] = rate_limits.reserve(provider, requests=1, tokens=TOKENS_A_CALL).timestamp()
        return _ForOne(self, turns)

    def nearness(self, first: str, second: str) -> float:
        """The cosine of two texts by the installation's embedder; of their wording where it has none."""
        if embedders.is_lexical(self._embedder):
            return float(Lexicon([first]).scores(second)[0])
        one, other = embedders.named(self._embedder).embed([first, second])
        return float(one @ other)

    def ask(
        self, parameters: Parameters, variables: Mapping[str, Any], turns: Mapping[int, float] | None = None
    ) -> str:
        """The judge's answer. JudgeError where it cannot be asked now; what it will not answer is no judgement. A
        Problem where its rubric cannot be rendered."""
        judge = self._judges[str(parameters["prompt"]), str(parameters["model"])]
        rendered = versions.request_for(self._run.project_id, judge.rubric.content, variables, judge.partials)
        request = request_of(messages_of(rendered), judge.model.name, {})
        try:
            turn = (turns or {}).get(judge.model.pk, 0.0)
            answer = self._caller(judge.model).submit(request, not_before=turn).result()
        except CallError as error:
            if error.remedy == Remedy.GIVE_UP or (error.remedy == Remedy.RETRY and self._has_answered):
                return error.detail
            raise JudgeError(error) from error
        with self._lock:
            self._has_answered = True
            if judge.price:
                self._spent += judge.price.of(answer.tokens_in, answer.tokens_cached, answer.tokens_out)
        return answer.text

    def _judge(self, spec: Spec) -> _Judge:
        rubric = planning.rubric_of(self._run.project, str(spec.parameters["prompt"]))
        model = providers.model_named(self._run.project, str(spec.parameters["model"]))
        partials = {key: version.content for key, version in includes.partials_of([rubric]).items()}
        return _Judge(rubric, partials, model, providers.price_of(model))

    def _caller(self, model: ProviderModel) -> Caller:
        provider = model.provider
        with self._lock:
            if provider.pk not in self._callers:
                reached, allowed = providers.endpoint(provider), providers.destinations()
                caller = Caller(lambda: connected(reached, allowed), provider.max_concurrency)
                self._callers[provider.pk] = self._stack.enter_context(caller)
            return self._callers[provider.pk]


@dataclass(frozen=True)
class _ForOne:
    judges: Judges
    turns: Mapping[int, float]

    def nearness(self, first: str, second: str) -> float:
        return self.judges.nearness(first, second)

    def ask(self, parameters: Parameters, variables: Mapping[str, Any]) -> str:
        return self.judges.ask(parameters, variables, self.turns)
