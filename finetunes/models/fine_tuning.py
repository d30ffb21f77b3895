from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from evaluations.models import Provider, ProviderModel
from finetunes.providers.protocols import PROTOCOLS
from infra.triggers import insert_only


class FineTuningSettings(models.Model):
    """Fine-tuning settings of a provider: its protocol, and how many of our jobs it may have at a time. The row is also
    the lock under which jobs take slots."""

    provider = models.OneToOneField(Provider, on_delete=models.PROTECT, related_name="fine_tuning")
    protocol = models.CharField(
        max_length=20, choices=[(protocol.name, protocol.title) for protocol in PROTOCOLS.values()]
    )
    max_jobs = models.PositiveSmallIntegerField(default=3)
    encrypted_webhook_secret = models.TextField(blank=True, editable=False)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(condition=Q(protocol__in=list(PROTOCOLS)), name="fine_tuning_protocol_is_known"),
            models.CheckConstraint(condition=Q(max_jobs__gte=1, max_jobs__lte=100), name="fine_tuning_jobs_1_to_100"),
        ]

    def __str__(self) -> str:
        return f"tuning at {self.provider}"


class FineTuningPrice(models.Model):
    """Price of tuning a base from a day on, and of calls of its tuned models, in US dollars for a million tokens."""

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
