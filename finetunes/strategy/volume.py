"""How much is asked of a prompt a month, in one measure: as the long prompt asks it, whichever version is asked now."""

from dataclasses import dataclass

from evaluations.models import Run
from finetunes.models import TunedModel
from inference.monitoring.usage import Live
from inference.calls.usage_stats import Measured, Traffic, added
from registry.models import Prompt, PromptVersion


@dataclass(frozen=True)
class Asked:
    """Live calls of a prompt: of long prompts, and of versions that ask a tuned model; and all calls a month."""

    long: Traffic
    short: Traffic
    a_month: Measured | None

    def tokens_a_month(self, run: Run | None) -> Measured | None:
        """Tokens of questions a month if the long prompt asked them all: figures of money are for those. How long they
        are is known from calls, else from a run of the long prompt."""
        told = ((run.summary or {}).get("tokens_in") or {}).get("value") if run else None
        each = self.long.tokens_in / self.long.counted if self.long.counted else told
        return None if self.a_month is None or each is None else self.a_month.times(each)


def traffic_of(prompt: Prompt, calls: Live, only: PromptVersion | None = None) -> Asked:
    """A prompt's calls, or those of one version alone, by what they ask."""
    tuned = TunedModel.objects.filter(published__prompt=prompt).values_list("published", flat=True)
    published = set(tuned) if only is None else set()
    rows = [(one, traffic) for one, traffic in calls.versions if only is None or one.pk == only.pk]
    long = added(traffic for one, traffic in rows if one.pk not in published)
    short = added(traffic for one, traffic in rows if one.pk in published)
    every, own, month = calls.total.calls, long.calls + short.calls, calls.calls_a_month()
    return Asked(long, short, month.times(own / every) if month and own else None)
