"""Promotions: four eyes, bindings, checks, overrides and states."""

import pytest

from core.errors import Problem
from registry.accounts import api_keys, permissions, projects
from registry.accounts.permissions import Actor
from registry.models import AuditEntry, Promotion, PromotionStatus, PromptVersion, Review, Role
from registry.promotions import approvals, checks, environments, workflow
from registry.promotions.environments import Rules
from registry.promotions.workflow import Override
from registry.prompts import lifecycle as prompts
from registry.prompts import versions
from tests.conftest import Stage, chat


@pytest.fixture
def version(stage: Stage) -> PromptVersion:
    return stage.commit(stage.prompt(), "Sort tickets")


@pytest.fixture
def promotion(stage: Stage, version: PromptVersion) -> Promotion:
    return workflow.request(stage.edith, version.prompt, version, stage.environment("production"), reason="Better")


def machine(stage: Stage, *scopes: str, by: Actor | None = None) -> Actor:
    key, _ = api_keys.issue(by or permissions.actor_for_command_line(stage.project), name="ci", scopes=scopes)
    return permissions.actor_for_key(key)


def status(row: Promotion) -> str:
    return Promotion.objects.get(pk=row.pk).status


def protect(stage: Stage, *, approvals_needed: int = 1, required: tuple[str, ...] = ()) -> None:
    production = stage.environment("production")
    environments.change_rules(stage.ada, production, Rules(True, approvals_needed, required))


def refused(code: str) -> "pytest.RaisesExc[Problem]":
    return pytest.raises(Problem, check=lambda problem: problem.code == code)


def test_asked_approved_applied(stage: Stage, promotion: Promotion):
    workflow.approve(stage.rhea, promotion)
    assert status(promotion) == PromotionStatus.APPROVED

    release = workflow.apply(stage.edith, promotion)

    assert status(promotion) == PromotionStatus.APPLIED
    assert (release.number, release.version, release.promotion) == (1, promotion.version, promotion)


def test_nothing_is_applied_without_approval(stage: Stage, promotion: Promotion):
    with refused("promotion.approvals_missing"):
        workflow.apply(stage.edith, promotion)


def test_the_requester_cannot_approve(stage: Stage, version: PromptVersion):
    promotion = workflow.request(stage.rhea, version.prompt, version, stage.environment("production"))

    with refused("promotion.own_approval"):
        workflow.approve(stage.rhea, promotion)


def test_the_author_cannot_approve_what_another_asked_for(stage: Stage):
    prompt = stage.prompt()
    written = stage.commit(prompt, "By Rhea", by=stage.rhea)
    promotion = workflow.request(stage.edith, prompt, written, stage.environment("production"))

    with refused("promotion.own_approval"):
        workflow.approve(stage.rhea, promotion)
    workflow.approve(stage.ralf, promotion)


def test_a_superuser_is_no_exception(stage: Stage):
    root = stage.ada.user
    assert root
    root.is_superuser = True
    root.save()
    prompt = stage.prompt()
    promotion = workflow.request(
        stage.ada, prompt, stage.commit(prompt, "x", by=stage.ada), stage.environment("production")
    )

    with refused("promotion.own_approval"):
        workflow.approve(permissions.actor_for_user(root, stage.project), promotion)
    with refused("access.denied"):
        workflow.approve(permissions.actor_for_operator(root, stage.project), promotion)


def test_a_key_never_approves(stage: Stage, promotion: Promotion):
    for verb in (workflow.approve, workflow.reject):
        with refused("promotion.machine_approval"):
            verb(machine(stage, "read", "write"), promotion)
    with refused("promotion.machine_approval"):
        workflow.request_changes(machine(stage, "write"), promotion, comment="No")


def test_who_made_the_key_that_wrote_is_its_author(stage: Stage):
    """Else an admin could commit through a key of one's own and approve the result."""
    prompt = stage.prompt()
    robot = machine(stage, "write", by=stage.ada)
    written = versions.commit(robot, prompt, content=chat("By a key")).version
    promotion = workflow.request(robot, prompt, written, stage.environment("production"))

    with refused("promotion.own_approval"):
        workflow.approve(stage.ada, promotion)
    workflow.approve(stage.rhea, promotion)
    workflow.apply(robot, promotion)


def test_two_approvals_are_two_persons(stage: Stage, version: PromptVersion):
    protect(stage, approvals_needed=2)
    promotion = workflow.request(stage.edith, version.prompt, version, stage.environment("production"))
    workflow.approve(stage.rhea, promotion)

    with refused("promotion.already_approved"):
        workflow.approve(stage.rhea, promotion)
    with refused("promotion.approvals_missing"):
        workflow.apply(stage.edith, promotion)
    workflow.approve(stage.ralf, promotion)
    workflow.apply(stage.edith, promotion)


