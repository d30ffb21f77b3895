"""What a run came to, worked out once when it is over."""

from collections.abc import Iterator

from django.utils import timezone

from evaluations.models import Result, Run, RunState
from evaluations.scorers import specs
from evaluations.statistics.metrics import Answer, Figures

BATCH = 5_000


def answers_of(run: Run) -> Iterator[Answer]:
    """A run's results as figures need them. Cases of one group are known to belong together; a case of no group is its
    own."""
    rows = (
        Result.objects.filter(run=run)
        .order_by("id")
        .values_list(
            *("case", "case__group_key", "case__label", "case__tags", "scores", "quality", "passed", "error"),
            *("latency_ms", "tokens_in", "tokens_out", "cost_usd"),
        )
    )
    groups: dict[str, int] = {}
    for case, group, label, tags, scores, quality, passed, error, latency, told, said, cost in rows.iterator(BATCH):
        # Below zero, where no case's own key is.
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
            latency_ms=latency,
            tokens_in=told,
            tokens_out=said,
            cost_usd=None if cost is None else float(cost),
        )


def sum_up(run: Run) -> None:
    """Work out a run's summary, unless it goes on meanwhile."""
    figures = Figures(specs.stored(run.scorers))
    for answer in answers_of(run):
        figures.add(answer)
    ended = Run.objects.filter(pk=run.pk, summary__isnull=True).exclude(state__in=(RunState.PENDING, RunState.RUNNING))
    leaked = Result.objects.filter(run=run, is_leaked=True).values("case").distinct().count()
    ended.update(summary={**figures.summary(), "leaked": leaked, "at": timezone.now().isoformat()})
