"""Prompt, trimming, retrieval, fine-tune or hybrid: a recommendation from evidence and money that can be checked. Pure.

finetunes.strategy.published_decision is the published function to the letter. `recommend` is what its text says: tuning where latency
or format is out of bounds or the volume is high, and where it pays back in time; a hybrid where it is needed and does
not pay, or pays and something must stay in the prompt; retrieval for facts that change; first of all a shorter prompt,
where it is bloated. Each answer has how sure it is, and what would change it.
"""

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from finetunes.strategy import costs, signals
from finetunes.strategy.evidence import INPUTS, SIGNED, Evidence, Figure, Origin, is_so, missing
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
# How much of a tuned model is in an answer: what more volume never lowers.
TUNING = {UNKNOWN: 0, PROMPT: 0, TRIM: 0, RETRIEVAL: 0, HYBRID: 1, TUNE: 2}
DRAWS = 300
SEED = 20270106
# Between these factors of what an input is now, another answer is looked for.
SMALLEST, LARGEST, STEPS, HALVINGS = 0.01, 100.0, 24, 18
FLIPPING = (
    *("monthly_tokens", "latency_ms", "format_error_rate", "dev_cost_hours", "prompt_price", "tuned_price"),
    *("prompt_tokens", "examples", "clean_examples", "base_months_left"),
)


@dataclass(frozen=True)
class Flip:
    """The nearest value of an input, other things equal, with which the answer would be another one."""

    name: str
    now: float
    value: float
    answer: str

    @property
    def sentence(self) -> str:
        way = "down to" if self.value < self.now else "up to"
        return f"{INPUTS[self.name].title} {way} {amount(self.value, self.name)}: {TITLES[self.answer].lower()}."

    def as_dict(self) -> dict[str, Any]:
        members = {"input": self.name, "now": self.now, "value": self.value, "strategy": self.answer}
        return {**members, "sentence": self.sentence}


@dataclass(frozen=True)
class Recommendation:
    """`confidence` is the share of draws from the inputs' intervals that come to the same answer; `needs` what has to
    be measured where there is too little."""

    strategy: str
    confidence: float
    reasons: list[str]
    signals: list[Signal]
    flips: list[Flip]
    needs: list[str]
    evidence: Evidence
    policy: Policy

    def as_dict(self) -> dict[str, Any]:
        found = costs.money(self.evidence, self.policy)
        payback, even = found.payback.value, found.break_even
        has_volume = "monthly_tokens" in self.evidence
        return {
            "strategy": self.strategy,
            "title": TITLES[self.strategy],
            "confidence": round(self.confidence, 3),
            "reasons": self.reasons,
            "signals": [one.as_dict() for one in self.signals],
            "conflicts": conflicts(self.signals),
            "flips": [one.as_dict() for one in self.flips],
            "needs": self.needs,
            "payback_months": payback if has_volume and isfinite(payback) else None,
            "monthly_savings_usd": found.monthly_savings.to("USD/month") if has_volume else None,
            "dev_cost_usd": found.dev_cost.to("USD"),
            "break_even_tokens": even.to("token/month") if even is not None else None,
            "tco_usd": costs.ranges(self.evidence, self.policy) if has_volume else None,
        }


def recommend(evidence: Evidence, policy: Policy) -> Recommendation:
    """The answer for an evidence, with its reasons, how sure it is, and what would change it."""
    answer, reasons = decide(evidence, policy)
    needs = missing(evidence, ("monthly_tokens", "latency_ms", "format_error_rate")) if answer == UNKNOWN else []
    return Recommendation(
        strategy=answer,
        confidence=0.0 if answer == UNKNOWN else confidence(evidence, policy, answer),
        reasons=reasons,
        signals=signals.all_of(evidence, policy),
        flips=[] if answer == UNKNOWN else list(flips(evidence, policy, answer)),
        needs=needs,
        evidence=evidence,
        policy=policy,
    )


def decide(evidence: Evidence, policy: Policy) -> tuple[str, list[str]]:
    """The answer, and why."""
    volume, errors, latency = (_value(evidence, one) for one in ("monthly_tokens", "format_error_rate", "latency_ms"))
    if volume is None or (errors is None and latency is None):
        return UNKNOWN, ["Nobody knows enough: the volume, and the latency or the format errors, have to be measured."]
    over = [*(["latency"] if _over(latency, policy.latency_sla_ms) else [])]
    over += ["format errors"] if _over(errors, policy.format_error_rate) else []
    pays = costs.money(evidence, policy).payback.value <= policy.payback_months
    as_hybrid = costs.money(evidence, policy, policy.hybrid_share).payback.value
    hybrid_pays = as_hybrid <= policy.payback_months
    blocked = _blocked(evidence, policy)
    is_wanted = bool(over) or is_so(evidence, "consistent_style") or volume >= policy.token_cutoff
    reasons = [f"Out of bounds: {' and '.join(over)}."] if over else ["Latency and format are within bounds."]
    reasons.append(signals.payback_sentence(evidence, policy))
    if blocked and is_wanted:
        reasons.append(blocked)
    can = not blocked
    if is_so(evidence, "dynamic_knowledge"):
        reasons.append("Facts that change are looked up, whatever else is done.")
        return (HYBRID if can and hybrid_pays and is_wanted else RETRIEVAL), reasons
    if is_so(evidence, "complex_reasoning"):
        reasons.append("Reasoning stays with the prompt; tuning would better the form alone.")
        return (HYBRID if can and hybrid_pays and over else _shorter(evidence, policy, reasons)), reasons
    if over and can:
        if pays:
            return TUNE, [*reasons, "It pays back in time."]
        reasons.append("It does not pay back in time: tune for the form, keep the prompt.")
        if as_hybrid > policy.horizon_months:
            cost = costs.dev_cost(evidence, policy).value
            told = f"So the ${cost:,.0f} are the price of staying within bounds, and save nothing."
            reasons.append(
                f"{told} See first whether a stricter format or a clearer prompt stays within them for less."
            )
        return HYBRID, reasons
    if can and pays and is_wanted and volume >= policy.high_volume:
        return TUNE, [*reasons, f"{volume:,.0f} tokens a month are a high volume."]
    if can and hybrid_pays and is_wanted:
        told = f"A hybrid keeps {policy.hybrid_share:.0%} of that and is paid back in {signals.stretch(as_hybrid)}."
        return HYBRID, [*reasons, told]
    return _shorter(evidence, policy, reasons), reasons


