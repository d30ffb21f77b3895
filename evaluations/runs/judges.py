"""Context of scorers in a run: similarity in meaning, and models as judges."""

import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, Self

from evaluations.models import ProviderModel, Run
from evaluations.providers import configuration as providers
from evaluations.providers import profiles, rate_limits, slots
from evaluations.providers.caller import Caller
from evaluations.providers.chat import CallError, Remedy, build_request
from evaluations.providers.prices import Price
from evaluations.providers.protocols import open_chat
from evaluations.runs import planning
from evaluations.scorers.base import Parameters
from evaluations.scorers.specs import Spec
from registry.content.model_profiles.facts import ModelProfile
from registry.examples import embedders
from registry.examples.minilm import Matrix
from registry.examples.tfidf import Lexicon
from registry.models import PromptVersion
from registry.prompts import includes, versions

# Tokens of a judgment for the rate limiter: a rubric, the judged answer, and a short verdict.
TOKENS_A_CALL = 1_000


class JudgeError(Exception):
    """A judge that cannot be called now; `cause` is the call that failed."""

    def __init__(self, cause: CallError) -> None:
        super().__init__(f"The judge did not answer: {cause.detail}")
        self.cause = cause


@dataclass(frozen=True)
class _Judge:
    rubric: PromptVersion
    partials: Mapping[str, Any]
    model: ProviderModel
    price: Price | None
    profile: ModelProfile


class Judges:
    """The judges of a run, used as a context manager. `ask` may be called by many threads."""

    def __init__(self, run: Run, specs: Sequence[Spec]) -> None:
        self._run = run
        self._stack = ExitStack()
        self._lock = threading.Lock()
        self._callers: dict[int, Caller] = {}
        self._spent = Decimal(0)
        self._has_answered = False
        self._embedder = embedders.default_embedder()
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
        """Return the cost of the judges since the last time."""
        with self._lock:
            spent, self._spent = self._spent, Decimal(0)
        return spent

    def context_for_answer(self) -> "_AnswerContext":
        """Create the context for scoring one answer, with reserved room for its calls under limits that all workers
        share. Called by the thread that has the database."""
        reserved = {}
        for judge in self._judges.values():
            provider = judge.model.provider
            if rate_limits.is_limited(provider):
                reserved[judge.model.pk] = rate_limits.reserve(provider, requests=1, tokens=TOKENS_A_CALL).timestamp()
        return _AnswerContext(self, reserved)

    def similarity(self, first: str, second: str) -> float:
        """Compute the cosine of two texts by the installation's embedder, or the lexical similarity without one."""
        if embedders.is_lexical(self._embedder):
            return float(Lexicon([first]).scores(second)[0])
        return float(_vector(self._embedder, first) @ _vector(self._embedder, second))

    def ask(
        self, parameters: Parameters, variables: Mapping[str, Any], reserved: Mapping[int, float] | None = None
    ) -> str:
        """Return the judge's answer, or the error of a call that it refuses. Raises a JudgeError where it cannot be
        called now, and a Problem where its rubric cannot be rendered."""
        judge = self._judges[str(parameters["prompt"]), str(parameters["model"])]
        rendered = versions.render_request(self._run.project_id, judge.rubric.content, variables, judge.partials)
        request = build_request(rendered, judge.model.name, {}, judge.profile)
        try:
            not_before = (reserved or {}).get(judge.model.pk, 0.0)
            answer = self._caller(judge.model).submit(request, not_before=not_before).result()
        except CallError as error:
            if error.remedy == Remedy.GIVE_UP or (error.remedy == Remedy.RETRY and self._has_answered):
                return error.detail
            raise JudgeError(error) from error
        with self._lock:
            self._has_answered = True
            if judge.price:
                self._spent += judge.price.of(answer.usage)
        return answer.text

    def _judge(self, spec: Spec) -> _Judge:
        rubric = planning.get_rubric(self._run.project, str(spec.parameters["prompt"]))
        model = providers.get_model(self._run.project, str(spec.parameters["model"]))
        providers.require_usable(model, rubric.content)
        partials = {key: version.content for key, version in includes.get_partials([rubric]).items()}
        return _Judge(rubric, partials, model, providers.price_of(model), profiles.profile_of(model))

    def _caller(self, model: ProviderModel) -> Caller:
        provider = model.provider
        with self._lock:
            if provider.pk not in self._callers:
                reached, allowed = providers.endpoint(provider), providers.destinations()
                caller = slots.open_caller(provider, lambda: open_chat(reached, allowed))
                self._callers[provider.pk] = self._stack.enter_context(caller)
            return self._callers[provider.pk]


@lru_cache(maxsize=4_096)
def _vector(embedder: str, text: str) -> Matrix:
    """Embed a text once: expected answers come again with every repetition, and many answers are alike."""
    row: Matrix = embedders.get_embedder(embedder).embed([text])[0]
    return row


@dataclass(frozen=True)
class _AnswerContext:
    judges: Judges
    reserved: Mapping[int, float]

    def similarity(self, first: str, second: str) -> float:
        return self.judges.similarity(first, second)

    def ask(self, parameters: Parameters, variables: Mapping[str, Any]) -> str:
        return self.judges.ask(parameters, variables, self.reserved)
