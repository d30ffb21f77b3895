"""Audit of a project's tokens by prompt and by part: their cost a month, and what could be shorter."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, timedelta

from django.utils import timezone

from core.content import full_text
from core.references import DEFAULT_ENVIRONMENT
from finetunes.strategy.policy import Policy
from inference.calls import log as call_log
from inference.monitoring import usage
from inference.usage.estimates import monthly_rate
from inference.usage.stats import UsageStats, sum_usage, whole_days
from registry.content import lint, tokens
from registry.models import Project, PromptVersion
from registry.promotions import environments
from registry.prompts import resolution

# Lint codes of what could be shorter.
COMPRESSIBLE = frozenset({"text.repeated", "size.tokens", "size.examples", "format.unenforced"})
PARTS = ("instructions", "examples", "context")


@dataclass(frozen=True)
class PromptAudit:
    """Tokens a call of a version by part: instructions, examples (written out and picked), and context of the call
    itself; and the cost of a month of its calls."""

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
        """Return the monthly cost of a part, by its share of the questions' tokens."""
        whole = self.tokens_per_call
        return None if self.dollars_a_month is None or not whole else self.dollars_a_month * self.parts[part] / whole

    @property
    def by_part(self) -> list[tuple[str, float, float, float | None]]:
        """Return (part, tokens a call, share of all, dollars a month) of each part."""
        whole = self.tokens_per_call or 1.0
        return [(part, count, count / whole, self.dollars_of(part)) for part, count in self.parts.items()]

    @property
    def waste(self) -> float:
        """Return the rank: the cost of instructions and examples; their tokens where the price is not known."""
        own = sum(self.parts[part] for part in ("instructions", "examples"))
        whole = self.tokens_per_call or 1.0
        if self.dollars_a_month is None:
            return own * self.calls_a_month * 1e-12
        return self.dollars_a_month * own / whole


def audit_project(project: Project, policy: Policy, environment: str = DEFAULT_ENVIRONMENT) -> list[PromptAudit]:
    """Audit every prompt that is live in an environment, the dearest first, in a constant number of queries."""
    environment_row = environments.get_environment(project, environment)
    versions = list(resolution.live_versions(project, environment_row))
    until = timezone.now().astimezone(UTC).date()
    since = until - timedelta(days=usage.DEFAULT_DAYS - 1)
    rows = call_log.usage_of_versions([version.pk for version in versions], environment, since, until)
    by_version: dict[int, dict[date, tuple[bool, UsageStats]]] = {}
    for (key, day), day_stats in rows.items():
        by_version.setdefault(key, {})[day] = day_stats
    older = call_log.versions_called_before([version.pk for version in versions], environment, since)
    audited = [
        _audit_version(version, by_version.get(version.pk, {}), since, until, policy, is_older=version.pk in older)
        for version in versions
    ]
    return sorted(audited, key=lambda audit: (-audit.waste, audit.version.prompt.name))


def _audit_version(
    version: PromptVersion,
    by_day: Mapping[date, tuple[bool, UsageStats]],
    since: date,
    until: date,
    policy: Policy,
    *,
    is_older: bool,
) -> PromptAudit:
    stats = sum_usage(day_stats for _, day_stats in by_day.values())
    days = whole_days({day: day_stats for day, (_, day_stats) in by_day.items()}, since, until, is_older=is_older)
    calls = monthly_rate([float(day.calls) for day in days])
    cost = stats.cost_per_call()
    calls_a_month = calls.value if calls else 0.0
    subject = lint.Subject(version.content, frozenset(), version.tokens)
    name = str(version.content.get("model", {}).get("name", ""))
    written = tokens.count("\n".join(text for _, text in subject.examples), name).tokens if subject.examples else 0
    alone = tokens.count(full_text(version.content), name).tokens
    alone += tokens.count_images(version.content.get("messages", ()), name)
    # The tokens beyond a version's own text are those of the examples that it picks.
    picked = max(0, version.tokens - alone) if "examples" in version.content else 0
    examples = float(min(version.tokens, written + picked))
    instructions = float(max(0, version.tokens - examples))
    tokens_in = stats.tokens_in / stats.counted if stats.counted else float(version.tokens)
    findings = [finding.message for finding in lint.lint(subject) if finding.code in COMPRESSIBLE][:3]
    return PromptAudit(
        version=version,
        calls_a_month=calls_a_month,
        parts={
            "instructions": instructions,
            "examples": examples,
            "context": max(0.0, tokens_in - instructions - examples),
        },
        dollars_a_month=None if cost is None else cost * calls_a_month,
        is_simulation=any(simulated for simulated, _ in by_day.values()),
        findings=tuple(findings),
        is_bloated=version.tokens > policy.bloat_tokens or subject.example_count > policy.bloat_examples,
    )
