"""Live calls of a prompt: what they come to by day and by version, and whether they are still what they were."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from typing import Any

from django.utils import timezone

from core.references import DEFAULT_ENVIRONMENT
from evaluations.models import Result, Run
from evaluations.statistics.service_levels import FORMAT_SCORERS
from inference.calls import log as call_log
from inference.calls.usage_stats import Measured, Traffic, added, bin_of, per_month, whole_days
from inference.monitoring import drift
from inference.monitoring.drift import Drift
from registry.models import Prompt, PromptVersion

DAYS = 30
LONGEST = 180
# What is new enough to be "now" where it is held against what was before.
RECENT = 7
# So many of a run's answers say how long its questions are.
MOST_RESULTS = 20_000


@dataclass(frozen=True)
class Live:
    """A prompt's calls in an environment, from `since` to `until`, both days (UTC) included; `until` is today."""

    environment: str
    since: date
    until: date
    days: Mapping[date, Traffic]
    versions: Sequence[tuple[PromptVersion, Traffic]]
    is_simulation: bool
    drifts: Sequence[Drift]
    # Whether there were calls before `since`.
    is_older: bool = False

    @property
    def total(self) -> Traffic:
        return added(self.days.values())

    def whole_days(self) -> list[Traffic]:
        """What a month is reckoned from (inference.calls.usage_stats.whole_days)."""
        return whole_days(self.days, self.since, self.until, is_older=self.is_older)

    def tokens_a_month(self) -> Measured | None:
        """Tokens of questions and answers together."""
        return per_month([float(day.tokens_in + day.tokens_out) for day in self.whole_days()])

    def calls_a_month(self) -> Measured | None:
        return per_month([float(day.calls) for day in self.whole_days()])


def of_prompt(prompt: Prompt, environment: str = DEFAULT_ENVIRONMENT, days: int = DAYS) -> Live:
    """The prompt's calls of the last `days` days, today included."""
    until = timezone.now().astimezone(UTC).date()
    since = until - timedelta(days=max(1, min(days, LONGEST)) - 1)
    versions = {version.pk: version for version in prompt.versions.defer("content").order_by("-number")}
    rows = call_log.of_versions(versions, environment, since, until)
    by_day: dict[date, list[Traffic]] = {}
    by_version: dict[int, dict[date, Traffic]] = {}
    for (version, day), (_, traffic) in rows.items():
        by_day.setdefault(day, []).append(traffic)
        by_version.setdefault(version, {})[day] = traffic
    return Live(
        environment=environment,
        since=since,
        until=until,
        days={day: added(parts) for day, parts in sorted(by_day.items())},
        versions=[(versions[key], added(found.values())) for key, found in sorted(by_version.items(), reverse=True)],
        is_simulation=any(simulated for simulated, _ in rows.values()),
        drifts=_drifts(by_version, until),
        is_older=bool(call_log.called_before(versions, environment, since)),
    )


def _drifts(by_version: Mapping[int, Mapping[date, Traffic]], until: date) -> list[Drift]:
    """The last days of the version that has most calls in them against its own earlier ones: another version has
    questions of another length, and that is no drift."""
    border = until - timedelta(days=RECENT - 1)
    recent = {key: added(found[day] for day in found if day >= border) for key, found in by_version.items()}
    if not recent:
        return []
    key = max(recent, key=lambda one: recent[one].calls)
    before = added(traffic for day, traffic in by_version[key].items() if day < border)
    return drift.found(before, recent[key]) if before.calls else []


def since_run(version: PromptVersion, run: Run, environment: str = DEFAULT_ENVIRONMENT) -> list[Drift]:
    """How a version's calls of the last days differ from the cases that it was measured on. How long calls take is not
    compared: they are made from elsewhere."""
    until = timezone.now().astimezone(UTC).date()
    since = until - timedelta(days=RECENT - 1)
    rows = call_log.of_versions([version.pk], environment, since, until)
    now = added(traffic for _, traffic in rows.values())
    return [one for one in drift.found(of_run(run), now) if one.name not in ("Latency", "Failure rate")]


def of_run(run: Run) -> Traffic:
    """A run's answers as if they had been live calls; labels are those that the cases expect."""
    fields = ("tokens_in", "tokens_out", "case__label", "scores")
    # Repeats of a case are no further questions.
    rows = Result.objects.filter(run=run, error="", repeat=1).order_by("id").values_list(*fields)[:MOST_RESULTS]
    questions: dict[int, int] = {}
    answers: dict[int, int] = {}
    labels: dict[str, int] = {}
    calls = formatted = fine = 0
    for told, said, label, scores in rows.iterator():
        calls += 1
        for bins, value in ((questions, told), (answers, said)):
            number = bin_of(value)
            bins[number] = bins.get(number, 0) + 1
        if label:
            labels[label] = labels.get(label, 0) + 1
        kept = _keeps_format(scores)
        formatted += kept is not None
        fine += bool(kept)
    return Traffic(
        calls=calls, formatted=formatted, format_ok=fine, questions=questions, answers=answers, labels=labels
    )


def _keeps_format(scores: Mapping[str, Any]) -> bool | None:
    found = next((scores[name] for name in FORMAT_SCORERS if name in scores), None)
    return None if found is None else bool(found.get("passed"))