def test_another_release_voids_approvals(stage: Stage, promotion: Promotion):
    workflow.approve(stage.rhea, promotion)
    stage.release(stage.commit(promotion.prompt, "Another"))

    assert status(promotion) == PromotionStatus.OPEN
    with pytest.raises(Problem, match="void: production has changed since: version 2 is live there now"):
        workflow.apply(stage.edith, promotion)
    workflow.approve(stage.rhea, promotion)
    workflow.apply(stage.edith, promotion)


def test_a_rollback_voids_approvals(stage: Stage, promotion: Promotion):
    for text in ("one", "two"):
        stage.release(stage.commit(promotion.prompt, text))
    workflow.approve(stage.rhea, promotion)

    stage.roll_back(promotion.prompt)

    assert status(promotion) == PromotionStatus.OPEN


def test_other_rules_void_approvals(stage: Stage, promotion: Promotion):
    workflow.approve(stage.rhea, promotion)
    protect(stage, required=("quality",))

    assert status(promotion) == PromotionStatus.OPEN
    with pytest.raises(Problem, match="the rules of production have changed since"):
        workflow.apply(stage.edith, promotion)


def test_going_back_to_the_old_rules_restores_no_approval(stage: Stage, promotion: Promotion):
    workflow.approve(stage.rhea, promotion)
    protect(stage, approvals_needed=2)
    protect(stage, approvals_needed=1)

    with refused("promotion.approvals_missing"):
        workflow.apply(stage.edith, promotion)


def test_a_reviewer_who_left_does_not_hold_a_promotion(stage: Stage, promotion: Promotion):
    workflow.request_changes(stage.ralf, promotion, comment="Shorter")
    assert stage.ralf.user
    projects.set_member(stage.ada, user=stage.ralf.user, role=Role.VIEWER)

    workflow.approve(stage.rhea, promotion)
    workflow.apply(stage.edith, promotion)


def test_an_applied_promotion_shows_its_approvals_as_given(stage: Stage, promotion: Promotion):
    workflow.approve(stage.rhea, promotion)
    workflow.apply(stage.edith, promotion)

    state = approvals.get_approval_status(workflow.get_promotion(stage.project, promotion.pk))
    assert ([review.by_name for review in state.approvals], state.void) == (["rhea"], [])


def test_a_release_elsewhere_voids_nothing(stage: Stage, promotion: Promotion):
    workflow.approve(stage.rhea, promotion)
    stage.release(stage.commit(promotion.prompt, "Another"), "staging")
    other = stage.prompt("other")
    stage.release(stage.commit(other, "Other"))

    assert status(promotion) == PromotionStatus.APPROVED


@pytest.mark.parametrize("loss", ["deactivated", "demoted", "removed"])
def test_the_approval_of_a_user_who_may_no_longer_approve_is_void(stage: Stage, promotion: Promotion, loss: str):
    workflow.approve(stage.rhea, promotion)
    user = stage.rhea.user
    assert user
    if loss == "deactivated":
        user.is_active = False
        user.save()
    elif loss == "demoted":
        projects.set_member(stage.ada, user=user, role=Role.EDITOR)
    else:
        projects.remove_member(stage.ada, user=user)

    with pytest.raises(Problem, match="rhea may no longer approve"):
        workflow.apply(stage.edith, promotion)


def test_an_approval_of_what_was_not_seen_is_refused(stage: Stage, promotion: Promotion):
    seen = approvals.get_approval_status(workflow.get_promotion(stage.project, promotion.pk)).binding
    stage.release(stage.commit(promotion.prompt, "Another"))

    with refused("request.precondition"):
        workflow.approve(stage.rhea, promotion, seen=seen)


def test_requested_changes_hold_until_the_same_reviewer_approves(stage: Stage, promotion: Promotion):
    workflow.approve(stage.rhea, promotion)
    workflow.request_changes(stage.ralf, promotion, comment="Say what happens with refunds")

    assert status(promotion) == PromotionStatus.OPEN
    with pytest.raises(Problem, match="ralf asked for changes"):
        workflow.apply(stage.edith, promotion)
    workflow.approve(stage.ralf, promotion)
    workflow.apply(stage.edith, promotion)


def test_changes_are_requested_in_words(stage: Stage, promotion: Promotion):
    with refused("promotion.reason_required"):
        workflow.request_changes(stage.rhea, promotion, comment="  ")


@pytest.mark.parametrize("ending", ["reject", "withdraw", "apply"])
def test_a_decided_promotion_stays_decided(stage: Stage, promotion: Promotion, ending: str):
    workflow.approve(stage.rhea, promotion)
    if ending == "reject":
        workflow.reject(stage.rhea, promotion, comment="No")
    else:
        {"withdraw": workflow.withdraw, "apply": workflow.apply}[ending](stage.edith, promotion)

    for again in (
        lambda: workflow.apply(stage.edith, promotion),
        lambda: workflow.approve(stage.ralf, promotion),
        lambda: workflow.reject(stage.ralf, promotion),
        lambda: workflow.withdraw(stage.edith, promotion),
        lambda: workflow.request_changes(stage.ralf, promotion, comment="x"),
    ):
        with refused("promotion.wrong_state"):
            again()
    assert workflow.add_comment(stage.edith, promotion, comment="Afterwards").comment == "Afterwards"


