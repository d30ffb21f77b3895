import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from infra.triggers import insert_only
from registry.models import Project
from registry.models.notify_triggers import notify_trigger
from registry.models.prompts import PROMPT_NAME

PROJECT_OF_PROVIDER = "SELECT project_id FROM evaluations_provider WHERE id = ROW.provider_id"
PROJECT_OF_MODEL = """
SELECT provider.project_id FROM evaluations_providermodel model
JOIN evaluations_provider provider ON provider.id = model.provider_id WHERE model.id = ROW.model_id
"""


class Capability(models.TextChoices):
    """What a provider can do: what needs another is refused before a call is made."""

    CHAT = "chat", "Chat"
    JSON_SCHEMA = "json_schema", "Answers by JSON Schema"
    TOOLS = "tools", "Tools"
    FINE_TUNING = "fine_tuning", "Fine-tuning"


class ProviderKind(models.TextChoices):
    """Where a provider's models are: elsewhere, or in a server that comes with this installation."""

    REMOTE = "remote", "Server"
    SANDBOX = "sandbox", "Sandbox"
    LOCAL = "local", "Local engine"


class Provider(models.Model):
    """A provider of models. Its key is encrypted and never shown again."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="providers")
    name = models.CharField(max_length=60)
    base_url = models.CharField(max_length=500)
    # The file in evaluations/providers/protocols that talks to it.
    protocol = models.CharField(max_length=30, default="openai_chat", editable=False)
    encrypted_key = models.TextField(blank=True, editable=False)
    # The last four characters of the key, by which users tell keys apart.
    key_hint = models.CharField(max_length=4, blank=True, editable=False)
    capabilities: "ArrayField[list[str], list[str]]" = ArrayField(
        models.CharField(max_length=20, choices=Capability.choices), default=list, blank=True
    )
    max_concurrency = models.PositiveSmallIntegerField(
        default=16, validators=[MinValueValidator(1), MaxValueValidator(256)]
    )
    requests_per_minute = models.PositiveIntegerField(null=True, blank=True)
    tokens_per_minute = models.PositiveIntegerField(null=True, blank=True)
    timeout_seconds = models.PositiveSmallIntegerField(default=60)
    kind = models.CharField(
        max_length=10, choices=ProviderKind.choices, default=ProviderKind.REMOTE, db_default="remote", editable=False
    )
    # True where its answers are simulated by a program: every page that shows figures from it says so.
    is_simulation = models.GeneratedField(
        expression=Q(kind="sandbox"),  # type: ignore[arg-type]  # the stubs do not know that conditions may stand here
        output_field=models.BooleanField(),
        db_persist=True,
    )
    # The state of the rate limiter, shared by all workers (evaluations.providers.rate_limits).
    blocked_until = models.DateTimeField(null=True, editable=False)
    next_request_at = models.DateTimeField(null=True, editable=False)
    next_token_at = models.DateTimeField(null=True, editable=False)
    tested_at = models.DateTimeField(null=True, editable=False)
    test_result = models.CharField(max_length=1_000, blank=True, editable=False)
    test_passed = models.BooleanField(null=True, editable=False)
    # What was tried: {"name", "passed", "detail"} each (evaluations.providers.connection_test).
    test_checks = models.JSONField(default=list, blank=True, editable=False)
    synced_at = models.DateTimeField(null=True, editable=False)
    archived_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_by_name = models.CharField(max_length=200, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["project", "name"]
        constraints = [
            models.UniqueConstraint(
                fields=["project", "name"],
                name="provider_name_once",
                violation_error_message="A provider with this name exists.",
            ),
            # A second one would have the same models, and their names would say nothing any more.
            models.UniqueConstraint(
                fields=["project"],
                condition=Q(kind="local", archived_at=None),
                name="provider_local_once",
                violation_error_message="This project has the local engine already.",
            ),
            models.CheckConstraint(condition=Q(name__regex=PROMPT_NAME), name="provider_name_is_words"),
            models.CheckConstraint(condition=Q(kind__in=ProviderKind.values), name="provider_kind_is_known"),
            models.CheckConstraint(condition=Q(protocol__regex=r"^[a-z][a-z_]*$"), name="provider_protocol_is_a_name"),
            models.CheckConstraint(
                condition=Q(max_concurrency__gte=1, max_concurrency__lte=256), name="provider_concurrency_1_to_256"
            ),
            models.CheckConstraint(
                condition=Q(timeout_seconds__gte=1, timeout_seconds__lte=600), name="provider_timeout_1_to_600"
            ),
            models.CheckConstraint(
                condition=Q(capabilities__contained_by=Capability.values), name="provider_capabilities_are_known"
            ),
        ]
        # The inference service keeps what it asks by.
        triggers = [
            notify_trigger(
                "ROW.project_id",
                pgtrigger.Update,
                condition=pgtrigger.AnyChange(
                    *("base_url", "protocol", "encrypted_key", "archived_at"),
                    *("capabilities", "timeout_seconds", "max_concurrency"),
                ),
            )
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_local(self) -> bool:
        """True where its models run on this machine: nobody sends a bill, and its prices are assumptions."""
        return self.kind == ProviderKind.LOCAL


class ProviderSlots(models.Model):
    """The calls that one worker may have in flight with a provider, as long as it renews them."""

    holder = models.UUIDField(primary_key=True)
    provider = models.ForeignKey(Provider, on_delete=models.CASCADE, related_name="slots")
    slots = models.PositiveSmallIntegerField()
    # How many it could use, and how many calls it has with the provider.
    demand = models.PositiveSmallIntegerField()
    in_flight = models.PositiveSmallIntegerField(default=0)
    # The time since which it has had slots, or has waited for some.
    since = models.DateTimeField()
    renewed_at = models.DateTimeField()

    class Meta:
        ordering = ["provider", "since"]
        verbose_name_plural = "provider slots"

    def __str__(self) -> str:
        return f"{self.slots} of {self.provider}"


class ProviderModel(models.Model):
    """A model that a provider has or had; results refer to it."""

    provider = models.ForeignKey(Provider, on_delete=models.PROTECT, related_name="models")
    name = models.CharField(max_length=200)
    # True where the provider's own list had it the last time.
    is_listed = models.BooleanField(default=False)
    shutdown_date = models.DateField(null=True, blank=True)
    # What people here know better than the published facts (evaluations.providers.profiles.CORRECTIONS).
    corrections = models.JSONField(default=dict, blank=True, editable=False)
    # Settings that the provider was seen to refuse, and nobody has settled yet: name to its sentence and when.
    refused_settings = models.JSONField(default=dict, blank=True, editable=False)
    # An archived model is offered nowhere and asked nothing; what it answered stays.
    archived_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ["provider", "name"]
        constraints = [models.UniqueConstraint(fields=["provider", "name"], name="model_name_once_per_provider")]
        triggers = [
            notify_trigger(PROJECT_OF_PROVIDER, pgtrigger.Insert),
            notify_trigger(
                PROJECT_OF_PROVIDER,
                pgtrigger.Update,
                condition=pgtrigger.AnyChange("name", "shutdown_date", "corrections", "archived_at"),
                name="tell_delivery_of_update",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider.name}/{self.name}"


class ModelPrice(models.Model):
    """A model's price from a day on, in US dollars for a million tokens; the newest row of that day or before counts.
    A run copies its price."""

    model = models.ForeignKey(ProviderModel, on_delete=models.PROTECT, related_name="prices")
    valid_from = models.DateField()
    input = models.DecimalField(max_digits=12, decimal_places=6)
    cached_input = models.DecimalField(max_digits=12, decimal_places=6)
    output = models.DecimalField(max_digits=12, decimal_places=6)
    # Input that is written to a cache; None where that costs as any input does.
    cache_write = models.DecimalField(max_digits=12, decimal_places=6, null=True)
    source = models.CharField(max_length=100)
    by_name = models.CharField(max_length=200)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["model", "-valid_from", "-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(input__gte=0, cached_input__gte=0, output__gte=0), name="price_is_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(cache_write=None) | Q(cache_write__gte=0), name="price_of_cache_write_is_not_negative"
            ),
        ]
        triggers = [*insert_only(), notify_trigger(PROJECT_OF_MODEL, pgtrigger.Insert)]

    def __str__(self) -> str:
        return f"{self.model} from {self.valid_from}"
