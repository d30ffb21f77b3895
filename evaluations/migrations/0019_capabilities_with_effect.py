"""Capabilities have an effect from here on. Tools were sent whatever was ticked, so that every provider is taken to
offer them until somebody says otherwise; nothing ever read "embeddings"."""

from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models
from infra.migration_operations import Together

NEW = ["chat", "json_schema", "tools", "fine_tuning"]
LABELS = {"chat": "Chat", "json_schema": "Answers by JSON Schema", "tools": "Tools", "fine_tuning": "Fine-tuning"}


class Migration(migrations.Migration):
    dependencies = [("evaluations", "0018_provider_slots")]

    operations = [
        migrations.RunSQL(
            """
            UPDATE evaluations_provider SET capabilities = (
                SELECT array_agg(DISTINCT capability ORDER BY capability)
                FROM unnest(capabilities || '{chat,json_schema,tools}') AS capability WHERE capability <> 'embeddings'
            )
            """,
            migrations.RunSQL.noop,
        ),
        migrations.RemoveConstraint("provider", "provider_capabilities_are_known"),
        Together([
            migrations.AlterField(
                "provider",
                "capabilities",
                ArrayField(
                    models.CharField(max_length=20, choices=list(LABELS.items())), blank=True, default=list, size=None
                ),
            ),
            migrations.AddConstraint(
                "provider",
                models.CheckConstraint(
                    condition=models.Q(capabilities__contained_by=NEW), name="provider_capabilities_are_known"
                ),
            ),
        ]),
    ]