def test_only_who_asked_or_an_admin_withdraws(stage: Stage, promotion: Promotion):
    with refused("access.denied"):
        workflow.withdraw(stage.rhea, promotion)
    workflow.withdraw(stage.ada, promotion)


def test_the_same_version_is_asked_for_once(stage: Stage, promotion: Promotion):
    with refused("promotion.already_open"):
        workflow.request(stage.rhea, promotion.prompt, promotion.version, stage.environment("production"))
    workflow.withdraw(stage.edith, promotion)
    workflow.request(stage.rhea, promotion.prompt, promotion.version, stage.environment("production"))


def test_what_is_live_is_not_asked_for(stage: Stage, version: PromptVersion):
    stage.release(version)

    with refused("promotion.already_live"):
        workflow.request(stage.edith, version.prompt, version, stage.environment("production"))


def test_an_unprotected_environment_needs_no_approval(stage: Stage, version: PromptVersion):
    promotion = workflow.request(stage.edith, version.prompt, version, stage.environment("staging"))

    assert promotion.status == PromotionStatus.APPROVED
    workflow.apply(stage.edith, promotion)


def test_required_checks_must_have_passed_for_this_hash(stage: Stage, promotion: Promotion):
    protect(stage, required=("quality", "safety"))
    robot = machine(stage, "write")
    workflow.approve(stage.rhea, promotion)

    with pytest.raises(Problem, match="quality, safety") as missing:
        workflow.apply(stage.edith, promotion)
    assert missing.value.code == "promotion.checks_missing"
    other = stage.commit(promotion.prompt, "Another")
    checks.record(robot, other, name="quality", status="passed")
    checks.record(robot, promotion.version, name="safety", status="passed")
    with pytest.raises(Problem, match=r"version: quality\."):
        workflow.apply(stage.edith, promotion)
    checks.record(robot, promotion.version, name="quality", status="passed")
    checks.record(robot, promotion.version, name="quality", status="failed")
    with refused("promotion.checks_missing"):
        workflow.apply(stage.edith, promotion)
    checks.record(robot, promotion.version, name="quality", status="passed")
    workflow.apply(stage.edith, promotion)


def test_a_person_cannot_vouch_for_a_check(stage: Stage, version: PromptVersion):
    for actor in (stage.edith, stage.rhea, stage.ada):
        with refused("access.denied"):
            checks.record(actor, version, name="quality", status="passed")


def test_an_admin_overrides_checks_with_a_reason_that_is_kept(stage: Stage, promotion: Promotion):
    protect(stage, required=("quality",))
    workflow.approve(stage.rhea, promotion)

    with refused("access.denied"):
        workflow.apply(stage.rhea, promotion, override=Override("Because"))
    with refused("promotion.reason_required"):
        workflow.apply(stage.ada, promotion, override=Override(" "))
    workflow.apply(stage.ada, promotion, override=Override("The judge is down, and tickets are waiting"))

    promotion.refresh_from_db()
    assert (promotion.override_by_name, promotion.override_reason[:9]) == ("ada", "The judge")
    assert AuditEntry.objects.filter(action="promotion.checks_overridden", actor="ada").count() == 1


def test_an_override_replaces_no_approval(stage: Stage, promotion: Promotion):
    protect(stage, required=("quality",))

    with refused("promotion.approvals_missing"):
        workflow.apply(stage.ada, promotion, override=Override("In a hurry"))


def test_there_is_nothing_to_override_where_nothing_is_missing(stage: Stage, promotion: Promotion):
    workflow.approve(stage.rhea, promotion)

    with refused("promotion.nothing_to_override"):
        workflow.apply(stage.ada, promotion, override=Override("In a hurry"))


def test_applying_on_top_of_something_unseen_is_refused(stage: Stage, promotion: Promotion):
    workflow.approve(stage.rhea, promotion)

    with refused("request.precondition"):
        workflow.apply(stage.edith, promotion, expected_live=f"sha256:{'0' * 64}")


def test_a_proposed_prompt_cannot_be_archived(stage: Stage, promotion: Promotion):
    with refused("prompt.in_use"):
        prompts.archive(stage.edith, promotion.prompt)


def test_every_decision_is_kept(stage: Stage, promotion: Promotion):
    workflow.add_comment(stage.edith, promotion, comment="Please look")
    workflow.request_changes(stage.rhea, promotion, comment="Shorter")
    workflow.approve(stage.rhea, promotion, comment="Good")

    assert list(Review.objects.values_list("decision", "by_name")) == [
        ("comment", "edith"),
        ("request-changes", "rhea"),
        ("approve", "rhea"),
    ]
