import django.db.models.deletion
import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('inference', '0002_calls'),
        ('registry', '0008_leases'),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name='call',
            name='observation_once',
        ),
        migrations.RemoveConstraint(
            model_name='call',
            name='observation_score_0_to_1',
        ),
        migrations.RemoveConstraint(
            model_name='call',
            name='observation_latency',
        ),
        migrations.RemoveConstraint(
            model_name='call',
            name='observation_cost',
        ),
        migrations.RemoveConstraint(
            model_name='callday',
            name='observation_day_once',
        ),
        migrations.RenameIndex(
            model_name='call',
            new_name='call_of_version',
            old_name='observation_of_version',
        ),
        migrations.RenameIndex(
            model_name='call',
            new_name='call_at',
            old_name='observation_at',
        ),
        migrations.RenameIndex(
            model_name='callday',
            new_name='call_day_newest',
            old_name='observation_day_newest',
        ),
        migrations.AlterField(
            model_name='call',
            name='project',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='calls', to='registry.project'),
        ),
        migrations.AlterField(
            model_name='call',
            name='version',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='calls', to='registry.promptversion'),
        ),
        migrations.AlterField(
            model_name='callday',
            name='version',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='call_days', to='registry.promptversion'),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='call',
            trigger=pgtrigger.compiler.Trigger(name='refuse_refit', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."at" IS DISTINCT FROM (NEW."at") OR OLD."cost_usd" IS DISTINCT FROM (NEW."cost_usd") OR OLD."environment" IS DISTINCT FROM (NEW."environment") OR OLD."failed" IS DISTINCT FROM (NEW."failed") OR OLD."format_ok" IS DISTINCT FROM (NEW."format_ok") OR OLD."is_simulation" IS DISTINCT FROM (NEW."is_simulation") OR OLD."label" IS DISTINCT FROM (NEW."label") OR OLD."latency_ms" IS DISTINCT FROM (NEW."latency_ms") OR OLD."model_name" IS DISTINCT FROM (NEW."model_name") OR OLD."project_id" IS DISTINCT FROM (NEW."project_id") OR OLD."reference" IS DISTINCT FROM (NEW."reference") OR OLD."score" IS DISTINCT FROM (NEW."score") OR OLD."tokens_in" IS DISTINCT FROM (NEW."tokens_in") OR OLD."tokens_out" IS DISTINCT FROM (NEW."tokens_out") OR OLD."version_id" IS DISTINCT FROM (NEW."version_id"))', func="RAISE EXCEPTION '% of % never change', 'project, version, environment, reference, at, model_name, failed, latency_ms, tokens_in, tokens_out, cost_usd, format_ok, score, label, is_simulation', TG_TABLE_NAME;", hash='a0cbe399a73fb64b13006720d5cc1692d2b24370', operation='UPDATE', pgid='pgtrigger_refuse_refit_616e4', table='inference_call', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='callday',
            trigger=pgtrigger.compiler.Trigger(name='refuse_change', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='92742053dbbba3585f1b527b72bc11ccbc2aab2e', operation='UPDATE OR DELETE', pgid='pgtrigger_refuse_change_60b71', table='inference_callday', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='callday',
            trigger=pgtrigger.compiler.Trigger(name='refuse_truncate', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='30b3309020943f0fd2555e510c3513bf19d018e3', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_refuse_truncate_3779c', table='inference_callday', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='monitor',
            trigger=pgtrigger.compiler.Trigger(name='refuse_refit', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."bound" IS DISTINCT FROM (NEW."bound") OR OLD."by_name" IS DISTINCT FROM (NEW."by_name") OR OLD."created_at" IS DISTINCT FROM (NEW."created_at") OR OLD."environment" IS DISTINCT FROM (NEW."environment") OR OLD."figure" IS DISTINCT FROM (NEW."figure") OR OLD."hours" IS DISTINCT FROM (NEW."hours") OR OLD."min_calls" IS DISTINCT FROM (NEW."min_calls") OR OLD."project_id" IS DISTINCT FROM (NEW."project_id") OR OLD."prompt_id" IS DISTINCT FROM (NEW."prompt_id"))', func="RAISE EXCEPTION '% of % never change', 'project, prompt, environment, figure, bound, hours, min_calls, by_name, created_at', TG_TABLE_NAME;", hash='8752f1371a683525d39e108df21230c26e29d832', operation='UPDATE', pgid='pgtrigger_refuse_refit_0ef51', table='inference_monitor', when='BEFORE')),
        ),
        migrations.AddConstraint(
            model_name='call',
            constraint=models.UniqueConstraint(fields=('project', 'reference'), name='call_once'),
        ),
        migrations.AddConstraint(
            model_name='call',
            constraint=models.CheckConstraint(condition=models.Q(('score', None), models.Q(('score__gte', 0), ('score__lte', 1)), _connector='OR'), name='call_score_0_to_1'),
        ),
        migrations.AddConstraint(
            model_name='call',
            constraint=models.CheckConstraint(condition=models.Q(('latency_ms', None), ('latency_ms__gte', 0), _connector='OR'), name='call_latency'),
        ),
        migrations.AddConstraint(
            model_name='call',
            constraint=models.CheckConstraint(condition=models.Q(('cost_usd', None), ('cost_usd__gte', 0), _connector='OR'), name='call_cost'),
        ),
        migrations.AddConstraint(
            model_name='callday',
            constraint=models.UniqueConstraint(fields=('version', 'environment', 'day'), name='call_day_once'),
        ),
        migrations.AlterField(
            model_name='monitor',
            name='state',
            field=models.CharField(choices=[('unknown', 'Too few calls'), ('ok', 'OK'), ('alert', 'Breached')], default='unknown', max_length=10),
        ),
    ]
