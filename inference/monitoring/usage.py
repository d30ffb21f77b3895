"""Usage of a prompt by day and by version, and its drift."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from typing import Any

from django.utils import timezone

from core.references import DEFAULT_ENVIRONMENT
from evaluations.models import Result, Run
from evaluations.statistics.slas import FORMAT_SCORERS
from inference.calls import log as call_log
from inference.monitoring import drift
from inference.monitoring.drift import Drift
from inference.usage.estimates import IntervalEstimate, bin_of, monthly_rate
from inference.usage.stats import UsageStats, sum_usage, whole_days
from registry.models import Prompt, PromptVersion

DEFAULT_DAYS = 30
MAX_DAYS = 180
# The days that count as "now" when they are compared with those before.
RECENT_DAYS = 7
# So many of a run's answers are read for the length of its questions.
MAX_RESULTS = 20_000


@dataclass(frozen=True)
class LiveUsage:
    """Usage of a prompt in an environment, from `since` to `until`, both days (UTC) included; `until` is today."""

    environment: str
    since: date
    until: date
    days: Mapping[date, UsageStats]
    versions: Sequence[tuple[PromptVersion, UsageStats]]
    is_simulation: bool
    drifts: Sequence[Drift]
    # Whether there were calls before `since`.
    is_older: bool = False

    @property
    def total(self) -> UsageStats:
        return sum_usage(self.days.values())

    def whole_days(self) -> list[UsageStats]:
        """Return the days from which a month is estimated (inference.usage.stats.whole_days)."""
        return whole_days(self.days, self.since, self.until, is_older=self.is_older)

    def tokens_a_month(self) -> IntervalEstimate | None:
        """Estimate tokens of questions and answers together."""
        return monthly_rate([float(day.tokens_in + day.tokens_out) for day in self.whole_days()])

    def calls_a_month(self) -> IntervalEstimate | None:
        return monthly_rate([float(day.calls) for day in self.whole_days()])


def usage_of_prompt(prompt: Prompt, environment: str = DEFAULT_ENVIRONMENT, days: int = DEFAULT_DAYS) -> LiveUsage:
    """Return the prompt's usage of the last `days` days, today included."""
    until = timezone.now().astimezone(UTC).date()
    since = until - timedelta(days=max(1, min(days, MAX_DAYS)) - 1)
    versions = {version.pk: version for version in prompt.versions.defer("content").order_by("-number")}
    rows = call_log.usage_of_versions(versions, environment, since, until)
    by_day: dict[date, list[UsageStats]] = {}
    by_version: dict[int, dict[date, UsageStats]] = {}
    for (version, day), (_, stats) in rows.items():
        by_day.setdefault(day, []).append(stats)
        by_version.setdefault(version, {})[day] = stats
    return LiveUsage(
        environment=environment,
        since=since,
        until=until,
        days={day: sum_usage(parts) for day, parts in sorted(by_day.items())},
        versions=[
            (versions[key], sum_usage(by_date.values())) for key, by_date in sorted(by_version.items(), reverse=True)
        ],
        is_simulation=any(simulated for simulated, _ in rows.values()),
        drifts=_drifts(by_version, until),
        is_older=bool(call_log.versions_called_before(versions, environment, since)),
    )


def _drifts(by_version: Mapping[int, Mapping[date, UsageStats]], until: date) -> list[Drift]:
    """Compare the last days of the most called version with its own earlier ones: another version has questions of
    another length, and that is no drift."""
    border = until - timedelta(days=RECENT_DAYS - 1)
    recent = {key: sum_usage(by_date[day] for day in by_date if day >= border) for key, by_date in by_version.items()}
    if not recent:
        return []
    key = max(recent, key=lambda version_key: recent[version_key].calls)
    before = sum_usage(stats for day, stats in by_version[key].items() if day < border)
    return drift.find_drifts(before, recent[key]) if before.calls else []


def drifts_since_run(version: PromptVersion, run: Run, environment: str = DEFAULT_ENVIRONMENT) -> list[Drift]:
    """Compare a version's calls of the last days with the cases that it was measured on. Latency is not compared: calls
    are made from elsewhere."""
    until = timezone.now().astimezone(UTC).date()
    since = until - timedelta(days=RECENT_DAYS - 1)
    rows = call_log.usage_of_versions([version.pk], environment, since, until)
    now = sum_usage(stats for _, stats in rows.values())
    return [
        change for change in drift.find_drifts(usage_of_run(run), now) if change.name not in ("Latency", "Failure rate")
    ]


def usage_of_run(run: Run) -> UsageStats:
    """Return a run's answers as the usage of live calls; labels are those that the cases expect."""
    fields = ("tokens_in", "tokens_out", "case__label", "scores")
    # Repetitions of a case are no further questions.
    rows = Result.objects.filter(run=run, error="", repeat=1).order_by("id").values_list(*fields)[:MAX_RESULTS]
    questions: dict[int, int] = {}
    answers: dict[int, int] = {}
    labels: dict[str, int] = {}
    calls = formatted = in_format = 0
    for tokens_in, tokens_out, label, scores in rows.iterator():
        calls += 1
        for bins, value in ((questions, tokens_in), (answers, tokens_out)):
            number = bin_of(value)
            bins[number] = bins.get(number, 0) + 1
        if label:
            labels[label] = labels.get(label, 0) + 1
        keeps_format = _keeps_format(scores)
        formatted += keeps_format is not None
        in_format += bool(keeps_format)
    return UsageStats(
        calls=calls, formatted=formatted, format_ok=in_format, questions=questions, answers=answers, labels=labels
    )


def _keeps_format(scores: Mapping[str, Any]) -> bool | None:
    score = next((scores[name] for name in FORMAT_SCORERS if name in scores), None)
    return None if score is None else bool(score.get("passed"))
