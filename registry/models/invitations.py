from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from infra.triggers import frozen_fields
from registry.models.by_actor import ByActor
from registry.models.people import Project, Role


class InvitationState(models.TextChoices):
    OPEN = "open", "Open"
    ACCEPTED = "accepted", "Accepted"
    DECLINED = "declined", "Declined"
    WITHDRAWN = "withdrawn", "Withdrawn"


class Invitation(ByActor):
    """An invitation into a project. It names an account and does not refer to it: whether there is one of that name is
    none of the inviting admin's business until its user accepts."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="invitations")
    username = models.CharField(max_length=150)
    role = models.CharField(max_length=10, choices=Role.choices)
    state = models.CharField(max_length=10, choices=InvitationState.choices, default=InvitationState.OPEN)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["project", "-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["project", "username"],
                condition=Q(state=InvitationState.OPEN),
                name="one_open_invitation_per_name",
            ),
            models.CheckConstraint(condition=Q(state__in=InvitationState.values), name="invitation_state_is_known"),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="invitation_role_is_known"),
            models.CheckConstraint(
                condition=Q(state=InvitationState.OPEN, ended_at=None)
                | (~Q(state=InvitationState.OPEN) & Q(ended_at__isnull=False)),
                name="invitation_ends_with_its_state",
            ),
        ]
        indexes = [
            models.Index(fields=["username"], condition=Q(state=InvitationState.OPEN), name="open_invitation_by_name")
        ]
        triggers = frozen_fields("project", "username", "role", "by", "by_key", "by_name", "created_at", "expires_at")

    def __str__(self) -> str:
        return f"{self.username} as {self.role} in {self.project}"
