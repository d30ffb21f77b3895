"""Reports of recommendations as Markdown, to share or print."""

from collections.abc import Iterator

from finetunes.models import StrategyRecommendation
from finetunes.strategy import costs, decision, evidence, signals
from finetunes.strategy.evidence import INPUTS


def markdown(recommendation: StrategyRecommendation) -> str:
    """Write the whole report: answer, reasons, sensitivity, costs, signals, and where each figure comes from."""
    return "\n".join(_lines(recommendation)) + "\n"


def _lines(recommendation: StrategyRecommendation) -> Iterator[str]:
    result = recommendation.result
    yield f"# {decision.TITLES.get(recommendation.strategy, recommendation.strategy)}"
    yield ""
    about = (
        f"Recommendation {recommendation.pk} for {recommendation.version}"
        if recommendation.version
        else f"Recommendation {recommendation.pk}"
    )
    policy = "the published function" if recommendation.policy == "seed" else f"policy {recommendation.policy_number}"
    requested = f"{recommendation.created_at:%Y-%m-%d %H:%M} UTC, requested by {recommendation.by_name}"
    yield f"{about}, by {policy}, {requested}."
    if recommendation.is_simulation:
        yield ""
        yield "**A simulation:** figures of made-up models or calls are among the inputs."
    yield ""
    yield from (f"* {reason}" for reason in [*result["reasons"], *result.get("conflicts", ())])
    if result.get("confidence") is not None:
        yield ""
        yield f"{result['confidence']:.0%} of draws from the inputs' intervals come to the same answer."
    yield from _sensitivity_lines(recommendation)
    yield from _cost_lines(recommendation)
    yield from _signal_lines(recommendation)
    yield ""
    yield "## What it rests on"
    yield ""
    yield "| input | value | origin | from |"
    yield "|---|---|---|---|"
    for name, figure in evidence.inputs_from_dict(recommendation.inputs).items():
        amount = decision.format_amount(figure.value, name)
        yield f"| {INPUTS[name].title} | {amount} | {figure.origin} | {_cell(figure.source)} |"


def _sensitivity_lines(recommendation: StrategyRecommendation) -> Iterator[str]:
    if recommendation.result.get("flips"):
        yield ""
        yield "## What would change it"
        yield ""
        yield from (f"* {change['sentence']}" for change in recommendation.result["flips"])


def _cost_lines(recommendation: StrategyRecommendation) -> Iterator[str]:
    result = recommendation.result
    yield ""
    yield "## Costs"
    yield ""
    yield f"* {_payback_text(recommendation)}"
    if result.get("break_even_tokens") is not None:
        yield f"* Pays back in time from {result['break_even_tokens']:,.0f} input tokens a month on."
    by_call = result.get("cost_per_1000_calls_usd")
    if by_call:
        yield "* 1,000 calls: " + ", ".join(f"{name} ${by_call[name]:,.2f}" for name in costs.APPROACHES) + "."
    if result.get("tco_usd"):
        yield ""
        yield f"| approach | {recommendation.policy_members['horizon_months']:g} months | between |"
        yield "|---|---|---|"
        for approach in costs.APPROACHES:
            total = result["tco_usd"][approach]
            low, high = f"${total['low']:,.0f}", f"${total['high']:,.0f}"
            yield f"| {decision.TITLES[approach]} | ${total['value']:,.0f} | {low} and {high} |"


def _payback_text(recommendation: StrategyRecommendation) -> str:
    payback = recommendation.result["payback_months"]
    if payback is None and recommendation.policy != "seed" and "monthly_tokens" not in recommendation.inputs:
        return "The volume is not known, so payback is not known either."
    if payback is None or payback < 0:
        return "Never paid back: nothing is saved."
    return f"Paid back in {signals.format_months(payback)}."


def _signal_lines(recommendation: StrategyRecommendation) -> Iterator[str]:
    if not recommendation.result.get("signals"):
        return
    yield ""
    yield "## Signals"
    yield ""
    yield "| signal | pulls to | strength | |"
    yield "|---|---|---|---|"
    for signal in recommendation.result["signals"]:
        title, pulls, sentence = signal["title"], signal["pulls"] or "–", _cell(signal["sentence"])
        yield f"| {title} | {pulls} | {signal['strength']:.2f} | {sentence} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