def _shorter(evidence: Evidence, policy: Policy, reasons: list[str]) -> str:
    """The prompt as it is, or a shorter one where it is bloated."""
    if signals.bloat(evidence, policy).pulls == signals.TRIM:
        reasons.append("The prompt is bloated: a shorter one is the cheapest step.")
        return TRIM
    return PROMPT


def _blocked(evidence: Evidence, policy: Policy) -> str:
    """Why nothing can be tuned, whatever it would save; empty where it can."""
    for signal in (signals.end_of_life(evidence, policy), signals.readiness(evidence, policy)):
        if signal.pulls:
            return signal.sentence
    measured = signals.quality(evidence, policy)
    return measured.sentence if measured.pulls == signals.PROMPT else ""


def _value(evidence: Evidence, name: str) -> float | None:
    found = evidence.get(name)
    return found.value if found else None


def _over(value: float | None, limit: float) -> bool:
    return value is not None and value > limit


def confidence(evidence: Evidence, policy: Policy, answer: str) -> float:
    """The share of draws from the inputs' intervals that have the same answer. Measured ones are drawn as normal round
    their value (an interval is two standard errors either way), what was typed in or taken from the table evenly."""
    lot = random.Random(SEED)  # noqa: S311  # Drawn the same each time, so that the same evidence is as sure.
    # Of the tuned model's quality the interval itself is what counts: a drawn point would be sure of what is not shown.
    spared = {name for name, kind in INPUTS.items() if kind.is_flag} | SIGNED
    unsure = {name: one for name, one in evidence.items() if one.high > one.low and name not in spared}
    if not unsure:
        return 1.0
    same = 0
    for _ in range(DRAWS):
        # In one order, whatever order they were read in: the same evidence is drawn from in the same way.
        drawn = {name: _drawn(unsure[name], lot) for name in sorted(unsure)}
        same += decide({**evidence, **drawn}, policy)[0] == answer
    return same / DRAWS


def _drawn(figure: Figure, lot: random.Random) -> Figure:
    if figure.origin == Origin.MEASURED:
        # Intervals need not lie evenly round their figure.
        step = lot.gauss(0, 0.5)
        value = figure.value + (step * (figure.high - figure.value) if step > 0 else step * (figure.value - figure.low))
    else:
        value = lot.uniform(figure.low, figure.high)
    return Figure(value, value, value, figure.origin)


def flips(evidence: Evidence, policy: Policy, answer: str) -> Iterator[Flip]:
    """What would change the answer: of each input the nearest such value either way, between a hundredth and a hundred
    times what it is."""
    for name in FLIPPING:
        figure = evidence.get(name)
        if figure is None or figure.value <= 0:
            continue
        for end in (SMALLEST, LARGEST):
            found = _nearest(evidence, policy, answer, name, end)
            if found:
                yield found


def _nearest(evidence: Evidence, policy: Policy, answer: str, name: str, end: float) -> Flip | None:
    figure = evidence[name]

    def at(factor: float) -> str:
        value = min(figure.value * factor, INPUTS[name].largest)
        return decide({**evidence, name: Figure(value, value, value, figure.origin)}, policy)[0]

    same = 1.0
    for step in range(1, STEPS + 1):
        factor = end ** (step / STEPS)
        if at(factor) != answer:
            break
        same = factor
    else:
        return None
    for _ in range(HALVINGS):
        middle = (same * factor) ** 0.5
        same, factor = (middle, factor) if at(middle) == answer else (same, middle)
    return Flip(name, figure.value, figure.value * factor, at(factor))


def conflicts(found: list[Signal]) -> list[str]:
    """Strong signals that pull different ways, in words."""
    strong = [one for one in found if one.pulls and one.strength >= 0.5]
    for_tuning = [one.title.lower() for one in strong if one.pulls == signals.TUNE]
    against = [one.title.lower() for one in strong if one.pulls in (signals.PROMPT, signals.RETRIEVAL)]
    if not for_tuning or not against:
        return []
    return [f"Towards tuning: {', '.join(for_tuning)}. Away from it: {', '.join(against)}."]


def amount(value: float, name: str) -> str:
    """An input's value for people."""
    unit = INPUTS[name].unit
    if INPUTS[name].is_flag:
        return "yes" if value >= 0.5 else "no"
    if not unit:
        return f"{value:.1%}"
    if unit.startswith("USD"):
        per = {"USD/Mtoken": " for 1M tokens"}.get(unit, "")
        return f"${value:,.2f}{per}"
    is_whole = value >= 10 or value == round(value)
    return f"{value:,.0f} {measure(name)}" if is_whole else f"{value:,.1f} {measure(name)}"


def measure(name: str) -> str:
    """In what an input is counted, for people."""
    unit = INPUTS[name].unit
    told = {
        "": "a share from 0 to 1",
        "ms": "ms",
        "token/month": "tokens a month",
        "USD": "US dollars",
        "USD/Mtoken": "US dollars for 1M tokens",
    }
    return told.get(unit, f"{unit}s")
