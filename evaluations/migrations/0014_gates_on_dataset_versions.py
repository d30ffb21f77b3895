import django.db.models.deletion
import pgtrigger
from django.db import migrations, models

# The cases that each gate has measured on lately: its dataset's newest.
CASES = """
UPDATE evaluations_gate gate SET dataset_version_id = (
    SELECT id FROM evaluations_datasetversion WHERE dataset_id = gate.dataset_id ORDER BY number DESC LIMIT 1
)
"""
MEASURED = """
UPDATE registry_environment environment SET measured_checks = (
    SELECT coalesce(array_agg(DISTINCT name ORDER BY name), '{}') FROM evaluations_gate
    WHERE environment_id = environment.id AND removed_at IS NULL
)
"""


def name_prompts(apps, schema_editor):
    """Say which prompt each check of a gate measured. Checks are insert-only; the column was not there when these were
    inserted."""
    GateRun = apps.get_model("evaluations", "GateRun")
    VersionCheck = apps.get_model("registry", "VersionCheck")
    written = GateRun.objects.filter(check_written__isnull=False)
    with pgtrigger.ignore("registry.VersionCheck:refuse_change"):
        rows = written.values_list("check_written", "version__prompt", "gate__environment")
        for check, prompt, environment in rows.iterator(chunk_size=500):
            VersionCheck.objects.filter(pk=check).update(prompt=prompt, environment=environment)
        for run in GateRun.objects.filter(state="running").select_related("gate", "version"):
            measured = VersionCheck.objects.filter(
                name=run.gate.name, content_hash=run.version.content_hash, created_at__gte=run.created_at
            )
            measured.update(prompt=run.version.prompt_id, environment=run.gate.environment_id)


class Migration(migrations.Migration):

    dependencies = [
        ("evaluations", "0001_squashed_0013_chat_protocol"),
        ("registry", "0010_fill_contributors"),
    ]

    operations = [
        migrations.AddField(
            model_name="gate",
            name="dataset_version",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="evaluations.datasetversion"
            ),
        ),
        migrations.RunSQL([CASES, MEASURED], migrations.RunSQL.noop),
        migrations.RunPython(name_prompts, migrations.RunPython.noop),
        migrations.RunSQL("SET CONSTRAINTS ALL IMMEDIATE", migrations.RunSQL.noop),
        migrations.AlterField(
            model_name="gate",
            name="dataset_version",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="+", to="evaluations.datasetversion"
            ),
        ),
    ]
