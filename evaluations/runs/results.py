"""From an answer, or the lack of one, to the row that is kept."""

from collections.abc import Sequence
from decimal import Decimal

from evaluations.data_quality import reports
from evaluations.models import CachedAnswer, Result, Run
from evaluations.providers.chat import CallError, Completion, Price
from evaluations.runs.batches import Found
from evaluations.runs.requests import Ask
from evaluations.scorers import specs as scoring
from evaluations.scorers.base import Sample
from evaluations.scorers.specs import Judged, Spec

NOTHING = Decimal(0)
# A run has at most twenty repeats.
REPEATS = 32


class Recorder:
    """Knows what all rows of a run share."""

    def __init__(self, run: Run, specs: Sequence[Spec]) -> None:
        self._run = run
        self._specs = specs
        self._price = Price.read(run.price)
        self._leaked = reports.leaked_cases(run.dataset_version)
        form = run.version.content.get("response") or {}
        self._schema = form.get("schema")

    def sample(self, ask: Ask, answer: Completion) -> Sample:
        """An answer as scorers see it."""
        cost = self.cost(answer)
        return Sample(
            output=answer.text,
            expected=ask.case.expected,
            label=ask.case.label,
            variables=ask.case.variables,
            schema=self._schema,
            refusal=answer.refusal,
            latency_ms=answer.latency_ms,
            cost_usd=None if cost is None else float(cost),
            tokens_out=answer.tokens_out,
            lot=ask.case.pk * REPEATS + ask.repeat,
        )

    def found(self, ask: Ask, answer: Completion, judged: Judged) -> Found:
        """An answer that was judged."""
        cost, is_known = self.cost(answer), ask.known is not None
        result = self._result(ask, judged)
        result.output, result.refusal, result.finish_reason = answer.text, answer.refusal, answer.finish_reason
        result.tool_calls, result.latency_ms = answer.tool_calls, answer.latency_ms
        result.tokens_in, result.tokens_out = answer.tokens_in, answer.tokens_out
        result.tokens_cached, result.request_id = answer.tokens_cached, answer.request_id
        result.cost_usd, result.is_from_cache = cost, is_known
        kept = self.cached(ask, answer) if ask.key and not is_known else None
        return Found(ask.held, result, NOTHING if is_known or cost is None else cost, kept)

    def failed(self, ask: Ask, error: CallError) -> Found:
        """No answer."""
        sample = Sample(output="", expected=ask.case.expected, label=ask.case.label)
        result = self._result(ask, scoring.failed(self._specs, sample))
        result.error, result.error_detail = error.code, error.detail[:1_000]
        result.request_id = error.request_id
        return Found(ask.held, result, NOTHING, None)

    def cached(self, ask: Ask, answer: Completion) -> CachedAnswer:
        """An answer for whoever asks the same."""
        return CachedAnswer(provider_id=self._run.model.provider_id, key=ask.key, answer=answer.as_dict())

    def cost(self, answer: Completion) -> Decimal | None:
        """US dollars; None where nobody knows the price."""
        tokens = (answer.tokens_in, answer.tokens_cached, answer.tokens_out)
        return self._price.of(*tokens) if self._price else None

    def _result(self, ask: Ask, judged: Judged) -> Result:
        return Result(
            run=self._run,
            case=ask.case,
            repeat=ask.repeat,
            is_leaked=ask.case.pk in self._leaked,
            scores={name: scored.as_dict() for name, scored in judged.scores.items()},
            quality=judged.quality,
            passed=judged.passed,
        )
