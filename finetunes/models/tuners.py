from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from evaluations.models import Provider, ProviderModel
from finetunes.providers.states import DIALECTS
from infra.triggers import insert_only


class Tuner(models.Model):
    """How a provider tunes: its dialect, and how many jobs it may have of ours at a time. The row is also the lock
    under which jobs take their places."""

    provider = models.OneToOneField(Provider, on_delete=models.PROTECT, related_name="tuner")
    dialect = models.CharField(max_length=20, choices=[(one.name, one.title) for one in DIALECTS.values()])
    max_jobs = models.PositiveSmallIntegerField(default=3)
    encrypted_webhook_secret = models.TextField(blank=True, editable=False)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(condition=Q(dialect__in=list(DIALECTS)), name="tuner_dialect_is_known"),
            models.CheckConstraint(condition=Q(max_jobs__gte=1, max_jobs__lte=100), name="tuner_jobs_1_to_100"),
        ]

    def __str__(self) -> str:
        return f"tuning at {self.provider}"


class TuningPrice(models.Model):
    """What tuning a base costs from a day on, and what its tuned models cost then, in US dollars for a million
    tokens."""

    model = models.ForeignKey(ProviderModel, on_delete=models.PROTECT, related_name="tuning_prices")
    valid_from = models.DateField()
    training = models.DecimalField(max_digits=12, decimal_places=6)
    # None: as the base.
    tuned_input = models.DecimalField(max_digits=12, decimal_places=6, null=True)
    tuned_output = models.DecimalField(max_digits=12, decimal_places=6, null=True)
    by_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["model", "-valid_from", "-id"]
        constraints = [models.CheckConstraint(condition=Q(training__gte=0), name="tuning_price_is_not_negative")]
        triggers = insert_only()

    def __str__(self) -> str:
        return f"tuning {self.model} from {self.valid_from}"
