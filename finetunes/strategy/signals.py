"""Signals for and against each approach: the rows of the published decision matrix and the pitfalls beside it. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from finetunes.strategy.costs import tuning_costs
from finetunes.strategy.evidence import INPUTS, Evidence, is_flag_set
from finetunes.strategy.policy import Policy

# From so many months on a time is given in years.
MIN_MONTHS_IN_YEARS = 36
PROMPT, TRIM, RETRIEVAL, TUNE = "prompt", "trim", "retrieval", "fine-tune"


@dataclass(frozen=True)
class Signal:
    """A reason for an approach: `pulls` names it, or is empty; `strength` is from 0 to 1."""

    key: str
    title: str
    pulls: str
    strength: float
    sentence: str
    inputs: tuple[str, ...] = ()
    is_known: bool = True

    def as_dict(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "title": self.title,
            "pulls": self.pulls,
            "strength": round(self.strength, 3),
            "sentence": self.sentence,
            "inputs": list(self.inputs),
            "known": self.is_known,
        }


def all_signals(evidence: Evidence, policy: Policy) -> list[Signal]:
    """Return every signal, the strongest first."""
    signals = [make(evidence, policy) for make in SIGNALS.values()]
    return sorted(signals, key=lambda signal: -signal.strength)


def _value(evidence: Evidence, name: str) -> float | None:
    figure = evidence.get(name)
    return figure.value if figure else None


def _unknown(key: str, title: str, *inputs: str) -> Signal:
    names = ", ".join(INPUTS[name].title.lower() for name in inputs)
    return Signal(key, title, "", 0.0, f"Not known: {names}.", inputs, is_known=False)


def volume(evidence: Evidence, policy: Policy) -> Signal:
    key, title, name = "volume", "Volume", "monthly_tokens"
    tokens = _value(evidence, name)
    if tokens is None:
        return _unknown(key, title, name)
    text = f"{tokens:,.0f} input tokens a month"
    if tokens < policy.low_volume:
        return Signal(
            key, title, PROMPT, 1.0, f"{text} are few: the work of tuning outweighs what tokens cost.", (name,)
        )
    if tokens < policy.token_cutoff:
        strength = (policy.token_cutoff - tokens) / max(1.0, policy.token_cutoff - policy.low_volume)
        sentence = f"{text} are below {policy.token_cutoff:,.0f}, from where tuning is worth a look."
        return Signal(key, title, PROMPT, strength, sentence, (name,))
    strength = min(1.0, (tokens - policy.token_cutoff) / max(1.0, policy.high_volume - policy.token_cutoff))
    sentence = f"{text}: what a tuned model saves on each of them adds up."
    return Signal(key, title, TUNE, strength, sentence, (name,))


def strict_format(evidence: Evidence, policy: Policy) -> Signal:
    key, title, name = "format", "Strict format", "format_error_rate"
    errors = _value(evidence, name)
    if errors is None:
        return _unknown(key, title, name)
    parsed = " Answers are parsed, so each is a failure." if is_flag_set(evidence, "strict_format") else ""
    limit = policy.format_error_rate
    text = f"{errors:.1%} of answers are not in the format, {limit:.0%} may be."
    if errors <= limit:
        return Signal(key, title, "", 0.0, text, (name, "strict_format"))
    strength = min(1.0, 0.5 + (errors - limit) / max(limit, 0.01) / 2)
    sentence = f"{text}{parsed} Tuning takes the form in, where a prompt needs ever more words for it."
    return Signal(key, title, TUNE, strength, sentence, (name, "strict_format"))


def latency(evidence: Evidence, policy: Policy) -> Signal:
    key, title, name = "latency", "Latency", "latency_ms"
    latency_ms = _value(evidence, name)
    if latency_ms is None:
        return _unknown(key, title, name)
    text = f"{latency_ms:,.0f} ms on average, {policy.latency_sla_ms:,.0f} ms are allowed."
    if latency_ms > policy.latency_sla_ms:
        strength = min(1.0, 0.5 + (latency_ms / max(policy.latency_sla_ms, 1.0) - 1) / 2)
        return Signal(key, title, TUNE, strength, f"{text} A shorter question to a smaller model is faster.", (name,))
    if policy.latency_sla_ms < policy.latency_sensitive_ms:
        sentence = f"{text} Below {policy.latency_sensitive_ms:,.0f} ms every token that is read counts."
        return Signal(key, title, TUNE, 0.3, sentence, (name,))
    return Signal(key, title, "", 0.0, text, (name,))


def accuracy(evidence: Evidence, policy: Policy) -> Signal:
    key, title, name = "accuracy", "Quality against its target", "quality"
    value = _value(evidence, name)
    if value is None:
        return _unknown(key, title, name)
    text = f"{value:.0%} of answers are right, {policy.min_quality:.0%} have to be."
    if value >= policy.min_quality:
        return Signal(key, title, "", 0.0, text, (name,))
    strength = min(1.0, 0.5 + (policy.min_quality - value) / max(policy.min_quality, 0.01))
    better = evidence.get("quality_change")
    if better and better.low > 0:
        return Signal(key, title, TUNE, strength, f"{text} A tuned model was measured to be better.", (name,))
    sentence = f"{text} No other approach has been measured to do better: measure one before you decide for it."
    return Signal(key, title, PROMPT, strength, sentence, (name,))


def _flag_signal(
    evidence: Evidence, key: str, title: str, name: str, pull: tuple[str, float, str], otherwise: str
) -> Signal:
    """Make the signal of a yes-or-no input; `pull` has the approach, the strength and the reason."""
    if not is_flag_set(evidence, name):
        return Signal(key, title, "", 0.0, otherwise, (name,), name in evidence)
    return Signal(key, title, *pull, (name,))


def knowledge(evidence: Evidence, policy: Policy) -> Signal:
    why = "Facts that change are looked up: a tuned model would have learned yesterday's, and invent today's."
    pull = (RETRIEVAL, 1.0, why)
    title, otherwise = "Knowledge that changes", "No facts that change are asked for."
    return _flag_signal(evidence, "knowledge", title, "dynamic_knowledge", pull, otherwise)


def reasoning(evidence: Evidence, policy: Policy) -> Signal:
    pull = (PROMPT, 0.7, "Tuning betters the form and not the depth: let the prompt have it think in steps.")
    title, otherwise = "Reasoning in steps", "No reasoning in steps is asked for."
    return _flag_signal(evidence, "reasoning", title, "complex_reasoning", pull, otherwise)


def style(evidence: Evidence, policy: Policy) -> Signal:
    pull = (TUNE, 0.5, "One voice is held better by a model that learned it than by describing it on every call.")
    title, otherwise = "Style and tone", "No particular voice is asked for."
    return _flag_signal(evidence, "style", title, "consistent_style", pull, otherwise)


def bloat(evidence: Evidence, policy: Policy) -> Signal:
    key, title, names = "bloat", "Prompt bloat", ("prompt_tokens", "examples")
    tokens, examples = (_value(evidence, name) for name in names)
    if tokens is None:
        return _unknown(key, title, "prompt_tokens")
    text = f"The prompt has {tokens:,.0f} tokens and {examples or 0:,.0f} examples"
    over = max(tokens / max(policy.bloat_tokens, 1.0), (examples or 0) / max(policy.bloat_examples, 1.0))
    if over <= 1:
        return Signal(key, title, "", 0.0, f"{text}: not bloated.", names)
    limit = f"{policy.bloat_tokens:,.0f} tokens or {policy.bloat_examples:,.0f} examples"
    sentence = f"{text}, more than {limit}: take out what repetitions before anything else, then look at tuning."
    return Signal(key, title, TRIM, min(1.0, over / 2), sentence, names)


def readiness(evidence: Evidence, policy: Policy) -> Signal:
    key, title, name = "readiness", "Data readiness", "clean_examples"
    count = _value(evidence, name)
    if count is None:
        return _unknown(key, title, name)
    needed = policy.enough_examples - count
    if needed > 0:
        sentence = f"{count:,.0f} clean examples to learn from: not yet, collect {needed:,.0f} more."
        return Signal(key, title, PROMPT, 0.9, sentence, (name,))
    return Signal(key, title, "", 0.0, f"{count:,.0f} clean examples to learn from are enough.", (name,))


def end_of_life(evidence: Evidence, policy: Policy) -> Signal:
    key, title, name = "end", "End of the base", "base_months_left"
    months = _value(evidence, name)
    if months is None:
        return Signal(key, title, "", 0.0, "No end of the base is known.", (name,), is_known=False)
    if months < policy.horizon_months:
        sentence = f"The base is shut down in {months:.1f} months: what is tuned on it ends then, and is no asset."
        return Signal(key, title, PROMPT, 1.0, sentence, (name,))
    return Signal(key, title, "", 0.0, f"The base lives for {months:.0f} months.", (name,))


def maintenance(evidence: Evidence, policy: Policy) -> Signal:
    more = policy.high_maintenance - policy.low_maintenance
    cost = more * policy.hourly_rate
    sentence = f"A tuned model is one more thing to look after: about {more:g} hours a month more, ${cost:,.0f}."
    return Signal("maintenance", "Maintenance", PROMPT, 0.2, sentence)


def payback(evidence: Evidence, policy: Policy) -> Signal:
    key, title, names = "payback", "Payback", ("monthly_tokens", "prompt_price", "tuned_price", "dev_cost_hours")
    if "monthly_tokens" not in evidence:
        return _unknown(key, title, "monthly_tokens")
    costs = tuning_costs(evidence, policy)
    sentence = payback_sentence(evidence, policy)
    if costs.payback.value <= policy.payback_months:
        return Signal(key, title, TUNE, 0.8, sentence, names)
    return Signal(key, title, PROMPT, 0.6, sentence, names)


def payback_sentence(evidence: Evidence, policy: Policy) -> str:
    """Describe when tuning is paid back; also where nothing is saved, or there is nothing to pay back."""
    costs = tuning_costs(evidence, policy)
    savings, cost = costs.monthly_savings.value, costs.dev_cost.value
    if not cost:
        return "Tuning costs nothing here, so there is nothing to pay back."
    if savings < 0:
        return f"A tuned model would cost ${-savings:,.2f} a month more, so its ${cost:,.2f} are never paid back."
    if not savings:
        return f"Nothing is saved, so the ${cost:,.2f} that tuning takes are never paid back."
    return f"${savings:,.2f} saved a month pay ${cost:,.2f} back in {format_months(costs.payback.value)}; " + (
        f"{policy.payback_months:g} months are allowed."
    )


def format_months(months: float) -> str:
    """Format a number of months."""
    return f"{months:,.1f} months" if months < MIN_MONTHS_IN_YEARS else f"{months / 12:,.0f} years"


def quality(evidence: Evidence, policy: Policy) -> Signal:
    key, title, name = "quality", "Measured quality", "quality_change"
    figure = evidence.get(name)
    if figure is None:
        return Signal(key, title, "", 0.0, "No tuned model has been measured.", (name,), is_known=False)
    text = f"{figure.value:+.3f} against the prompt, between {figure.low:+.3f} and {figure.high:+.3f}"
    if figure.low > 0:
        return Signal(key, title, TUNE, 1.0, f"The tuned model is better: {text}.", (name,))
    if figure.high < 0:
        return Signal(key, title, PROMPT, 1.0, f"The tuned model is worse: {text}.", (name,))
    return Signal(key, title, "", 0.0, f"No difference in quality is shown: {text}.", (name,))


SIGNALS: Mapping[str, Callable[[Evidence, Policy], Signal]] = {
    "volume": volume,
    "format": strict_format,
    "accuracy": accuracy,
    "knowledge": knowledge,
    "latency": latency,
    "reasoning": reasoning,
    "style": style,
    "bloat": bloat,
    "readiness": readiness,
    "end": end_of_life,
    "maintenance": maintenance,
    "payback": payback,
    "quality": quality,
}
