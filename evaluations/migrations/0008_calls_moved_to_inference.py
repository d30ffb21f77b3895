from django.db import migrations


# The rows belong to the app `inference` now; the tables stay (inference.0001).
class Migration(migrations.Migration):

    dependencies = [("evaluations", "0007_observations")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.DeleteModel(name="Monitor"),
                migrations.DeleteModel(name="ObservationDay"),
                migrations.DeleteModel(name="Observation"),
            ],
        ),
    ]
