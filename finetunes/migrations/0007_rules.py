import django.db.models.deletion
import pgtrigger.compiler
import pgtrigger.migrations
from django.conf import settings
from django.db import migrations, models


# The rules stand again, in the words of docs/glossary.md.
class Migration(migrations.Migration):

    dependencies = [
        ('finetunes', '0006_states'),
    ]

    operations = [
        migrations.AlterField(
            model_name='crossvalidation',
            name='attempts',
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AlterField(
            model_name='crossvalidation',
            name='state',
            field=models.CharField(choices=[('running', 'Running'), ('done', 'Done'), ('failed', 'Failed'), ('cancelled', 'Cancelled')], default='running', max_length=10),
        ),
        migrations.AlterField(
            model_name='finetune',
            name='lease_token',
            field=models.PositiveBigIntegerField(default=0),
        ),
        migrations.AlterField(
            model_name='finetuningsettings',
            name='provider',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='fine_tuning', to='evaluations.provider'),
        ),
        migrations.AlterField(
            model_name='trainingset',
            name='attempts',
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AlterField(
            model_name='trainingset',
            name='state',
            field=models.CharField(choices=[('pending', 'Waiting'), ('running', 'Being built'), ('done', 'Built'), ('failed', 'Failed')], default='pending', max_length=10),
        ),
        migrations.AddIndex(
            model_name='trainingset',
            index=models.Index(condition=models.Q(('state__in', ['pending', 'running'])), fields=['id'], name='training_set_open'),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='finetuningprice',
            trigger=pgtrigger.compiler.Trigger(name='refuse_change', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='b0b24054c5afb9063f1ec28c7d2529a64aa9caf7', operation='UPDATE OR DELETE', pgid='pgtrigger_refuse_change_9a7d6', table='finetunes_finetuningprice', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='finetuningprice',
            trigger=pgtrigger.compiler.Trigger(name='refuse_truncate', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='846d5fa92a41de9d27fad23afcaae9b20ea3dae9', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_refuse_truncate_97038', table='finetunes_finetuningprice', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='trainingset',
            trigger=pgtrigger.compiler.Trigger(name='refuse_change_when_over', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."state" IN (\'done\', \'failed\'))', func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='2591864dbef140df47cb2bcba8d54d0bc8461e0e', operation='UPDATE', pgid='pgtrigger_refuse_change_when_over_56ee3', table='finetunes_trainingset', when='BEFORE')),
        ),
        migrations.AlterField(
            model_name='finetuningsettings',
            name='protocol',
            field=models.CharField(choices=[('azure', 'Azure OpenAI'), ('compatible', 'Compatible with OpenAI'), ('openai', 'OpenAI'), ('sandbox', 'Sandbox')], max_length=20),
        ),
        migrations.AddConstraint(
            model_name='finetuningsettings',
            constraint=models.CheckConstraint(condition=models.Q(('protocol__in', ['azure', 'compatible', 'openai', 'sandbox'])), name='fine_tuning_protocol_is_known'),
        ),
        migrations.AddConstraint(
            model_name='finetuningsettings',
            constraint=models.CheckConstraint(condition=models.Q(('max_jobs__gte', 1), ('max_jobs__lte', 100)), name='fine_tuning_jobs_1_to_100'),
        ),
        migrations.AddConstraint(
            model_name='trainingset',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['pending', 'running', 'done', 'failed'])), name='training_set_state_is_known'),
        ),
    ]
