"""Invitations: nobody is pulled into a project, and nobody learns of accounts by inviting."""

import threading
from contextlib import suppress
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from core.errors import Problem
from registry.accounts import invitations, permissions, projects
from registry.accounts.permissions import Actor
from registry.models import AuditEntry, Invitation, InvitationState, Membership, Role, User
from tests.conftest import ApiFor, Stage, make_user


def user_of(actor: Actor) -> User:
    assert actor.user is not None
    return actor.user


def is_member(actor: Actor, stage: Stage) -> bool:
    return Membership.objects.filter(user=actor.user, project=stage.project).exists()


def test_who_is_invited_becomes_a_member_by_accepting(stage: Stage, otis: Actor):
    invitation = invitations.invite(stage.ada, username="otis", role=Role.EDITOR)
    assert not is_member(otis, stage)

    membership = invitations.accept(user_of(otis), invitation.pk)

    assert (membership.project, membership.role) == (stage.project, Role.EDITOR)
    actions = AuditEntry.objects.filter(project=stage.project, target="otis").order_by("id")
    assert list(actions.values_list("actor", "action")) == [("ada", "member.invited"), ("otis", "member.joined")]
    with pytest.raises(Problem, match="no such invitation"):
        invitations.accept(user_of(otis), invitation.pk)


def test_an_admin_learns_nothing_of_accounts(stage: Stage, otis: Actor, api_for: ApiFor):
    """A name with an account and one without are answered alike, and other projects of that person are not touched."""
    client = api_for(stage.ada)
    answers = []
    for name in ("otis", "nobody"):
        put = client.put(f"/api/v1/members/{name}", {"role": "viewer"})
        removed = client.delete(f"/api/v1/members/{name}")
        body = {
            member: value for member, value in put.json().items() if member not in ("id", "created_at", "expires_at")
        }
        answers.append(
            str((put.status_code, body, removed.status_code, removed.json()["detail"])).replace(name, "NAME")
        )

    assert answers[0] == answers[1]
    assert "202" in answers[0]
    assert api_for(otis).get("/api/v1/me").json()["project"] == "elsewhere"
    names = [row["username"] for row in client.get("/api/v1/members").json()["results"]]
    assert "otis" not in names
    owned = client.post("/api/v1/keys", {"name": "k", "scopes": ["read"], "owner": "otis"})
    unknown = client.post("/api/v1/keys", {"name": "k", "scopes": ["read"], "owner": "nobody"})
    assert (owned.status_code, owned.json()["code"]) == (unknown.status_code, unknown.json()["code"])


def test_only_the_operator_adds_a_member(stage: Stage, otis: Actor):
    with pytest.raises(Problem) as refused:
        projects.set_member(stage.ada, user=user_of(otis), role=Role.ADMIN)
    assert refused.value.code == "member.unknown_user"

    projects.set_member(permissions.actor_for_command_line(stage.project), user=user_of(otis), role=Role.VIEWER)
    assert is_member(otis, stage)


def test_an_invitation_is_for_its_user_alone(stage: Stage, otis: Actor):
    invitation = invitations.invite(stage.ada, username="otis", role=Role.ADMIN)

    for actor in (stage.vera, stage.ada):
        with pytest.raises(Problem) as refused:
            invitations.accept(user_of(actor), invitation.pk)
        assert refused.value.code == "invitation.not_found"
    with pytest.raises(Problem, match="invitation"):
        invitations.get_invitation(otis.project, invitation.pk)


@pytest.mark.parametrize("how", ["withdrawn", "declined", "expired", "replaced"])
def test_an_invitation_that_is_over_cannot_be_accepted(stage: Stage, otis: Actor, how: str):
    invitation = invitations.invite(stage.ada, username="otis", role=Role.ADMIN)
    if how == "withdrawn":
        invitations.withdraw(stage.ada, invitation)
    elif how == "declined":
        invitations.decline(user_of(otis), invitation.pk)
    elif how == "replaced":
        invitations.invite(stage.ada, username="otis", role=Role.VIEWER)
    else:
        later = timezone.now() - timedelta(seconds=1)
        row = Invitation(project=stage.project, username="otis", role=Role.ADMIN, by_name="ada", expires_at=later)
        invitations.withdraw(stage.ada, invitation)
        row.save()
        invitation = row

    with pytest.raises(Problem) as refused:
        invitations.accept(user_of(otis), invitation.pk)

    assert refused.value.code == "invitation.not_found"
    assert not is_member(otis, stage)


