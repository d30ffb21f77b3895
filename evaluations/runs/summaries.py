"""Summary of a run, computed once when it is over."""

from collections.abc import Iterator

from django.utils import timezone

from evaluations.models import Result, Run, RunState
from evaluations.scorers import specs
from evaluations.statistics.metrics import Answer, Figures

BATCH = 5_000


def read_answers(run: Run) -> Iterator[Answer]:
    """Read a run's results in the form of the figures. Cases of one group belong together; a case without a group is a
    group of its own."""
    rows = (
        Result.objects.filter(run=run)
        .order_by("id")
        .values_list(
            *("case", "case__group_key", "case__label", "case__tags", "scores", "quality", "passed", "error"),
            *("latency_ms", "is_from_cache", "tokens_in", "tokens_out", "cost_usd", "calls_in_flight", "server_ms"),
        )
    )
    groups: dict[str, int] = {}
    for row in rows.iterator(BATCH):
        case, group, label, tags, scores, quality, passed, error, *figures = row
        latency, is_cached, tokens_in, tokens_out, cost, calls_in_flight, server_ms = figures
        # Below zero, where no case has its key.
        number = groups.setdefault(group, -1 - len(groups)) if group else case
        yield Answer(
            case=case,
            group=number,
            label=label,
            tags=tags,
            scores=scores,
            quality=quality,
            passed=passed,
            failed=bool(error),
            # A latency of months ago says nothing of today; what a run judges again was measured by its source.
            latency_ms=latency if (is_measured := not is_cached or run.answers_of_id is not None) else None,
            calls_in_flight=calls_in_flight if is_measured else None,
            server_ms=server_ms if is_measured else None,
            tokens_in=tokens_in,
            tokens_out=tokens_out,
            cost_usd=None if cost is None else float(cost),
        )


def sum_up(run: Run) -> None:
    """Compute a run's summary, unless it goes on in the meantime."""
    figures = Figures(specs.specs_from_json(run.scorers))
    for answer in read_answers(run):
        figures.add(answer)
    ended = Run.objects.filter(pk=run.pk, summary__isnull=True).exclude(state__in=(RunState.PENDING, RunState.RUNNING))
    leaked = Result.objects.filter(run=run, is_leaked=True).values("case").distinct().count()
    ended.update(summary={**figures.summary(), "leaked": leaked, "at": timezone.now().isoformat()})
