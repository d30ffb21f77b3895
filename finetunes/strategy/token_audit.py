"""Where a project's tokens go: by prompt and by part, what that costs a month, and what could be shorter."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, timedelta

from django.utils import timezone

from core.content import whole_text
from core.references import DEFAULT_ENVIRONMENT
from finetunes.strategy.policy import Policy
from inference.calls import log as call_log
from inference.monitoring import usage
from inference.calls.usage_stats import Traffic, added, per_month, whole_days
from registry.content import lint, tokens
from registry.models import Project, PromptVersion
from registry.promotions import environments
from registry.prompts import resolution

# Findings about a prompt that say what could be shorter.
COMPRESSIBLE = frozenset({"text.repeated", "size.tokens", "size.examples", "format.unenforced"})
PARTS = ("instructions", "examples", "context")


@dataclass(frozen=True)
class Audited:
    """A version's tokens a call by part: what instructs, examples (written out and picked), and what the call itself
    brings; and what a month of its calls costs."""

    version: PromptVersion
    calls_a_month: float
    parts: Mapping[str, float]
    dollars_a_month: float | None
    is_simulation: bool
    findings: tuple[str, ...]
    is_bloated: bool

    @property
    def tokens_per_call(self) -> float:
        return sum(self.parts.values())

    @property
    def tokens_a_month(self) -> float:
        return self.tokens_per_call * self.calls_a_month

    def dollars_of(self, part: str) -> float | None:
        """What a part costs a month: its share of the tokens of the questions."""
        whole = self.tokens_per_call
        return None if self.dollars_a_month is None or not whole else self.dollars_a_month * self.parts[part] / whole

    @property
    def by_part(self) -> list[tuple[str, float, float, float | None]]:
        """(part, tokens a call, share of all, dollars a month)."""
        whole = self.tokens_per_call or 1.0
        return [(part, count, count / whole, self.dollars_of(part)) for part, count in self.parts.items()]

    @property
    def waste(self) -> float:
        """What ranks: the money that instructions and examples cost; tokens where nobody knows the price."""
        own = sum(self.parts[part] for part in ("instructions", "examples"))
        whole = self.tokens_per_call or 1.0
        if self.dollars_a_month is None:
            return own * self.calls_a_month * 1e-12
        return self.dollars_a_month * own / whole


def of_project(project: Project, policy: Policy, environment: str = DEFAULT_ENVIRONMENT) -> list[Audited]:
    """Every prompt that is live in an environment, what costs most first. A number of queries that does not grow."""
    place = environments.named(project, environment)
    versions = list(resolution.live_versions(project, place))
    until = timezone.now().astimezone(UTC).date()
    since = until - timedelta(days=usage.DAYS - 1)
    rows = call_log.of_versions([one.pk for one in versions], environment, since, until)
    by_version: dict[int, dict[date, tuple[bool, Traffic]]] = {}
    for (key, day), found in rows.items():
        by_version.setdefault(key, {})[day] = found
    older = call_log.called_before([one.pk for one in versions], environment, since)
    audited = [
        _audited(version, by_version.get(version.pk, {}), since, until, policy, is_older=version.pk in older)
        for version in versions
    ]
    return sorted(audited, key=lambda one: (-one.waste, one.version.prompt.name))


def _audited(
    version: PromptVersion,
    by_day: Mapping[date, tuple[bool, Traffic]],
    since: date,
    until: date,
    policy: Policy,
    *,
    is_older: bool,
) -> Audited:
    traffic = added(found for _, found in by_day.values())
    days = whole_days({day: found for day, (_, found) in by_day.items()}, since, until, is_older=is_older)
    calls = per_month([float(day.calls) for day in days])
    cost = traffic.cost_per_call()
    calls_a_month = calls.value if calls else 0.0
    subject = lint.Subject(version.content, frozenset(), version.tokens)
    name = str(version.content.get("model", {}).get("name", ""))
    written = tokens.count("\n".join(text for _, text in subject.examples), name).tokens if subject.examples else 0
    alone = tokens.count(whole_text(version.content), name).tokens
    # What a version counts beyond its own text are the examples that it picks.
    picked = max(0, version.tokens - alone) if "examples" in version.content else 0
    examples = float(min(version.tokens, written + picked))
    instructions = float(max(0, version.tokens - examples))
    asked = traffic.tokens_in / traffic.counted if traffic.counted else float(version.tokens)
    findings = [one.message for one in lint.lint(subject) if one.code in COMPRESSIBLE][:3]
    return Audited(
        version=version,
        calls_a_month=calls_a_month,
        parts={
            "instructions": instructions,
            "examples": examples,
            "context": max(0.0, asked - instructions - examples),
        },
        dollars_a_month=None if cost is None else cost * calls_a_month,
        is_simulation=any(simulated for simulated, _ in by_day.values()),
        findings=tuple(findings),
        is_bloated=version.tokens > policy.bloat_tokens or subject.example_count > policy.bloat_examples,
    )
