from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from infra.triggers import insert_only
from registry.models import ByActor, Project, Prompt, PromptVersion


class StrategyPolicy(models.Model):
    """A project's numbers for recommendations (finetunes.strategy.policy.Policy); the newest counts, older ones stay
    for the recommendations that were made by them."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="strategy_policies")
    number = models.PositiveIntegerField()
    members = models.JSONField()
    by_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["project", "-number"]
        verbose_name_plural = "strategy policies"
        constraints = [models.UniqueConstraint(fields=["project", "number"], name="strategy_policy_number_once")]
        triggers = insert_only()

    def __str__(self) -> str:
        return f"policy {self.number} of {self.project}"


class StrategyRecommendation(ByActor):
    """A recommendation with its policy and its inputs: all that is needed to compute it again."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="recommendations")
    # Of a prompt's version, or of numbers that a user entered.
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, null=True, related_name="recommendations")
    version = models.ForeignKey(PromptVersion, on_delete=models.PROTECT, null=True, related_name="+")
    environment = models.CharField(max_length=60, blank=True)
    # `seed` or `default`; of the latter the members, and their number (0: Cuebook's defaults).
    policy = models.CharField(max_length=10)
    policy_number = models.PositiveIntegerField(default=0)
    policy_members = models.JSONField()
    inputs = models.JSONField()
    strategy = models.CharField(max_length=20)
    result = models.JSONField()
    # Whether figures of simulated runs or calls are among the inputs.
    is_simulation = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(policy__in=("seed", "default")), name="recommendation_policy_is_known")
        ]
        indexes = [
            models.Index(fields=["project", "-id"], name="recommendation_of_project"),
            models.Index(fields=["prompt", "-id"], name="recommendation_of_prompt"),
        ]
        triggers = insert_only()

    def __str__(self) -> str:
        return f"recommendation {self.pk}"
