from django.db import migrations


# The field's word for one live call, and tables that bear their app's name.
class Migration(migrations.Migration):

    dependencies = [
        ("inference", "0001_moved_from_other_apps"),
        ("evaluations", "0008_calls_moved_to_inference"),
        ("finetunes", "0003_configs_moved_to_inference"),
    ]

    operations = [
        migrations.RenameModel("Observation", "Call"),
        migrations.RenameModel("ObservationDay", "CallDay"),
        migrations.AlterModelTable("call", None),
        migrations.AlterModelTable("callday", None),
        migrations.AlterModelTable("monitor", None),
        migrations.AlterModelTable("inferenceconfig", None),
    ]
