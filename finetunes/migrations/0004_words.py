import pgtrigger.migrations
from django.db import migrations

TRIGGERS = [
    ("tuningprice", "refuse_change"),
    ("tuningprice", "refuse_truncate"),
    ("trainingset", "refuse_change_when_over"),
]
FIELDS = [
    ("finetuningsettings", "dialect", "protocol"),
    ("finetune", "takes", "lease_token"),
    ("finetune", "unfinished", "attempts"),
    ("finetune", "setbacks", "consecutive_failures"),
    ("trainingset", "beat_at", "heartbeat_at"),
    ("crossvalidation", "beat_at", "heartbeat_at"),
]


# Tables and columns by the words of docs/glossary.md. Triggers go first: their names depend on the table's.
class Migration(migrations.Migration):

    dependencies = [("finetunes", "0003_configs_moved_to_inference")]

    operations = [
        *(pgtrigger.migrations.RemoveTrigger(model_name=model, name=name) for model, name in TRIGGERS),
        migrations.RemoveConstraint("tuner", "tuner_dialect_is_known"),
        migrations.RenameModel("Tuner", "FineTuningSettings"),
        migrations.RenameModel("TuningPrice", "FineTuningPrice"),
        *(migrations.RenameField(model, old, new) for model, old, new in FIELDS),
    ]
