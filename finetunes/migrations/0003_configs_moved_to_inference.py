import pgtrigger.compiler
from django.db import migrations

TRIGGERS = [
    pgtrigger.compiler.Trigger(name='refuse_refit', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."by_name" IS DISTINCT FROM (NEW."by_name") OR OLD."created_at" IS DISTINCT FROM (NEW."created_at") OR OLD."holder_id" IS DISTINCT FROM (NEW."holder_id") OR OLD."project_id" IS DISTINCT FROM (NEW."project_id") OR OLD."task" IS DISTINCT FROM (NEW."task"))', func="RAISE EXCEPTION '% of % never change', 'project, task, holder, by_name, created_at', TG_TABLE_NAME;", hash='f62e923ab5ece217449523e854c4286533790844', operation='UPDATE', pgid='pgtrigger_refuse_refit_0d21d', table='inference_inferenceconfig', when='BEFORE')),
    pgtrigger.compiler.Trigger(name='refuse_delete', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'pgtrigger: Cannot delete rows from % table', TG_TABLE_NAME;", hash='ac6ab4c4f7d35f793e01e7fb0475db6f37df0b72', operation='DELETE', pgid='pgtrigger_refuse_delete_4a793', table='inference_inferenceconfig', when='BEFORE')),
]
STATEMENTS = [
    "DROP TRIGGER pgtrigger_refuse_refit_9bbb5 ON finetunes_inferenceconfig",
    "DROP TRIGGER pgtrigger_refuse_delete_61815 ON finetunes_inferenceconfig",
    "ALTER TABLE finetunes_inferenceconfig RENAME TO inference_inferenceconfig",
    *(str(trigger.install_sql) for trigger in TRIGGERS),
]


# The rows belong to the app `inference` now (inference.0001), and the table bears its name. Triggers go first: their
# names depend on the table's.
class Migration(migrations.Migration):

    dependencies = [
        ("finetunes", "0002_cross_validations_and_strategy"),
        ("inference", "0001_moved_from_other_apps"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(STATEMENTS)],
            state_operations=[migrations.DeleteModel(name="InferenceConfig")],
        ),
    ]
