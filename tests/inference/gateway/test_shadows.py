"""Shadows: an arm is asked beside what is served, within its budget, and nobody is served it."""

from decimal import Decimal
from typing import Any

import pytest

from inference.calls import shadow_pairs
from inference.experiments import lifecycle, paired, runs, steering
from inference.gateway.experiments.shadowing import is_asked, is_same
from inference.gateway.plans import Shadow
from inference.models import Call, ExperimentRun, ShadowPair, UsageRollup
from registry.models import PromptVersion
from registry.promotions import workflow
from registry.prompts import versions
from tests.conftest import Stage
from tests.evaluations.conftest import routing
from tests.inference.experiments.conftest import approve_arm
from tests.inference.gateway.conftest import TICKET, GatewayProcess
from tests.waiting import soon


def start(stage: Stage, live: PromptVersion, *, percent: float = 100, daily_usd: float = 1) -> ExperimentRun:
    """Begin an experiment with a shadow alone: a version that knows no examples."""
    content = {**routing(), "messages": [routing()["messages"][0], routing()["messages"][-1]]}
    shadow = versions.commit(stage.edith, live.prompt, content=content, message="shadow").version
    approve_arm(stage, shadow)
    document = {
        "prompt": live.prompt.name,
        "baseline": f"{live.prompt.name}@production",
        "shadow": {"version": f"{live.prompt.name}@{shadow.number}", "percent": percent, "daily_usd": daily_usd},
        "primary": {"metric": "cost"},
    }
    lifecycle.commit(stage.edith, "beside", document)
    experiment = lifecycle.get_experiment(stage.project, "beside")
    promotion = lifecycle.propose(stage.edith, experiment, stage.environment("production"))
    workflow.approve(stage.rhea, promotion)
    return runs.running(release=workflow.apply(stage.edith, promotion)).get()


def ask(gateway: GatewayProcess, count: int) -> list[str]:
    answers = []
    for number in range(count):
        answer = gateway.client.chat.completions.with_raw_response.create(
            model="prompt:support.route", messages=[{"role": "user", "content": f"{TICKET} {number}"}]
        )
        answers.append(answer.headers["X-Cuebook-Version"])
    return answers


def test_a_shadow_is_asked_and_served_to_nobody(live: PromptVersion, live_stage: Stage, gateway: GatewayProcess):
    run = start(live_stage, live)
    assert soon(lambda: ask(gateway, 1) and ShadowPair.objects.exists(), 20)

    assert set(ask(gateway, 70)) == {"support.route@1"}

    # One at a time was asked, so each has had its turn.
    assert soon(lambda: ShadowPair.objects.count() >= 70, 20)
    assert set(Call.objects.values_list("version__number", flat=True)) == {1}
    assert set(UsageRollup.objects.values_list("version__number", flat=True)) == {1}
    references = Call.objects.values_list("reference", flat=True)
    assert soon(lambda: set(ShadowPair.objects.values_list("call", flat=True)) <= set(references.all()))
    (shadow,) = paired.read(run)
    assert (shadow["arm"], shadow["beside"], shadow["pairs"]) == ("v2", "v1", ShadowPair.objects.count())
    assert shadow["spent_today_usd"] == pytest.approx(float(sum(p.cost_usd for p in ShadowPair.objects.all())))
    cost = next(verdict for verdict in shadow["verdicts"] if verdict["metric"] == "cost")
    # Without examples it is asked less.
    assert cost["value"] < cost["baseline_value"]
    steering.look_at_all()
    assert runs.get_run(live_stage.project, run.pk).figures["shadows"][0]["pairs"] == shadow["pairs"]


def test_a_budget_that_is_used_up_ends_it_for_the_day(live: PromptVersion, live_stage: Stage, gateway: GatewayProcess):
    run = start(live_stage, live, daily_usd=0.0002)
    assert soon(lambda: ask(gateway, 1) and ShadowPair.objects.exists(), 20)
    ask(gateway, 30)
    soon(lambda: False, 1.5)
    pairs = ShadowPair.objects.count()
    spent = sum((pair.cost_usd for pair in ShadowPair.objects.all()), Decimal())
    assert pairs < 20
    # The answer that passes it is paid for.
    assert Decimal("0.0002") <= spent < Decimal("0.0004")
    assert (
        shadow_pairs.cost_of_others(run.arms.get().pk, ShadowPair.objects.first().at.date(), process="").dollars
        == spent
    )


def test_of_so_many_calls():
    shadow: Any = Shadow(7, None, 2_500, Decimal(1))  # type: ignore[arg-type]
    count = sum(is_asked(f"call-{number}", shadow) for number in range(8_000))
    assert 1_800 < count < 2_200


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("billing", " billing\n", True),
        ("billing", "incident", False),
        ('{"a": 1, "b": 2}', '{"b": 2, "a": 1.0}', True),
        ('{"a": 1}', "{a: 1}", False),
        ("[" * 100_000, "[" * 100_000, True),
    ],
)
def test_what_answered_alike(first: str, second: str, same: bool):
    assert is_same(first, second) is same
