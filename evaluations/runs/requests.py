"""Requests for a batch of cases: rendered, with the answers that are known already."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.errors import Problem
from evaluations.models import CachedAnswer, Case, Provider, Result, Run
from evaluations.providers import configuration as providers
from evaluations.providers import profiles
from evaluations.providers.chat import ChatRequest, Completion, build_request
from evaluations.runs.batches import BatchLease
from infra.limited.policy import BUSY
from registry.content.model_profiles.facts import ModelProfile
from registry.prompts import includes, versions
from registry.retrieval.context import SearchMode, retrieved_chunks

# Errors of rendering that pass by themselves.
TRANSIENT_ERRORS = frozenset({"examples.not_embedded", "collection.not_embedded", BUSY})


@dataclass(frozen=True)
class PendingCall:
    """One call for a case. It has a request, an answer that is known already (`is_from_cache`), or the error that
    prevents it."""

    batch_lease: BatchLease
    case: Case
    repeat: int
    request: ChatRequest | None = None
    key: bytes | None = None
    known_answer: Completion | None = None
    error: tuple[str, str] = ("", "")
    # The chunks that were retrieved for it; None where the version searches nothing.
    retrieved: Sequence[Mapping[str, Any]] | None = None


def _server(provider: Provider, profile: ModelProfile) -> str:
    """Return the name of what answers: another protocol of the same server may answer otherwise, and where a protocol
    writes by what is known of the model, so does other knowledge."""
    if provider.protocol == providers.DEFAULT_PROTOCOL:
        return provider.base_url
    written_by = (profile.max_output_tokens, profile.efforts, profile.has_adaptive_thinking)
    return f"{provider.protocol} {provider.base_url} {written_by}"


class BatchPreparation:
    """Preparation of a run's batches. Everything that they share is read once."""

    def __init__(self, run: Run, *, keeps_all: bool) -> None:
        self._run = run
        # Where a judge may fail after the answer is paid for, every answer is cached, whatever the temperature.
        self._keeps_all = keeps_all
        # The provider's server may change one day, and answer otherwise.
        self._profile = profiles.profile_of(run.model)
        self._server = _server(run.model.provider, self._profile)
        partials = includes.get_partials([run.version])
        self._partials = {key: version.content for key, version in partials.items()}
        self._searching = SearchMode(is_on=not run.is_without_retrieval, as_of=run.as_of)

    def pending_calls(self, batch_lease: BatchLease) -> Iterator[PendingCall]:
        """Return the calls that are left of a batch, and set their number on the lease."""
        run = self._run
        existing = set(Result.objects.filter(run=run, case__in=batch_lease.batch.cases).values_list("case", "repeat"))
        cases = Case.objects.in_bulk(batch_lease.batch.cases)
        missing = [
            (cases[key], repeat)
            for key in batch_lease.batch.cases
            for repeat in range(1, run.repetitions + 1)
            if (key, repeat) not in existing
        ]
        batch_lease.answers_left = len(missing)
        if run.answers_of_id:
            yield from self._calls_of_source(batch_lease, missing)
            return
        rendered = self._rendered({case.pk: case for case, _ in missing})
        calls = [self._call(batch_lease, case, repeat, rendered[case.pk]) for case, repeat in missing]
        keys = [call.key for call in calls if call.key]
        rows = CachedAnswer.objects.none()
        if not run.is_fresh:
            rows = CachedAnswer.objects.filter(provider=run.model.provider_id, key__in=keys)
        cached = {bytes(key): Completion(**answer) for key, answer in rows.values_list("key", "answer")}
        for call in calls:
            answer = cached.get(call.key) if call.key else None
            yield (call if answer is None else replace(call, request=None, key=None, known_answer=answer))

    def _rendered(self, cases: Mapping[int, Case]) -> Mapping[int, Mapping[str, Any] | Problem]:
        """Render each case's request, or return the problem with it."""
        run, every = self._run, [case.variables for case in cases.values()]
        try:
            requests = versions.render_requests(
                run.project_id, run.version.content, every, self._partials, self._searching
            )
        except Problem as problem:
            return dict.fromkeys(cases, problem)
        return dict(zip(cases, requests, strict=True))

    def _call(
        self, batch_lease: BatchLease, case: Case, repeat: int, rendered: Mapping[str, Any] | Problem
    ) -> PendingCall:
        run = self._run
        if isinstance(rendered, Problem):
            return PendingCall(batch_lease, case, repeat, error=(rendered.code, rendered.detail[:1_000]))
        request = build_request(rendered, run.model.name, run.parameters, self._profile)
        key = None
        if request.is_deterministic:
            key = request.key(repeat, of=self._server)
        elif self._keeps_all:
            key = request.key(repeat, of=f"run {run.pk} {self._server}")
        return PendingCall(batch_lease, case, repeat, request, key, retrieved=retrieved_chunks(rendered))

    def _calls_of_source(self, batch_lease: BatchLease, missing: list[tuple[Case, int]]) -> Iterator[PendingCall]:
        source = Result.objects.filter(run=self._run.answers_of_id, case__in=batch_lease.batch.cases)
        answers = {(row.case_id, row.repeat): row for row in source}
        for case, repeat in missing:
            row = answers.get((case.pk, repeat))
            if row is None:
                yield PendingCall(
                    batch_lease,
                    case,
                    repeat,
                    error=("call.none", "The original run has no answer to this case."),
                )
            elif row.error:
                yield PendingCall(batch_lease, case, repeat, error=(row.error, row.error_detail))
            else:
                answer = completion_of_result(row)
                yield PendingCall(batch_lease, case, repeat, known_answer=answer, retrieved=row.retrieved)


def completion_of_result(row: Result) -> Completion:
    """Return the answer of a result."""
    return Completion(
        text=row.output,
        refusal=row.refusal,
        finish_reason=row.finish_reason,
        tool_calls=row.tool_calls,
        tokens_in=row.tokens_in,
        tokens_cached=row.tokens_cached,
        tokens_cache_write=row.tokens_cache_write,
        tokens_out=row.tokens_out,
        tokens_reasoning=row.tokens_reasoning,
        is_usage_estimated=row.is_usage_estimated,
        latency_ms=row.latency_ms or 0.0,
        calls_in_flight=row.calls_in_flight,
        server_ms=row.server_ms,
        request_id=row.request_id,
    )
