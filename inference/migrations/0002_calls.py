import pgtrigger.migrations
from django.db import migrations

TRIGGERS = [
    ("observation", "refuse_refit"),
    ("observationday", "refuse_change"),
    ("observationday", "refuse_truncate"),
    ("monitor", "refuse_refit"),
]


# The field's word for one live call, and tables that bear their app's name. Triggers go first: their names depend on the
# table's.
class Migration(migrations.Migration):

    dependencies = [("inference", "0001_moved_from_other_apps")]

    operations = [
        *(pgtrigger.migrations.RemoveTrigger(model_name=model, name=name) for model, name in TRIGGERS),
        migrations.RenameModel("Observation", "Call"),
        migrations.RenameModel("ObservationDay", "CallDay"),
        migrations.AlterModelTable("call", None),
        migrations.AlterModelTable("callday", None),
        migrations.AlterModelTable("monitor", None),
        migrations.RenameField("monitor", "fewest", "min_calls"),
        migrations.RenameField("callday", "traffic", "usage"),
    ]
