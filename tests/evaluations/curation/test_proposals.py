"""Proposed cases: checked, then decided on by a person."""

from typing import Any

import pytest

from core.errors import Problem
from evaluations.curation import proposals
from evaluations.datasets import lifecycle as datasets
from evaluations.models import Case, CaseProposal, Dataset
from registry.accounts import api_keys, permissions
from registry.accounts.permissions import Actor
from tests.conftest import Stage
from tests.evaluations.conftest import case

NEW = "The invoice of May has the wrong address on its second page"


def proposed(stage: Stage, dataset: Dataset, *texts: str) -> list[CaseProposal]:
    created = proposals.propose(
        stage.edith, dataset, cases=[case(text, "billing") for text in texts], origin="support desk"
    )
    proposals.check(dataset)
    return list(CaseProposal.objects.filter(pk__in=[proposal.pk for proposal in created]).order_by("pk"))


def test_a_proposal_is_held_against_what_is_there(stage: Stage, tickets: Dataset):
    datasets.change(stage.edith, tickets, added=[case(NEW, "billing", split="test")])

    same, longer, other = proposed(
        stage, tickets, NEW.upper(), f"Hello! {NEW}, please mend it soon", "Dark mode, please"
    )

    assert [finding["kind"] for finding in same.findings] == ["exact"]
    assert longer.findings[0]["kind"] in ("contained", "near")
    assert longer.findings[0]["split"] == "test"
    assert (other.state, other.findings) == ("waiting", [])


def test_what_is_accepted_is_the_next_version_and_says_where_it_came_from(stage: Stage, tickets: Dataset):
    first, second = proposed(stage, tickets, NEW, "Dark mode, please")

    loaded = proposals.accept(
        stage.rhea, tickets, keys=[first.pk, second.pk], edited={second.pk: case("Dark mode", "request")}
    )

    assert (loaded.version.number, loaded.added) == (2, 2)
    assert loaded.version.message == "2 proposed: support desk"
    assert Case.objects.of(loaded.version).filter(variables={"ticket": "Dark mode"}).exists()
    second.refresh_from_db()
    assert (second.state, second.decided_by_name, second.version, second.edited) == (
        *("accepted", "rhea", loaded.version),
        case("Dark mode", "request"),
    )
    with pytest.raises(Problem) as refused:
        proposals.accept(stage.rhea, tickets, keys=[first.pk])
    assert refused.value.code == "proposal.wrong_state"


def test_what_is_rejected_stays_with_the_reason(stage: Stage, tickets: Dataset):
    (proposal,) = proposed(stage, tickets, NEW)

    assert proposals.reject(stage.edith, tickets, keys=[proposal.pk], reason="Too private") == 1

    proposal.refresh_from_db()
    assert (proposal.state, proposal.reason) == ("rejected", "Too private")
    assert Case.objects.count() == 60


def test_a_bad_edit_decides_nothing(stage: Stage, tickets: Dataset):
    (proposal,) = proposed(stage, tickets, NEW)

    with pytest.raises(Problem) as refused:
        proposals.accept(stage.edith, tickets, keys=[proposal.pk], edited={proposal.pk: {"variables": {}}})

    proposal.refresh_from_db()
    assert (refused.value.code, proposal.state) == ("cases.invalid", "waiting")


def test_a_key_proposes_and_never_decides(stage: Stage, tickets: Dataset):
    key, _ = api_keys.issue(permissions.actor_for_command_line(stage.project), name="bot", scopes=["write"])
    robot = permissions.actor_for_key(key)
    (proposal,) = proposals.propose(robot, tickets, cases=[case(NEW)], origin="gpt")

    for act in (
        lambda: proposals.accept(robot, tickets, keys=[proposal.pk]),
        lambda: proposals.reject(robot, tickets, keys=[proposal.pk]),
    ):
        with pytest.raises(Problem) as refused:
            act()
        assert refused.value.code == "proposal.machine_decision"


@pytest.mark.parametrize(
    ("cases", "origin", "code"),
    [
        ([], "x", "dataset.no_cases"),
        ([{"variables": {}}], "x", "cases.invalid"),
        ([case("a")], " ", "request.invalid"),
        ([case("a")] * 501, "x", "cases.too_many"),
    ],
)
def test_what_cannot_be_proposed(stage: Stage, tickets: Dataset, cases: list[Any], origin: str, code: str):
    with pytest.raises(Problem) as refused:
        proposals.propose(stage.edith, tickets, cases=cases, origin=origin)
    assert refused.value.code == code
    assert not CaseProposal.objects.exists()


def test_others_proposals_are_not_found(stage: Stage, tickets: Dataset, otis: Actor):
    (proposal,) = proposed(stage, tickets, NEW)
    theirs = datasets.create(otis, name="theirs")

    for act in (
        lambda: proposals.accept(otis, theirs, keys=[proposal.pk]),
        lambda: proposals.reject(otis, theirs, keys=[proposal.pk]),
        lambda: proposals.get_proposal(theirs, proposal.pk),
    ):
        with pytest.raises(Problem) as refused:
            act()
        assert refused.value.code == "proposal.not_found"
