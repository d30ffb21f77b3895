"""Recommendation of prompt, trimming, retrieval, fine-tune or hybrid, from evidence and costs. Pure.

finetunes.strategy.published_decision is the published function to the letter. `recommend` follows its text: tuning
where latency, format or quality is out of bounds or the volume is high, and where it pays back in time; a hybrid where
it is needed and does not pay, or pays and something must stay in the prompt; retrieval for facts that change; first of
all a shorter prompt, where it is bloated. What never pays back comes after cheaper remedies, unless it was measured to
help. Each answer comes with its confidence and its sensitivity.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from finetunes.strategy import costs, signals
from finetunes.strategy.evidence import (
    INPUTS,
    SIGNED,
    Evidence,
    Figure,
    Origin,
    contradictions,
    is_flag_set,
    missing_titles,
)
from finetunes.strategy.policy import Policy
from finetunes.strategy.signals import Signal

PROMPT, TRIM, RETRIEVAL, TUNE, HYBRID, UNKNOWN = (
    *("prompt", "trim", "retrieval", "fine-tune", "hybrid"),
    "not-enough-evidence",
)
TITLES: Mapping[str, str] = {
    PROMPT: "Stay with the prompt",
    TRIM: "Make the prompt shorter",
    RETRIEVAL: "Look facts up",
    TUNE: "Tune a model",
    HYBRID: "Tune a model, and keep a prompt",
    UNKNOWN: "Not enough evidence",
}
# How much tuning each answer has in it. More volume never lowers it.
TUNING = {UNKNOWN: 0, PROMPT: 0, TRIM: 0, RETRIEVAL: 0, HYBRID: 1, TUNE: 2}
DRAWS = 300
MAX_CONFIDENCE = 0.99
# Ours: what is paid back later than this is never paid back: base models live about three years.
NEVER_MONTHS = 36
RNG_SEED = 20270106
# Another answer is searched for between these factors of an input's present value.
MIN_FACTOR, MAX_FACTOR, FACTOR_STEPS, BISECTIONS = 0.01, 100.0, 24, 18
SENSITIVITY_INPUTS = (
    *("monthly_tokens", "latency_ms", "format_error_rate", "dev_cost_hours", "prompt_price", "tuned_price"),
    *("quality", "prompt_tokens", "examples", "clean_examples", "base_months_left"),
)


@dataclass(frozen=True)
class Sensitivity:
    """The nearest value of an input at which the answer would change, all else being equal."""

    name: str
    now: float
    value: float
    answer: str

    @property
    def sentence(self) -> str:
        way = "down to" if self.value < self.now else "up to"
        return f"{INPUTS[self.name].title} {way} {format_amount(self.value, self.name)}: {TITLES[self.answer].lower()}."

    def as_dict(self) -> dict[str, Any]:
        members = {"input": self.name, "now": self.now, "value": self.value, "strategy": self.answer}
        return {**members, "sentence": self.sentence}


@dataclass(frozen=True)
class Recommendation:
    """The answer for an evidence. `confidence` is the share of draws from the inputs' intervals with the same answer;
    `needs` lists what has to be measured where there is too little."""

    strategy: str
    confidence: float
    reasons: list[str]
    signals: list[Signal]
    sensitivity: list[Sensitivity]
    needs: list[str]
    evidence: Evidence
    policy: Policy

    def as_dict(self) -> dict[str, Any]:
        costs_of_tuning = costs.tuning_costs(self.evidence, self.policy)
        payback, break_even = costs_of_tuning.payback.value, costs_of_tuning.break_even
        has_volume = "monthly_tokens" in self.evidence
        return {
            "strategy": self.strategy,
            "title": TITLES[self.strategy],
            "confidence": round(self.confidence, 3),
            "reasons": self.reasons,
            "signals": [signal.as_dict() for signal in self.signals],
            "conflicts": [*contradictions(self.evidence), *conflicts(self.signals)],
            "cost_per_1000_calls_usd": costs.costs_per_1000_calls(self.evidence, self.policy),
            "flips": [change.as_dict() for change in self.sensitivity],
            "needs": self.needs,
            "payback_months": payback if has_volume and isfinite(payback) else None,
            "monthly_savings_usd": costs_of_tuning.monthly_savings.to("USD/month") if has_volume else None,
            "dev_cost_usd": costs_of_tuning.dev_cost.to("USD"),
            "break_even_tokens": break_even.to("token/month") if break_even is not None else None,
            "tco_usd": costs.total_cost_ranges(self.evidence, self.policy) if has_volume else None,
        }


def recommend(evidence: Evidence, policy: Policy) -> Recommendation:
    """Return the answer for an evidence, with its reasons, confidence and sensitivity."""
    answer, reasons = decide(evidence, policy)
    every_signal = signals.all_signals(evidence, policy)
    needs = missing_titles(evidence, ("monthly_tokens", "latency_ms", "format_error_rate")) if answer == UNKNOWN else []
    return Recommendation(
        strategy=answer,
        confidence=0.0 if answer == UNKNOWN else confidence(evidence, policy, answer),
        reasons=reasons,
        signals=every_signal,
        sensitivity=[] if answer == UNKNOWN else list(sensitivity(evidence, policy, answer)),
        needs=needs,
        evidence=evidence,
        policy=policy,
    )


def decide(evidence: Evidence, policy: Policy) -> tuple[str, list[str]]:
    """Return the answer and its reasons."""
    volume, errors, latency = (_value(evidence, name) for name in ("monthly_tokens", "format_error_rate", "latency_ms"))
    if volume is None or (errors is None and latency is None):
        return UNKNOWN, ["Not enough is known: the volume, and the latency or the format errors, have to be measured."]
    breaches = [*(["latency"] if _is_over(latency, policy.latency_sla_ms) else [])]
    breaches += ["format errors"] if _is_over(errors, policy.format_error_rate) else []
    quality = _value(evidence, "quality")
    breaches += ["quality"] if quality is not None and quality < policy.min_quality else []
    pays = costs.tuning_costs(evidence, policy).payback.value <= policy.payback_months
    as_hybrid = costs.tuning_costs(evidence, policy, policy.hybrid_share).payback.value
    hybrid_pays = as_hybrid <= policy.payback_months
    blocked = _tuning_obstacle(evidence, policy)
    is_wanted = bool(breaches) or is_flag_set(evidence, "consistent_style") or volume >= policy.token_cutoff
    within = (
        "Latency and format are within bounds." if quality is None else "Latency, format and quality are within bounds."
    )
    reasons = [f"Out of bounds: {' and '.join(breaches)}."] if breaches else [within]
    reasons.append(signals.payback_sentence(evidence, policy))
    if blocked and is_wanted:
        reasons.append(blocked)
    can_tune = not blocked
    if is_flag_set(evidence, "dynamic_knowledge"):
        reasons.append("Facts that change are looked up, whatever else is done.")
        return (HYBRID if can_tune and hybrid_pays and is_wanted else RETRIEVAL), reasons
    if is_flag_set(evidence, "complex_reasoning"):
        reasons.append("Reasoning stays with the prompt; tuning would better the form alone.")
        return (
            HYBRID if can_tune and hybrid_pays and breaches else _prompt_or_trim(evidence, policy, reasons)
        ), reasons
    if breaches and can_tune:
        if pays:
            return TUNE, [*reasons, "It pays back in time."]
        never_pays = as_hybrid > NEVER_MONTHS
        if never_pays and not _is_proven(evidence, policy, breaches):
            reasons.append("No tuned model has been measured to stay within bounds, so these come first:")
            reasons += remedies(evidence, breaches)
            return _prompt_or_trim(evidence, policy, reasons), reasons
        reasons.append("It does not pay back in time: tune for the form, keep the prompt.")
        if never_pays:
            cost = costs.dev_cost(evidence, policy).value
            reasons.append(f"So the ${cost:,.0f} are the price of staying within bounds, and save nothing.")
        return HYBRID, reasons
    if can_tune and pays and is_wanted and volume >= policy.high_volume:
        return TUNE, [*reasons, f"{volume:,.0f} tokens a month are a high volume."]
    if can_tune and hybrid_pays and is_wanted:
        sentence = (
            f"A hybrid keeps {policy.hybrid_share:.0%} of that and is paid back in {signals.format_months(as_hybrid)}."
        )
        return HYBRID, [*reasons, sentence]
    return _prompt_or_trim(evidence, policy, reasons), reasons


def _is_proven(evidence: Evidence, policy: Policy, breaches: Sequence[str]) -> bool:
    """Return whether a tuned model was measured to be within bounds wherever the prompt is not."""
    latency, errors = (_value(evidence, name) for name in ("tuned_latency_ms", "tuned_format_error_rate"))
    change = evidence.get("quality_change")
    proven = {
        "latency": latency is not None and latency <= policy.latency_sla_ms,
        "format errors": errors is not None and errors <= policy.format_error_rate,
        "quality": change is not None and change.low > 0,
    }
    return all(proven[breach] for breach in breaches)


def remedies(evidence: Evidence, breaches: Sequence[str]) -> list[str]:
    """Return what is cheaper than tuning and has not been tried, for each thing that is out of bounds."""
    sentences = []
    if "format errors" in breaches and not is_flag_set(evidence, "schema_enforced"):
        sentences.append("Have the provider hold answers to a JSON Schema (the response format, strict).")
    if "latency" in breaches:
        sentences.append("Measure a faster model, or a shorter prompt.")
    if {"format errors", "quality"} & set(breaches):
        if not is_flag_set(evidence, "examples_picked"):
            sentences.append("Pick the examples that are nearest to each question.")
        sentences.append("Compare clearer wordings and larger models in a sweep.")
    return sentences


def _prompt_or_trim(evidence: Evidence, policy: Policy, reasons: list[str]) -> str:
    """Choose the prompt as it is, or a shorter one where it is bloated."""
    if signals.bloat(evidence, policy).pulls == signals.TRIM:
        reasons.append("The prompt is bloated: a shorter one is the cheapest step.")
        return TRIM
    return PROMPT


def _tuning_obstacle(evidence: Evidence, policy: Policy) -> str:
    """Return the reason why nothing can be tuned, whatever it would save; empty where it can."""
    for signal in (signals.end_of_life(evidence, policy), signals.readiness(evidence, policy)):
        if signal.pulls:
            return signal.sentence
    measured = signals.quality(evidence, policy)
    return measured.sentence if measured.pulls == signals.PROMPT else ""


def _value(evidence: Evidence, name: str) -> float | None:
    figure = evidence.get(name)
    return figure.value if figure else None


def _is_over(value: float | None, limit: float) -> bool:
    return value is not None and value > limit


def confidence(evidence: Evidence, policy: Policy, answer: str) -> float:
    """Return the share of draws from the inputs' intervals that have the same answer. Measured inputs are drawn from a
    normal distribution round their value (an interval is two standard errors either way), others uniformly. It never is
    1: by the rule of succession (Laplace) even draws that all agree leave some doubt, and what no interval covers
    leaves more."""
    rng = random.Random(RNG_SEED)  # noqa: S311  # Drawn the same each time, so that the same evidence is as sure.
    # For the tuned model's quality the interval itself counts: a drawn point would claim what has not been shown.
    excluded = {name for name, kind in INPUTS.items() if kind.is_flag} | SIGNED
    uncertain = {name: figure for name, figure in evidence.items() if figure.high > figure.low and name not in excluded}
    if not uncertain:
        return MAX_CONFIDENCE
    same_count = 0
    for _ in range(DRAWS):
        # In a fixed order, so that the same evidence gives the same draws.
        drawn = {name: _drawn(uncertain[name], rng) for name in sorted(uncertain)}
        same_count += decide({**evidence, **drawn}, policy)[0] == answer
    return min(MAX_CONFIDENCE, (same_count + 1) / (DRAWS + 2))


def _drawn(figure: Figure, rng: random.Random) -> Figure:
    if figure.origin == Origin.MEASURED:
        # Intervals need not be symmetric.
        step = rng.gauss(0, 0.5)
        value = figure.value + (step * (figure.high - figure.value) if step > 0 else step * (figure.value - figure.low))
    else:
        value = rng.uniform(figure.low, figure.high)
    return Figure(value, value, value, figure.origin)


def sensitivity(evidence: Evidence, policy: Policy, answer: str) -> Iterator[Sensitivity]:
    """Find what would change the answer: for each input the nearest such value either way, between a hundredth and a
    hundred times its present value."""
    for name in SENSITIVITY_INPUTS:
        figure = evidence.get(name)
        if figure is None or figure.value <= 0:
            continue
        for end in (MIN_FACTOR, MAX_FACTOR):
            change = _nearest_change(evidence, policy, answer, name, end)
            if change:
                yield change


def _nearest_change(evidence: Evidence, policy: Policy, answer: str, name: str, end: float) -> Sensitivity | None:
    figure = evidence[name]

    def answer_at(factor: float) -> str:
        value = min(figure.value * factor, INPUTS[name].maximum)
        return decide({**evidence, name: Figure(value, value, value, figure.origin)}, policy)[0]

    same_factor = 1.0
    for step in range(1, FACTOR_STEPS + 1):
        factor = end ** (step / FACTOR_STEPS)
        if answer_at(factor) != answer:
            break
        same_factor = factor
    else:
        return None
    for _ in range(BISECTIONS):
        middle = (same_factor * factor) ** 0.5
        same_factor, factor = (middle, factor) if answer_at(middle) == answer else (same_factor, middle)
    return Sensitivity(name, figure.value, figure.value * factor, answer_at(factor))


def conflicts(every_signal: list[Signal]) -> list[str]:
    """Describe strong signals that pull different ways."""
    strong = [signal for signal in every_signal if signal.pulls and signal.strength >= 0.5]
    for_tuning = [signal.title.lower() for signal in strong if signal.pulls == signals.TUNE]
    against = [signal.title.lower() for signal in strong if signal.pulls in (signals.PROMPT, signals.RETRIEVAL)]
    if not for_tuning or not against:
        return []
    return [f"Towards tuning: {', '.join(for_tuning)}. Away from it: {', '.join(against)}."]


def format_amount(value: float, name: str) -> str:
    """Format an input's value with its unit."""
    unit = INPUTS[name].unit
    if INPUTS[name].is_flag:
        return "yes" if value >= 0.5 else "no"
    if not unit:
        return f"{value:.1%}"
    if unit.startswith("USD"):
        per = {"USD/Mtoken": " for 1M tokens"}.get(unit, "")
        return f"${value:,.2f}{per}"
    is_whole = value >= 10 or value == round(value)
    return f"{value:,.0f} {unit_title(name)}" if is_whole else f"{value:,.1f} {unit_title(name)}"


def unit_title(name: str) -> str:
    """Return the unit of an input in words."""
    unit = INPUTS[name].unit
    titles = {
        "": "a share from 0 to 1",
        "ms": "ms",
        "token/month": "input tokens a month",
        "USD": "US dollars",
        "USD/Mtoken": "US dollars for 1M tokens",
    }
    return titles.get(unit, f"{unit}s")
