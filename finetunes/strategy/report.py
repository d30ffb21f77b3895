"""A recommendation as Markdown, to be sent around or printed."""

from collections.abc import Iterator

from finetunes.models import StrategyRecommendation
from finetunes.strategy import costs, decision, evidence, signals
from finetunes.strategy.evidence import INPUTS


def markdown(kept: StrategyRecommendation) -> str:
    """The whole report: answer, reasons, what would change it, money, signals, and where each figure comes from."""
    return "\n".join(_lines(kept)) + "\n"


def _lines(kept: StrategyRecommendation) -> Iterator[str]:
    result = kept.result
    yield f"# {decision.TITLES.get(kept.strategy, kept.strategy)}"
    yield ""
    about = f"Recommendation {kept.pk} for {kept.version}" if kept.version else f"Recommendation {kept.pk}"
    policy = "the published function" if kept.policy == "seed" else f"policy {kept.policy_number}"
    yield f"{about}, by {policy}, {kept.created_at:%Y-%m-%d %H:%M} UTC, asked for by {kept.by_name}."
    if kept.is_simulation:
        yield ""
        yield "**A simulation:** figures of made-up models or calls are among the inputs."
    yield ""
    yield from (f"* {one}" for one in [*result["reasons"], *result.get("conflicts", ())])
    if result.get("confidence") is not None:
        yield ""
        yield f"{result['confidence']:.0%} of draws from the inputs' intervals come to the same answer."
    yield from _flips(kept)
    yield from _money(kept)
    yield from _signals(kept)
    yield ""
    yield "## What it rests on"
    yield ""
    yield "| input | value | origin | from |"
    yield "|---|---|---|---|"
    for name, figure in evidence.stored(kept.inputs).items():
        shown = decision.amount(figure.value, name)
        yield f"| {INPUTS[name].title} | {shown} | {figure.origin} | {_cell(figure.source)} |"


def _flips(kept: StrategyRecommendation) -> Iterator[str]:
    if kept.result.get("flips"):
        yield ""
        yield "## What would change it"
        yield ""
        yield from (f"* {one['sentence']}" for one in kept.result["flips"])


def _money(kept: StrategyRecommendation) -> Iterator[str]:
    result = kept.result
    yield ""
    yield "## Money"
    yield ""
    yield f"* {_payback(kept)}"
    if result.get("break_even_tokens") is not None:
        yield f"* Pays back in time from {result['break_even_tokens']:,.0f} tokens a month on."
    if result.get("tco_usd"):
        yield ""
        yield f"| approach | {kept.policy_members['horizon_months']:g} months | between |"
        yield "|---|---|---|"
        for one in costs.APPROACHES:
            found = result["tco_usd"][one]
            low, high = f"${found['low']:,.0f}", f"${found['high']:,.0f}"
            yield f"| {decision.TITLES[one]} | ${found['value']:,.0f} | {low} and {high} |"


def _payback(kept: StrategyRecommendation) -> str:
    payback = kept.result["payback_months"]
    if payback is None and kept.policy != "seed" and "monthly_tokens" not in kept.inputs:
        return "Nobody knows the volume, so nobody knows when it is paid back."
    if payback is None or payback < 0:
        return "Never paid back: nothing is saved."
    return f"Paid back in {signals.stretch(payback)}."


def _signals(kept: StrategyRecommendation) -> Iterator[str]:
    if not kept.result.get("signals"):
        return
    yield ""
    yield "## Signals"
    yield ""
    yield "| signal | pulls to | strength | |"
    yield "|---|---|---|---|"
    for one in kept.result["signals"]:
        yield f"| {one['title']} | {one['pulls'] or '–'} | {one['strength']:.2f} | {_cell(one['sentence'])} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
