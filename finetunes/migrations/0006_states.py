from django.db import migrations

STATES = {"building": "pending", "ready": "done"}


def rename_states(apps, schema_editor):
    """Use one word for each state of a work row."""
    training_sets = apps.get_model("finetunes", "TrainingSet").objects
    for old, new in STATES.items():
        training_sets.filter(state=old).update(state=new)


class Migration(migrations.Migration):

    dependencies = [("finetunes", "0005_leases")]

    operations = [migrations.RunPython(rename_states, migrations.RunPython.noop)]
