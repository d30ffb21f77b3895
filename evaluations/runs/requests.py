"""From a batch of cases to what has to be asked: rendered requests, without those whose answers are known."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import Problem
from evaluations.models import CachedAnswer, Case, Result, Run
from evaluations.providers.chat import ChatRequest, Completion, request_of
from evaluations.runs.batches import Held
from registry.prompts import includes, versions

# Why something cannot be rendered now, but can in a moment.
PASSING = frozenset({"examples.not_embedded", "render.busy"})


@dataclass(frozen=True)
class Ask:
    """One case, to be asked once. It has a request to make, an answer that is known (`is_from_cache`), or the error for
    which it cannot be asked."""

    held: Held
    case: Case
    repeat: int
    request: ChatRequest | None = None
    key: bytes | None = None
    known: Completion | None = None
    error: tuple[str, str] = ("", "")


class Preparation:
    """Makes a run's batches ready. What all of them share is read once."""

    def __init__(self, run: Run, *, keeps_all: bool) -> None:
        self._run = run
        # Where a judge may fail after the answer is paid for, every answer is kept, whatever the temperature.
        self._keeps_all = keeps_all
        # Another server may stand behind the same provider one day, and answer otherwise.
        self._server = run.model.provider.base_url
        partials = includes.partials_of([run.version])
        self._partials = {key: version.content for key, version in partials.items()}

    def of(self, held: Held) -> Iterator[Ask]:
        """What is left of a batch; sets how much that is."""
        run = self._run
        there = set(Result.objects.filter(run=run, case__in=held.batch.cases).values_list("case", "repeat"))
        cases = Case.objects.in_bulk(held.batch.cases)
        wanted = [
            (cases[key], repeat)
            for key in held.batch.cases
            for repeat in range(1, run.repeats + 1)
            if (key, repeat) not in there
        ]
        held.left = len(wanted)
        if run.answers_of_id:
            yield from self._given(held, wanted)
            return
        rendered = self._rendered({case.pk: case for case, _ in wanted})
        asks = [self._ask(held, case, repeat, rendered[case.pk]) for case, repeat in wanted]
        keys = [one.key for one in asks if one.key]
        rows = CachedAnswer.objects.filter(provider=run.model.provider_id, key__in=keys).values_list("key", "answer")
        known = {bytes(key): Completion(**answer) for key, answer in rows}
        for one in asks:
            answer = known.get(one.key) if one.key else None
            yield one if answer is None else Ask(one.held, one.case, one.repeat, key=None, known=answer)

    def _rendered(self, cases: Mapping[int, Case]) -> Mapping[int, Mapping[str, Any] | Problem]:
        """Each case's request, or the problem with it."""
        run, every = self._run, [case.variables for case in cases.values()]
        try:
            found = versions.requests_for(run.project_id, run.version.content, every, self._partials)
        except Problem as problem:
            return dict.fromkeys(cases, problem)
        return dict(zip(cases, found, strict=True))

    def _ask(self, held: Held, case: Case, repeat: int, rendered: Mapping[str, Any] | Problem) -> Ask:
        run = self._run
        if isinstance(rendered, Problem):
            return Ask(held, case, repeat, error=(rendered.code, rendered.detail[:1_000]))
        request = request_of(messages_of(rendered), run.model.name, run.parameters)
        key = None
        if request.is_deterministic:
            key = request.key(repeat, of=self._server)
        elif self._keeps_all:
            key = request.key(repeat, of=f"run {run.pk} {self._server}")
        return Ask(held, case, repeat, request, key)

    def _given(self, held: Held, wanted: list[tuple[Case, int]]) -> Iterator[Ask]:
        source = Result.objects.filter(run=self._run.answers_of_id, case__in=held.batch.cases)
        answers = {(row.case_id, row.repeat): row for row in source}
        for case, repeat in wanted:
            row = answers.get((case.pk, repeat))
            if row is None:
                yield Ask(
                    held, case, repeat, error=("call.none", "The run that has the answers has none to this case.")
                )
            elif row.error:
                yield Ask(held, case, repeat, error=(row.error, row.error_detail))
            else:
                yield Ask(held, case, repeat, known=completion_of(row))


def messages_of(rendered: Mapping[str, Any]) -> Mapping[str, Any]:
    """A rendered version as a chat: a text prompt is what the user says."""
    if "messages" in rendered:
        return rendered
    return {**rendered, "messages": [{"role": "user", "content": rendered["text"]}]}


def completion_of(row: Result) -> Completion:
    """The answer that a result has."""
    return Completion(
        text=row.output,
        refusal=row.refusal,
        finish_reason=row.finish_reason,
        tool_calls=row.tool_calls,
        tokens_in=row.tokens_in,
        tokens_cached=row.tokens_cached,
        tokens_out=row.tokens_out,
        latency_ms=row.latency_ms or 0.0,
        request_id=row.request_id,
    )
