import django.db.models.deletion
import pgtrigger.compiler
import pgtrigger.migrations
from django.conf import settings
from django.db import migrations, models


# Work rows take the members of the one lease (infra/work.py).
class Migration(migrations.Migration):

    dependencies = [
        ('finetunes', '0004_words'),
        ('evaluations', '0012_comparisons_in_use'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='finetuningsettings',
            name='tuner_jobs_1_to_100',
        ),
        migrations.RemoveConstraint(
            model_name='trainingset',
            name='training_set_state_is_known',
        ),
        migrations.RemoveIndex(
            model_name='trainingset',
            name='training_set_open',
        ),
        migrations.RemoveField(
            model_name='finetune',
            name='leased_until',
        ),
        migrations.AddField(
            model_name='crossvalidation',
            name='lease_token',
            field=models.PositiveBigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='crossvalidation',
            name='next_step_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='finetune',
            name='heartbeat_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='trainingset',
            name='lease_token',
            field=models.PositiveBigIntegerField(default=0),
        ),
    ]
