"""Two people at once: each race is made to happen between real connections."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from django.db import connection

from core.errors import Problem
from registry.models import Promotion, PromotionStatus, Release
from registry.promotions import environments, releases, workflow
from registry.promotions.approvals import get_approval_status
from registry.promotions.environments import Rules
from registry.prompts import lifecycle as prompts
from registry.prompts import versions
from tests.conftest import Stage, chat


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """What each act returned or how it was refused, all started together."""
    barrier = Barrier(len(acts))

    def run(act: Callable[[], Any]) -> Any:
        barrier.wait()
        try:
            return act()
        except Problem as problem:
            return problem.code
        finally:
            connection.close()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


def approved(stage: Stage, text: str = "Sort tickets", name: str = "support.triage") -> Promotion:
    prompt = stage.prompt(name)
    promotion = workflow.request(stage.edith, prompt, stage.commit(prompt, text), stage.environment("production"))
    workflow.approve(stage.rhea, promotion)
    return promotion


def test_two_applies_make_one_release(live_stage: Stage):
    promotion = approved(live_stage)

    outcomes = at_once(*[lambda: workflow.apply(live_stage.edith, promotion)] * 4)

    assert sorted(map(str, (type(outcome).__name__ for outcome in outcomes))) == ["Release", "str", "str", "str"]
    assert {outcome for outcome in outcomes if isinstance(outcome, str)} == {"promotion.wrong_state"}
    assert Release.objects.count() == 1


def test_an_apply_against_a_rollback_happens_before_or_after_it(live_stage: Stage):
    prompt = live_stage.prompt()
    for text in ("one", "two"):
        live_stage.release(live_stage.commit(prompt, text))
    production = live_stage.environment("production")
    promotion = workflow.request(live_stage.edith, prompt, live_stage.commit(prompt, "three"), production)
    workflow.approve(live_stage.rhea, promotion)

    applied, rolled_back = at_once(
        lambda: workflow.apply(live_stage.edith, promotion),
        lambda: releases.roll_back(live_stage.edith, prompt, production),
    )

    # The rollback always finds something to return to; the apply loses its approval where it comes second.
    assert isinstance(rolled_back, Release)
    numbers = list(Release.objects.order_by("number").values_list("number", flat=True))
    if isinstance(applied, Release):
        assert applied.number == 3
        assert (rolled_back.number, rolled_back.version.number) == (4, 2)
    else:
        assert applied == "promotion.approvals_missing"
        assert (rolled_back.number, rolled_back.version.number) == (3, 1)
    assert numbers == list(range(1, len(numbers) + 1))


def test_an_approval_against_a_change_of_rules_is_never_applied_under_other_rules(live_stage: Stage):
    prompt = live_stage.prompt()
    production = live_stage.environment("production")
    promotion = workflow.request(live_stage.edith, prompt, live_stage.commit(prompt, "one"), production)

    at_once(
        lambda: workflow.approve(live_stage.rhea, promotion),
        lambda: environments.change_rules(live_stage.ada, production, Rules(True, 1, ("quality",))),
    )

    current = workflow.get_promotion(live_stage.project, promotion.pk)
    state = get_approval_status(current)
    # Either the approval came second and was given under the new rules, or it came first and is void.
    assert (current.status == PromotionStatus.APPROVED) == state.is_approved
    assert bool(state.approvals) != bool(state.void)
    refused = at_once(lambda: workflow.apply(live_stage.edith, promotion))
    assert refused[0] in {"promotion.checks_missing", "promotion.approvals_missing"}


def test_two_reviewers_at_once_make_it_approved(live_stage: Stage):
    """Each sees the other's approval: both take the promotion's lock first."""
    prompt = live_stage.prompt()
    production = live_stage.environment("production")
    environments.change_rules(live_stage.ada, production, Rules(True, 2, ()))
    promotion = workflow.request(live_stage.edith, prompt, live_stage.commit(prompt, "one"), production)

    at_once(lambda: workflow.approve(live_stage.rhea, promotion), lambda: workflow.approve(live_stage.ralf, promotion))

    assert Promotion.objects.get(pk=promotion.pk).status == PromotionStatus.APPROVED


def test_one_reviewer_clicking_twice_approves_once(live_stage: Stage):
    prompt = live_stage.prompt()
    promotion = workflow.request(
        live_stage.edith, prompt, live_stage.commit(prompt, "one"), live_stage.environment("production")
    )

    outcomes = at_once(*[lambda: workflow.approve(live_stage.rhea, promotion)] * 3)

    assert sorted(outcome for outcome in outcomes if isinstance(outcome, str)) == ["promotion.already_approved"] * 2


def test_archiving_a_partial_against_including_it(live_stage: Stage):
    """Either the include is refused or the archiving is; never an archived partial in use."""
    tone = live_stage.prompt("shared.tone")
    live_stage.commit(tone, "Be kind")
    prompt = live_stage.prompt()

    committed, archived = at_once(
        lambda: versions.commit(live_stage.edith, prompt, content=chat("{% include 'shared.tone' %}")).version,
        lambda: prompts.archive(live_stage.edith, tone),
    )

    assert archived == "prompt.in_use" or committed == "template.unknown_include"
    assert isinstance(committed, str) or isinstance(archived, str)


def test_removing_an_environment_against_asking_for_promotion_there(live_stage: Stage):
    prompt = live_stage.prompt()
    version = live_stage.commit(prompt, "one")
    environment = live_stage.environment("staging")

    outcomes = at_once(
        lambda: workflow.request(live_stage.edith, prompt, version, environment),
        *[lambda: environments.remove(live_stage.ada, environment)] * 3,
    )

    assert {outcome for outcome in outcomes if isinstance(outcome, str)} <= {
        "environment.not_found",
        "environment.in_use",
    }


def test_asking_for_promotion_against_archiving(live_stage: Stage):
    prompt = live_stage.prompt()
    version = live_stage.commit(prompt, "one")
    production = live_stage.environment("production")

    promotion, archived = at_once(
        lambda: workflow.request(live_stage.edith, prompt, version, production),
        lambda: prompts.archive(live_stage.edith, prompt),
    )

    assert (promotion == "prompt.archived") != (archived == "prompt.in_use")
