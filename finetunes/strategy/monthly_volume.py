"""Monthly volume of a prompt in one measure: tokens of the long prompt, whichever version is asked now."""

from dataclasses import dataclass

from evaluations.models import Run
from finetunes.models import TunedModel
from inference.monitoring.usage import LiveUsage
from inference.usage.estimates import IntervalEstimate
from inference.usage.stats import UsageStats, sum_usage
from registry.models import Prompt, PromptVersion


@dataclass(frozen=True)
class MonthlyVolume:
    """Usage of a prompt: by versions with the long prompt, by versions that ask a tuned model, and calls a month."""

    long_prompt: UsageStats
    short_prompt: UsageStats
    calls_a_month: IntervalEstimate | None

    def tokens_a_month(self, run: Run | None) -> IntervalEstimate | None:
        """Return tokens of questions a month as if the long prompt asked them all, because costs are for those. Their
        length is taken from calls, else from a run of the long prompt."""
        mean_tokens = ((run.summary or {}).get("tokens_in") or {}).get("value") if run else None
        tokens_per_call = (
            self.long_prompt.tokens_in / self.long_prompt.counted if self.long_prompt.counted else mean_tokens
        )
        return (
            None if self.calls_a_month is None or tokens_per_call is None else self.calls_a_month.times(tokens_per_call)
        )


def monthly_volume_of(prompt: Prompt, calls: LiveUsage, only: PromptVersion | None = None) -> MonthlyVolume:
    """Return the volume of a prompt, or of one version alone."""
    tuned = TunedModel.objects.filter(published__prompt=prompt).values_list("published", flat=True)
    published = set(tuned) if only is None else set()
    rows = [(version, stats) for version, stats in calls.versions if only is None or version.pk == only.pk]
    long = sum_usage(stats for version, stats in rows if version.pk not in published)
    short = sum_usage(stats for version, stats in rows if version.pk in published)
    all_calls, own_calls, calls_a_month = calls.total.calls, long.calls + short.calls, calls.calls_a_month()
    return MonthlyVolume(
        long, short, calls_a_month.times(own_calls / all_calls) if calls_a_month and own_calls else None
    )
