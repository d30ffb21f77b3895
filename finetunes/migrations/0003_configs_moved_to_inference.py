from django.db import migrations


# The rows belong to the app `inference` now; the tables stay (inference.0001).
class Migration(migrations.Migration):

    dependencies = [
        ("finetunes", "0002_cross_validations_and_strategy"),
        ("inference", "0001_moved_from_other_apps"),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.DeleteModel(name="InferenceConfig"),
            ],
        ),
    ]