def test_an_invitation_is_void_where_its_sender_has_left(stage: Stage, otis: Actor):
    """A removed admin cannot come back by an account of theirs that they invited before."""
    root = permissions.actor_for_command_line(stage.project)
    invitation = invitations.invite(stage.ada, username="otis", role=Role.ADMIN)
    projects.set_member(root, user=user_of(stage.rhea), role=Role.ADMIN)
    projects.set_member(root, user=user_of(stage.ada), role=Role.EDITOR)

    with pytest.raises(Problem) as refused:
        invitations.accept(user_of(otis), invitation.pk)

    assert refused.value.code == "invitation.void"
    assert Invitation.objects.get(pk=invitation.pk).state == InvitationState.OPEN


def test_nobody_comes_back_by_an_invitation_from_before(stage: Stage, otis: Actor):
    """Invited as an admin, added as a viewer by the operator, removed: the invitation must not bring them back."""
    first = invitations.invite(stage.ada, username="otis", role=Role.ADMIN)
    projects.set_member(permissions.actor_for_command_line(stage.project), user=user_of(otis), role=Role.VIEWER)
    projects.remove_member(stage.ada, user=user_of(otis))

    with pytest.raises(Problem) as refused:
        invitations.accept(user_of(otis), first.pk)

    assert refused.value.code == "invitation.not_found"
    assert not is_member(otis, stage)


def test_what_was_accepted_is_not_withdrawn_any_more(stage: Stage, otis: Actor):
    """Somebody who presses the button must not believe that nobody joined."""
    invitation = invitations.invite(stage.ada, username="otis", role=Role.VIEWER)
    invitations.accept(user_of(otis), invitation.pk)

    with pytest.raises(Problem) as refused:
        invitations.withdraw(stage.ada, Invitation.objects.get(pk=invitation.pk))

    assert refused.value.code == "invitation.ended"


def test_members_are_not_invited(stage: Stage):
    with pytest.raises(Problem) as refused:
        invitations.invite(stage.ada, username="vera", role=Role.ADMIN)

    assert refused.value.code == "member.exists"


def test_a_project_has_a_bounded_number_of_open_invitations(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(invitations, "MAX_OPEN", 2)
    for name in ("a", "b", "b"):
        invitations.invite(stage.ada, username=name, role=Role.VIEWER)

    with pytest.raises(Problem) as refused:
        invitations.invite(stage.ada, username="c", role=Role.VIEWER)

    assert refused.value.code == "invitation.too_many"


@pytest.mark.django_db(transaction=True)
def test_accepting_and_withdrawing_at_once_end_in_one_of_them(live_stage: Stage):
    otis = make_user("otis")
    for _ in range(5):
        Membership.objects.filter(user=otis).delete()
        invitation = invitations.invite(live_stage.ada, username="otis", role=Role.VIEWER)
        together = threading.Barrier(2)
        accepted: list[bool] = []

        def accept(number: int, together: threading.Barrier, accepted: list[bool]) -> None:
            together.wait(10)
            try:
                invitations.accept(otis, number)
                accepted.append(True)
            except Problem:
                accepted.append(False)
            finally:
                connection.close()

        worker = threading.Thread(target=accept, args=(invitation.pk, together, accepted))
        worker.start()
        together.wait(10)
        with suppress(Problem):
            invitations.withdraw(live_stage.ada, Invitation.objects.get(pk=invitation.pk))
        worker.join(30)

        state = Invitation.objects.get(pk=invitation.pk).state
        assert accepted == [state == InvitationState.ACCEPTED]
        assert Membership.objects.filter(user=otis, project=live_stage.project).exists() is accepted[0]
