import pgtrigger
from django.contrib.auth.models import AbstractUser
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from registry.models.notify_triggers import KEYS_PREFIX, notify_trigger

PROJECT_SLUG = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"


class User(AbstractUser):
    """A user. Rights follow from memberships alone: a superuser has no special right in a project."""

    class Meta(AbstractUser.Meta):
        # Nor do they outlive the account.
        triggers = [
            pgtrigger.Trigger(
                name="revoke_keys",
                when=pgtrigger.After,
                operation=pgtrigger.Update,
                condition=pgtrigger.Q(old__is_active=True, new__is_active=False),
                func="""
                    UPDATE registry_apikey SET revoked_at = now() WHERE owner_id = NEW.id AND revoked_at IS NULL;
                    RETURN NULL;
                """,
            )
        ]

    @property
    def display_name(self) -> str:
        return self.get_full_name() or self.username


class Project(models.Model):
    """The tenant boundary: everything except users belongs to one project."""

    slug = models.CharField(max_length=50, unique=True)
    name = models.CharField(max_length=100)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["slug"]
        constraints = [
            models.CheckConstraint(condition=Q(slug__regex=PROJECT_SLUG), name="project_slug_is_words"),
        ]

    def __str__(self) -> str:
        return self.slug


class Role(models.TextChoices):
    VIEWER = "viewer", "Viewer"
    EDITOR = "editor", "Editor"
    REVIEWER = "reviewer", "Reviewer"
    ADMIN = "admin", "Admin"


class Membership(models.Model):
    """A user's role in a project; no row, no access."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["project", "user"]
        constraints = [
            models.UniqueConstraint(
                fields=["project", "user"],
                name="membership_once_per_project",
                violation_error_message="This person is a member already.",
            ),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="membership_role_is_known"),
        ]
        # Keys do not outlive their owner's membership, whoever ends it, and have its role.
        triggers = [
            notify_trigger(
                "ROW.project_id", pgtrigger.Update, condition=pgtrigger.AnyChange("role"), prefix=KEYS_PREFIX
            ),
            pgtrigger.Trigger(
                name="revoke_keys",
                when=pgtrigger.After,
                operation=pgtrigger.Delete,
                func="""
                    UPDATE registry_apikey SET revoked_at = now()
                    WHERE owner_id = OLD.user_id AND project_id = OLD.project_id AND revoked_at IS NULL;
                    RETURN NULL;
                """,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user} is {self.role} in {self.project}"


class Scope(models.TextChoices):
    READ = "read", "Read"
    WRITE = "write", "Write"
    OBSERVE = "observe", "Observe"
    INFER = "infer", "Infer"


class APIKey(models.Model):
    """A service's key. The secret is shown once; its SHA-256 is kept (it has 190 random bits, so no slow hash)."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100)
    key_id = models.CharField(max_length=12, unique=True, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    scopes: "ArrayField[list[str], list[str]]" = ArrayField(models.CharField(max_length=10, choices=Scope.choices))
    # The member who holds it: answers for what is done with it, and has no more rights by it than by themselves. None:
    # a service holds it, and who made it answers.
    owner = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="owned_keys")
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    # Where its calls of the inference service go that name none; empty: production.
    environment = models.CharField(max_length=60, blank=True, db_default="")
    # What it may ask of the inference service on a day (UTC); None: as much as it likes.
    max_requests_a_day = models.PositiveBigIntegerField(null=True, blank=True)
    max_tokens_a_day = models.PositiveBigIntegerField(null=True, blank=True)
    max_dollars_a_day = models.DecimalField(max_digits=12, decimal_places=4, null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        verbose_name = "API key"
        ordering = ["project", "-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(scopes__contained_by=Scope.values) & Q(scopes__len__gt=0),
                name="api_key_scopes_are_known",
            ),
            models.CheckConstraint(
                condition=Q(max_dollars_a_day=None) | Q(max_dollars_a_day__gte=0), name="api_key_dollars_a_day"
            ),
        ]
        triggers = [
            notify_trigger(
                "ROW.project_id",
                pgtrigger.Update,
                condition=pgtrigger.AnyChange(
                    *("digest", "scopes", "environment", "expires_at", "revoked_at", "project"),
                    *("max_requests_a_day", "max_tokens_a_day", "max_dollars_a_day"),
                ),
                prefix=KEYS_PREFIX,
            ),
            notify_trigger("ROW.project_id", pgtrigger.Delete, prefix=KEYS_PREFIX, name="tell_delivery_of_delete"),
        ]

    def __str__(self) -> str:
        return f"{self.name} (cbk_{self.key_id}_…)"

    @property
    def is_usable(self) -> bool:
        """Neither revoked nor past its end."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > timezone.now())


class KeyUsage(models.Model):
    """What a key asked of the inference service on a day (UTC), as one process of it has counted: a process knows its
    own calls before the database does, and adds those of all others."""

    key = models.ForeignKey(APIKey, on_delete=models.CASCADE, related_name="usage")
    day = models.DateField()
    process = models.CharField(max_length=32)
    requests = models.BigIntegerField(default=0)
    tokens = models.BigIntegerField(default=0)
    cost_usd = models.DecimalField(max_digits=18, decimal_places=8, default=0)

    class Meta:
        ordering = ["-day"]
        constraints = [models.UniqueConstraint(fields=["key", "day", "process"], name="key_usage_once")]

    def __str__(self) -> str:
        return f"{self.key} on {self.day}"
