"""Results built from answers, or from failed calls."""

from collections.abc import Sequence
from decimal import Decimal

from evaluations.data_quality import reports
from evaluations.models import CachedAnswer, Result, Run
from evaluations.providers.chat import CallError, Completion
from evaluations.providers.prices import Price
from evaluations.runs.batches import NewResult
from evaluations.runs.database_retry import retry_database
from evaluations.runs.requests import PendingCall
from evaluations.scorers import specs as scoring
from evaluations.scorers.base import Sample
from evaluations.scorers.specs import AnswerScores, Spec
from registry.retrieval.context import retrieved_documents

NO_COST = Decimal(0)
# More than the repetitions of any run, so that seeds of different cases differ.
SEEDS_PER_CASE = 32


class ResultBuilder:
    """Builder of a run's results."""

    def __init__(self, run: Run, specs: Sequence[Spec]) -> None:
        self._run = run
        self._specs = specs
        self._price = Price.read(run.price)
        self._leaked = reports.leaked_cases(run.dataset_version)
        form = run.version.content.get("response") or {}
        self._schema = form.get("schema")
        self._asks_models = any(spec.definition.asks_model for spec in specs)

    def sample(self, call: PendingCall, answer: Completion) -> Sample:
        """Return an answer in the form of the scorers."""
        cost = self.cost(answer)
        return Sample(
            output=answer.text,
            expected=call.case.expected,
            label=call.case.label,
            variables=call.case.variables,
            schema=self._schema,
            refusal=answer.refusal,
            latency_ms=answer.latency_ms,
            cost_usd=None if cost is None else float(cost),
            tokens_out=answer.tokens_out,
            tool_calls=answer.tool_calls,
            retrieved=call.retrieved,
            documents=self._documents(call) if self._asks_models else "",
            seed=call.case.pk * SEEDS_PER_CASE + call.repeat,
        )

    def _documents(self, call: PendingCall) -> str:
        """Return what the answer was to be made of; empty where the version searches nothing."""
        run, retrieved = self._run, call.retrieved
        if not retrieved:
            return ""
        retrieval = run.version.content["retrieval"]
        return retry_database(run, lambda: retrieved_documents(run.project_id, retrieval, retrieved))

    def judged(self, call: PendingCall, answer: Completion, scores: AnswerScores) -> NewResult:
        """Build the result of a judged answer."""
        cost, is_known = self.cost(answer), call.known_answer is not None
        result = self._result(call, scores)
        result.output, result.refusal, result.finish_reason = answer.text, answer.refusal, answer.finish_reason
        result.tool_calls, result.latency_ms = answer.tool_calls, answer.latency_ms
        result.calls_in_flight, result.server_ms = answer.calls_in_flight, answer.server_ms
        for name, count in vars(answer.usage).items():
            setattr(result, name, count)
        result.cost_usd, result.is_from_cache = cost, is_known
        result.is_usage_estimated, result.request_id = answer.is_usage_estimated, answer.request_id
        cached = self.cache_entry(call, answer) if call.key and not is_known else None
        return NewResult(call.batch_lease, result, NO_COST if is_known or cost is None else cost, cached)

    def failed(self, call: PendingCall, error: CallError) -> NewResult:
        """Build the result of a call without an answer."""
        sample = Sample(output="", expected=call.case.expected, label=call.case.label)
        result = self._result(call, scoring.scores_of_failure(self._specs, sample))
        result.error, result.error_detail = error.code, error.detail[:1_000]
        result.request_id = error.request_id
        return NewResult(call.batch_lease, result, NO_COST, None)

    def cache_entry(self, call: PendingCall, answer: Completion) -> CachedAnswer:
        """Build the cache entry of an answer."""
        return CachedAnswer(provider_id=self._run.model.provider_id, key=call.key, answer=answer.as_dict())

    def cost(self, answer: Completion) -> Decimal | None:
        """Compute the cost in US dollars; None where the price is unknown."""
        return self._price.of(answer.usage) if self._price else None

    def _result(self, call: PendingCall, scores: AnswerScores) -> Result:
        return Result(
            run=self._run,
            case=call.case,
            repeat=call.repeat,
            retrieved=call.retrieved,
            is_leaked=call.case.pk in self._leaked,
            scores={name: score.as_dict() for name, score in scores.scores.items()},
            quality=scores.quality,
            passed=scores.passed,
        )
