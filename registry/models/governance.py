from collections.abc import Iterable

import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from infra.triggers import insert_only
from registry.models.by_actor import ByActor
from registry.models.notify_triggers import PROJECT_OF_PROMPT, notify_trigger
from registry.models.people import APIKey, Project, User
from registry.models.prompts import CONTENT_HASH, Prompt, PromptVersion

ENVIRONMENT_NAME = r"^[a-z][a-z0-9]*([_-][a-z0-9]+)*$"


class Environment(models.Model):
    """A place where one version of each prompt is live. Its rules say what a release there needs."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="environments")
    name = models.CharField(max_length=50)
    position = models.PositiveSmallIntegerField()
    protected = models.BooleanField(default=False)
    required_approvals = models.PositiveSmallIntegerField(default=1)
    required_checks: "ArrayField[list[str], list[str]]" = ArrayField(
        models.CharField(max_length=100), default=list, blank=True
    )
    # The required checks that gates measure: nobody else records a check of such a name.
    measured_checks: "ArrayField[list[str], list[str]]" = ArrayField(
        models.CharField(max_length=100), default=list, blank=True, editable=False
    )
    rules_revision = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["project", "position"]
        constraints = [
            models.UniqueConstraint(
                fields=["project", "name"],
                name="environment_name_once_per_project",
                violation_error_message="An environment with this name exists.",
            ),
            # An environment's name is a selector: it may not read as another kind of selector.
            models.CheckConstraint(
                condition=Q(name__regex=ENVIRONMENT_NAME) & ~Q(name="latest") & ~Q(name__startswith="sha256"),
                name="environment_name_is_no_other_selector",
            ),
            models.CheckConstraint(
                condition=Q(required_approvals__gte=1) & Q(required_approvals__lte=20),
                name="environment_approvals_from_1_to_20",
            ),
        ]
        triggers = [notify_trigger("ROW.project_id", pgtrigger.Insert | pgtrigger.Update | pgtrigger.Delete)]

    def __str__(self) -> str:
        return self.name

    @property
    def approvals_needed(self) -> int:
        return self.required_approvals if self.protected else 0

    @property
    def checks_needed(self) -> list[str]:
        """Checks guard protected environments only."""
        return sorted(self.required_checks) if self.protected else []


class Snapshot(models.Model):
    """The prompts that were live in an environment (name to content hash) and their tag; stored for some days."""

    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="snapshots")
    tag = models.CharField(max_length=71)
    live = models.JSONField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["environment", "tag"], name="snapshot_once")]
        indexes = [models.Index(fields=["created_at"], name="snapshot_created")]

    def __str__(self) -> str:
        return f"{self.environment} as {self.tag[:19]}"


class PromotionStatus(models.TextChoices):
    OPEN = "open", "Open"
    APPROVED = "approved", "Approved"
    APPLIED = "applied", "Released"
    REJECTED = "rejected", "Rejected"
    WITHDRAWN = "withdrawn", "Withdrawn"


UNDECIDED = (PromotionStatus.OPEN, PromotionStatus.APPROVED)


class Promotion(models.Model):
    """A request to make a version live in an environment."""

    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="promotions")
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="promotions")
    version = models.ForeignKey(PromptVersion, on_delete=models.PROTECT, related_name="promotions")
    status = models.CharField(max_length=10, choices=PromotionStatus.choices, default=PromotionStatus.OPEN)
    reason = models.TextField(blank=True, max_length=5_000)
    replaces = models.ForeignKey("Release", on_delete=models.PROTECT, null=True, related_name="+")
    requested_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    requested_by_key = models.ForeignKey(APIKey, on_delete=models.PROTECT, null=True, related_name="+")
    requested_by_name = models.CharField(max_length=200)
    # A key that has neither an owner nor a maker did a part of it (registry.promotions.contributors).
    is_unanswered = models.BooleanField(default=False, editable=False)
    override_reason = models.TextField(blank=True, max_length=5_000)
    override_by_name = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    decided_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(status__in=PromotionStatus.values), name="promotion_status_is_known"),
            models.UniqueConstraint(
                fields=["environment", "version"],
                condition=Q(status__in=UNDECIDED),
                name="promotion_once_undecided",
                violation_error_message="This version is already proposed for this environment.",
            ),
            models.CheckConstraint(
                condition=Q(status__in=UNDECIDED, decided_at=None)
                | (~Q(status__in=UNDECIDED) & Q(decided_at__isnull=False)),
                name="promotion_decided_at_when_decided",
            ),
        ]
        indexes = [
            # The inbox and the void-on-change rule look at undecided promotions only.
            models.Index(
                fields=["environment", "prompt"],
                condition=Q(status__in=UNDECIDED),
                name="promotion_undecided",
            ),
            models.Index(fields=["prompt", "-id"], name="promotion_of_prompt"),
        ]

    def __str__(self) -> str:
        return f"{self.version} to {self.environment}"


class PromotionContributor(models.Model):
    """Somebody whose work a promotion would make live, and why; found when it is requested
    (registry.promotions.contributors)."""

    promotion = models.ForeignKey(Promotion, on_delete=models.PROTECT, related_name="contributors")
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    reasons: "ArrayField[list[str], list[str]]" = ArrayField(models.CharField(max_length=300))

    class Meta:
        ordering = ["promotion", "id"]
        constraints = [models.UniqueConstraint(fields=["promotion", "user"], name="promotion_contributor_once")]
        triggers = insert_only()

    def __str__(self) -> str:
        return f"{self.user} stands behind {self.promotion}"


class Decision(models.TextChoices):
    APPROVE = "approve", "Approved"
    REQUEST_CHANGES = "request-changes", "Changes requested"
    REJECT = "reject", "Rejected"
    COMMENT = "comment", "Commented"


class Review(models.Model):
    """A decision or comment on a promotion; the binding is the state that the decision was made on."""

    promotion = models.ForeignKey(Promotion, on_delete=models.PROTECT, related_name="reviews")
    decision = models.CharField(max_length=20, choices=Decision.choices)
    comment = models.TextField(blank=True, max_length=5_000)
    by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    by_name = models.CharField(max_length=200)
    # The binding: the version's hash is the promotion's own and cannot change.
    bound_release = models.ForeignKey("Release", on_delete=models.PROTECT, null=True, related_name="+")
    bound_rules = models.PositiveIntegerField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["promotion", "id"]
        constraints = [
            models.CheckConstraint(condition=Q(decision__in=Decision.values), name="review_decision_is_known"),
            # A key may comment; every decision is a person's.
            models.CheckConstraint(
                condition=Q(decision=Decision.COMMENT) | Q(by__isnull=False),
                name="review_decision_is_a_persons",
            ),
        ]
        triggers = [
            *insert_only(),
            pgtrigger.Trigger(
                name="refuse_own_approval",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                condition=pgtrigger.Q(new__decision=Decision.APPROVE),
                func="""
                    IF EXISTS (
                        SELECT 1 FROM registry_promotioncontributor
                        WHERE promotion_id = NEW.promotion_id AND user_id = NEW.by_id
                    ) THEN
                        RAISE EXCEPTION 'who stands behind a promotion does not approve it';
                    END IF;
                    RETURN NEW;
                """,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.by_name}: {self.decision}"


class CheckStatus(models.TextChoices):
    PASSED = "passed", "Passed"
    FAILED = "failed", "Failed"


class VersionCheckQuerySet(models.QuerySet["VersionCheck"]):
    def of_versions(self, versions: Iterable[PromptVersion]) -> "VersionCheckQuerySet":
        """Those of the versions' contents, and those that gates measured for the versions' own prompts."""
        rows = list(versions)
        own = Q(prompt=None) | Q(prompt__in={version.prompt_id for version in rows})
        return self.filter(own, content_hash__in={version.content_hash for version in rows})


class VersionCheck(models.Model):
    """A result recorded on a version's hash by an outside CI, or on a prompt's version by a gate, which measures that
    prompt alone: the same content under another name is another case. The newest of a name counts."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="checks")
    # The prompt that a gate measured, and the environment that the gate guards; None for a check of the content itself,
    # recorded from outside.
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, null=True, related_name="gate_checks")
    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, null=True, related_name="gate_checks")
    content_hash = models.CharField(max_length=71)
    name = models.CharField(max_length=100)
    status = models.CharField(max_length=10, choices=CheckStatus.choices)
    summary = models.CharField(max_length=1_000, blank=True)
    url = models.URLField(max_length=1_000, blank=True)
    recorded_by_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now())

    objects = VersionCheckQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(status__in=CheckStatus.values), name="check_status_is_known"),
            models.CheckConstraint(condition=Q(content_hash__regex=CONTENT_HASH), name="check_hash_is_sha256"),
        ]
        indexes = [models.Index(fields=["project", "content_hash", "name", "-id"], name="check_newest_by_name")]
        triggers = [
            *insert_only(),
            pgtrigger.Trigger(
                name="refuse_measured_name",
                when=pgtrigger.Before,
                operation=pgtrigger.Insert,
                condition=pgtrigger.Q(new__prompt__isnull=True),
                func="""
                    IF EXISTS (
                        SELECT 1 FROM registry_environment
                        WHERE project_id = NEW.project_id AND NEW.name = ANY(measured_checks)
                    ) THEN
                        RAISE EXCEPTION 'a gate measures the check %', NEW.name;
                    END IF;
                    RETURN NEW;
                """,
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name}: {self.status}"


class ReleaseKind(models.TextChoices):
    PROMOTE = "promote", "Promoted"
    ROLLBACK = "rollback", "Rolled back"


class Release(ByActor):
    """This version became live in this environment. Live is the newest; the numbers of a prompt there are 1, 2, 3."""

    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="releases")
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="releases")
    version = models.ForeignKey(PromptVersion, on_delete=models.PROTECT, related_name="releases")
    number = models.PositiveIntegerField()
    kind = models.CharField(max_length=10, choices=ReleaseKind.choices)
    promotion = models.OneToOneField(Promotion, on_delete=models.PROTECT, null=True, related_name="release")
    # How many approvals stood when it was applied; a rollback copies it from what it restores.
    approvals = models.PositiveSmallIntegerField(default=0)
    restores = models.ForeignKey("self", on_delete=models.PROTECT, null=True, related_name="restored_by")
    reason = models.TextField(blank=True, max_length=5_000)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        constraints = [
            # Two writers that both saw number n live cannot both write n + 1.
            models.UniqueConstraint(fields=["environment", "prompt", "number"], name="release_number_once"),
            models.CheckConstraint(
                condition=Q(kind=ReleaseKind.PROMOTE, promotion__isnull=False, restores=None)
                | Q(kind=ReleaseKind.ROLLBACK, promotion=None, restores__isnull=False),
                name="release_has_its_origin",
            ),
        ]
        indexes = [models.Index(fields=["prompt", "-id"], name="release_of_prompt")]
        triggers = [*insert_only(), notify_trigger(PROJECT_OF_PROMPT, pgtrigger.Insert)]

    def __str__(self) -> str:
        return f"{self.version} live in {self.environment}"
