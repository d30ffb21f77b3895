"""The inbox and the buttons: the queries and the pages say what the verbs would say."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction

from core.errors import Problem
from registry.accounts import api_keys, permissions
from registry.accounts.permissions import Actor, Right, actor_for_key
from registry.models import APIKey, Promotion, PromotionStatus
from registry.promotions import approvals, checks, environments, guards, inbox, releases, workflow
from registry.promotions.environments import Rules
from registry.prompts import listing, versions
from tests.conftest import Stage

ALL = ("vera", "edith", "rhea", "ralf", "ada")


def request_promotion(stage: Stage, environment: str = "production", by: Actor | None = None) -> Promotion:
    prompt = stage.project.prompts.filter(name="support.triage").first() or stage.prompt()
    version = stage.commit(prompt, f"text {prompt.versions.count()}")
    return workflow.request(by or stage.edith, prompt, version, stage.environment(environment))


def people(stage: Stage) -> dict[str, Actor]:
    return {name: getattr(stage, name) for name in ALL}


def to_review(stage: Stage) -> set[str]:
    return {name for name, actor in people(stage).items() if inbox.promotions_to_review(actor).exists()}


def test_who_may_approve_sees_it_until_they_have_spoken(stage: Stage):
    row = request_promotion(stage)
    assert to_review(stage) == {"rhea", "ralf", "ada"}

    workflow.request_changes(stage.ralf, row, comment="Shorter, please.")
    assert to_review(stage) == {"rhea", "ada"}
    assert list(inbox.promotions_to_answer(stage.edith)) == [row]

    workflow.approve(stage.ralf, row)
    assert to_review(stage) == set()
    assert list(inbox.promotions_to_release(stage.edith)) == [row]
    assert not inbox.promotions_to_answer(stage.edith)


def test_neither_author_nor_requester_is_asked_to_review(stage: Stage):
    prompt = stage.prompt()
    version = versions.commit(stage.rhea, prompt, content={"kind": "text", "text": "by Rhea"}).version
    workflow.request(stage.ralf, prompt, version, stage.environment("production"))

    assert to_review(stage) == {"ada"}


def test_a_void_approval_returns_it(stage: Stage):
    row = request_promotion(stage)
    workflow.approve(stage.rhea, row)
    assert to_review(stage) == set()

    environments.change_rules(stage.ada, stage.environment("production"), Rules(True, 2, []))

    assert "rhea" in to_review(stage)


def test_another_release_returns_it(stage: Stage):
    first = request_promotion(stage)
    second = request_promotion(stage)
    environments.change_rules(stage.ada, stage.environment("production"), Rules(True, 2, []))
    workflow.approve(stage.rhea, second)
    assert {row.pk for row in inbox.promotions_to_review(stage.rhea)} == {first.pk}

    workflow.approve(stage.rhea, first)
    workflow.approve(stage.ralf, first)
    workflow.apply(stage.edith, first)

    assert {row.pk for row in inbox.promotions_to_review(stage.rhea)} == {second.pk}


def test_what_i_asked_for_and_others_hold_is_elsewhere(stage: Stage):
    row = request_promotion(stage)

    assert list(inbox.promotions_waiting_for_others(stage.edith)) == [row]
    assert not inbox.promotions_waiting_for_others(stage.rhea)


def test_the_count_is_what_the_page_lists(stage: Stage):
    request_promotion(stage)
    workflow.approve(stage.rhea, request_promotion(stage))
    workflow.request_changes(stage.rhea, request_promotion(stage), comment="No.")
    request_promotion(stage, "staging")

    for actor in people(stage).values():
        listed = {
            row.pk
            for rows in (inbox.promotions_to_review, inbox.promotions_to_release, inbox.promotions_to_answer)
            for row in rows(actor)
        }
        assert inbox.count_waiting(actor) == len(listed)
    assert inbox.count_waiting(stage.edith) == 3
    assert inbox.count_waiting(stage.vera) == 0


def test_a_key_has_no_inbox(stage: Stage):
    request_promotion(stage)
    key = APIKey(project=stage.project, name="k", key_id="x", scopes=["write"])

    assert inbox.count_waiting(actor_for_key(key)) == 0
    assert not inbox.promotions_to_review(actor_for_key(key))


def open_one(stage: Stage) -> Promotion:
    return request_promotion(stage)


def approved_one(stage: Stage) -> Promotion:
    row = request_promotion(stage)
    workflow.approve(stage.rhea, row)
    return row


def void_one(stage: Stage) -> Promotion:
    row = approved_one(stage)
    environments.change_rules(stage.ada, stage.environment("production"), Rules(True, 2, []))
    return row


def sent_back_one(stage: Stage) -> Promotion:
    row = request_promotion(stage)
    workflow.request_changes(stage.rhea, row, comment="No.")
    return row


def unchecked_one(stage: Stage) -> Promotion:
    environments.change_rules(stage.ada, stage.environment("production"), Rules(True, 1, ["evals"]))
    return approved_one(stage)


def unprotected_one(stage: Stage) -> Promotion:
    return request_promotion(stage, "staging")


def applied_one(stage: Stage) -> Promotion:
    row = approved_one(stage)
    workflow.apply(stage.edith, row)
    return row


def rejected_one(stage: Stage) -> Promotion:
    return workflow.reject(stage.rhea, request_promotion(stage))


Situation = Callable[[Stage], Promotion]
SITUATIONS = (
    open_one,
    approved_one,
    void_one,
    sent_back_one,
    unchecked_one,
    unprotected_one,
    applied_one,
    rejected_one,
)
VERBS: dict[str, Callable[[Actor, Promotion], Any]] = {
    "approve": workflow.approve,
    "request-changes": lambda actor, row: workflow.request_changes(actor, row, comment="Why?"),
    "reject": workflow.reject,
    "withdraw": workflow.withdraw,
    "apply": workflow.apply,
    "override": lambda actor, row: workflow.apply(actor, row, override=workflow.Override("It burns.")),
    "comment": lambda actor, row: workflow.add_comment(actor, row, comment="Well."),
}


@pytest.mark.parametrize("who", ALL)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_button_is_there_exactly_where_the_verb_works(stage: Stage, situation: Situation, who: str):
    promotion = situation(stage)
    actor = getattr(stage, who)
    for verb, act in VERBS.items():
        row = workflow.get_promotion(stage.project, promotion.pk)
        blocked_reason = guards.blocked_reasons(actor, row, approvals.get_approval_status(row)).get(verb)
        refusal = None
        try:
            with transaction.atomic():
                act(actor, row)
                transaction.set_rollback(True)
        except Problem as problem:
            refusal = problem.detail
        assert (blocked_reason is None) == (refusal is None), (verb, blocked_reason, refusal)
        if blocked_reason and row.status in (PromotionStatus.OPEN, PromotionStatus.APPROVED):
            assert blocked_reason == refusal


@pytest.mark.parametrize("situation", SITUATIONS)
def test_the_inbox_lists_what_a_person_may_approve_and_has_not_spoken_about(stage: Stage, situation: Situation):
    promotion = situation(stage)

    for name, actor in people(stage).items():
        row = workflow.get_promotion(stage.project, promotion.pk)
        state = approvals.get_approval_status(row)
        spoke = any(review.by_id == actor.user.pk for review in state.changes_requested)  # type: ignore[union-attr]
        may = actor.may(Right.APPROVE) and "approve" not in guards.blocked_reasons(actor, row, state)
        waits = row.status == PromotionStatus.OPEN and may and not spoke
        assert (row in inbox.promotions_to_review(actor)) == waits, name


def test_the_page_offers_what_a_rollback_takes(stage: Stage):
    prompt = stage.prompt()
    stage.release(stage.commit(prompt, "one"))
    stage.release(stage.commit(prompt, "two"))
    live = approvals.live_release(stage.environment("production"), prompt)
    assert live

    offered = releases.previous_version(live)
    assert offered
    assert [release.version.number for release in releases.rollback_targets(live)] == [1]
    assert releases.roll_back(stage.edith, prompt, stage.environment("production")).version == offered


def test_checks_of_live_versions_are_summed_up(stage: Stage, api: Any):
    version = stage.commit(stage.prompt(), "x")
    key, _ = api_keys.issue(permissions.actor_for_command_line(stage.project), name="ci", scopes=["write"])
    for name, status in (("evals", "failed"), ("evals", "passed"), ("lint", "failed")):
        checks.record(actor_for_key(key), version, name=name, status=status)

    summary = listing.check_summaries([version])[version.pk]

    assert (summary.passed, summary.failed) == (["evals"], ["lint"])
