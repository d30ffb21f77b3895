from django.db import migrations, models

KINDS = [("remote", "Server"), ("sandbox", "Sandbox"), ("local", "Local engine")]


class Migration(migrations.Migration):
    dependencies = [("evaluations", "0028_runs_without_retrieval")]

    operations = [
        migrations.AddField(
            "provider",
            "kind",
            models.CharField(choices=KINDS, db_default="remote", default="remote", editable=False, max_length=10),
        ),
        migrations.RunSQL(
            "UPDATE evaluations_provider SET kind = 'sandbox' WHERE is_simulation",
            "UPDATE evaluations_provider SET is_simulation = true WHERE kind = 'sandbox'",
        ),
        # A column cannot become a generated one.
        migrations.RemoveField("provider", "is_simulation"),
        migrations.AddField(
            "provider",
            "is_simulation",
            models.GeneratedField(
                db_persist=True, expression=models.Q(("kind", "sandbox")), output_field=models.BooleanField()
            ),
        ),
        migrations.AddConstraint(
            "provider",
            models.UniqueConstraint(
                condition=models.Q(("archived_at", None), ("kind", "local")),
                fields=("project",),
                name="provider_local_once",
                violation_error_message="This project has the local engine already.",
            ),
        ),
        migrations.AddConstraint(
            "provider",
            models.CheckConstraint(
                condition=models.Q(("kind__in", ["remote", "sandbox", "local"])), name="provider_kind_is_known"
            ),
        ),
    ]
