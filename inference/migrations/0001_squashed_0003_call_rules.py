import django.db.models.deletion
import django.db.models.functions.datetime
import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models
from infra.migration_operations import Together


# What a new database takes: each table once, as it is now. An instance from before takes the migrations that this replaces;
# tests/test_migrations.py compares where both end.
# `registry.0001_initial` is in the list because each such instance has it, whatever else it has of this app: Django
# squashes all or nothing, and would create the tables of an app that it finds none of.
class Migration(migrations.Migration):

    replaces = [
        ('registry', '0001_initial'),
        ('inference', '0001_moved_from_other_apps'),
        ('inference', '0002_calls'),
        ('inference', '0003_call_rules'),
    ]

    initial = True

    dependencies = [
        ('evaluations', '0001_squashed_0013_chat_protocol'),
    ]

    operations = [
        Together([
            migrations.CreateModel(
                name='Call',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('project', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='calls', to='registry.project')),
                    ('version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='calls', to='registry.promptversion')),
                    ('environment', models.CharField(max_length=60)),
                    ('reference', models.CharField(max_length=64)),
                    ('at', models.DateTimeField()),
                    ('model_name', models.CharField(blank=True, max_length=200)),
                    ('failed', models.BooleanField(default=False)),
                    ('latency_ms', models.FloatField(null=True)),
                    ('tokens_in', models.PositiveIntegerField(null=True)),
                    ('tokens_out', models.PositiveIntegerField(null=True)),
                    ('cost_usd', models.DecimalField(decimal_places=8, max_digits=14, null=True)),
                    ('format_ok', models.BooleanField(null=True)),
                    ('score', models.FloatField(null=True)),
                    ('label', models.CharField(blank=True, max_length=100)),
                    ('is_simulation', models.BooleanField(default=False)),
                ],
                options={
                    'ordering': ['-id'],
                    'indexes': [models.Index(fields=['version', 'at'], name='call_of_version'), models.Index(fields=['at'], name='call_at')],
                    'constraints': [models.UniqueConstraint(fields=('project', 'reference'), name='call_once'), models.CheckConstraint(condition=models.Q(('score', None), models.Q(('score__gte', 0), ('score__lte', 1)), _connector='OR'), name='call_score_0_to_1'), models.CheckConstraint(condition=models.Q(('latency_ms', None), ('latency_ms__gte', 0), _connector='OR'), name='call_latency'), models.CheckConstraint(condition=models.Q(('cost_usd', None), ('cost_usd__gte', 0), _connector='OR'), name='call_cost')],
                },
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='call',
                trigger=pgtrigger.compiler.Trigger(name='refuse_refit', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."at" IS DISTINCT FROM (NEW."at") OR OLD."cost_usd" IS DISTINCT FROM (NEW."cost_usd") OR OLD."environment" IS DISTINCT FROM (NEW."environment") OR OLD."failed" IS DISTINCT FROM (NEW."failed") OR OLD."format_ok" IS DISTINCT FROM (NEW."format_ok") OR OLD."is_simulation" IS DISTINCT FROM (NEW."is_simulation") OR OLD."label" IS DISTINCT FROM (NEW."label") OR OLD."latency_ms" IS DISTINCT FROM (NEW."latency_ms") OR OLD."model_name" IS DISTINCT FROM (NEW."model_name") OR OLD."project_id" IS DISTINCT FROM (NEW."project_id") OR OLD."reference" IS DISTINCT FROM (NEW."reference") OR OLD."score" IS DISTINCT FROM (NEW."score") OR OLD."tokens_in" IS DISTINCT FROM (NEW."tokens_in") OR OLD."tokens_out" IS DISTINCT FROM (NEW."tokens_out") OR OLD."version_id" IS DISTINCT FROM (NEW."version_id"))', func="RAISE EXCEPTION '% of % never change', 'project, version, environment, reference, at, model_name, failed, latency_ms, tokens_in, tokens_out, cost_usd, format_ok, score, label, is_simulation', TG_TABLE_NAME;", hash='a0cbe399a73fb64b13006720d5cc1692d2b24370', operation='UPDATE', pgid='pgtrigger_refuse_refit_616e4', table='inference_call', when='BEFORE')),
            ),
            migrations.CreateModel(
                name='CallDay',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='call_days', to='registry.promptversion')),
                    ('environment', models.CharField(max_length=60)),
                    ('day', models.DateField()),
                    ('is_simulation', models.BooleanField()),
                    ('usage', models.JSONField()),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['-day', 'id'],
                    'indexes': [models.Index(fields=['-day'], name='call_day_newest')],
                    'constraints': [models.UniqueConstraint(fields=('version', 'environment', 'day'), name='call_day_once')],
                },
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='callday',
                trigger=pgtrigger.compiler.Trigger(name='refuse_change', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='92742053dbbba3585f1b527b72bc11ccbc2aab2e', operation='UPDATE OR DELETE', pgid='pgtrigger_refuse_change_60b71', table='inference_callday', when='BEFORE')),
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='callday',
                trigger=pgtrigger.compiler.Trigger(name='refuse_truncate', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='30b3309020943f0fd2555e510c3513bf19d018e3', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_refuse_truncate_3779c', table='inference_callday', when='BEFORE')),
            ),
            migrations.CreateModel(
                name='InferenceConfig',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('project', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='inference_configs', to='registry.project')),
                    ('task', models.CharField(max_length=100)),
                    ('holder', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='inference_config', to='registry.prompt')),
                    ('follows', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='followed_by', to='registry.prompt')),
                    ('by_name', models.CharField(max_length=200)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['project', 'task'],
                    'constraints': [models.UniqueConstraint(fields=('project', 'task'), name='inference_config_task_once')],
                },
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='inferenceconfig',
                trigger=pgtrigger.compiler.Trigger(name='refuse_refit', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."by_name" IS DISTINCT FROM (NEW."by_name") OR OLD."created_at" IS DISTINCT FROM (NEW."created_at") OR OLD."holder_id" IS DISTINCT FROM (NEW."holder_id") OR OLD."project_id" IS DISTINCT FROM (NEW."project_id") OR OLD."task" IS DISTINCT FROM (NEW."task"))', func="RAISE EXCEPTION '% of % never change', 'project, task, holder, by_name, created_at', TG_TABLE_NAME;", hash='f62e923ab5ece217449523e854c4286533790844', operation='UPDATE', pgid='pgtrigger_refuse_refit_0d21d', table='inference_inferenceconfig', when='BEFORE')),
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='inferenceconfig',
                trigger=pgtrigger.compiler.Trigger(name='refuse_delete', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'pgtrigger: Cannot delete rows from % table', TG_TABLE_NAME;", hash='ac6ab4c4f7d35f793e01e7fb0475db6f37df0b72', operation='DELETE', pgid='pgtrigger_refuse_delete_4a793', table='inference_inferenceconfig', when='BEFORE')),
            ),
            migrations.CreateModel(
                name='Monitor',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('project', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='monitors', to='registry.project')),
                    ('prompt', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='monitors', to='registry.prompt')),
                    ('environment', models.CharField(max_length=60)),
                    ('figure', models.CharField(max_length=20)),
                    ('bound', models.FloatField()),
                    ('hours', models.PositiveSmallIntegerField(default=24)),
                    ('min_calls', models.PositiveIntegerField(default=30)),
                    ('state', models.CharField(choices=[('unknown', 'Too few calls'), ('ok', 'OK'), ('alert', 'Breached')], default='unknown', max_length=10)),
                    ('value', models.FloatField(null=True)),
                    ('calls', models.PositiveIntegerField(default=0)),
                    ('looked_at', models.DateTimeField(null=True)),
                    ('changed_at', models.DateTimeField(null=True)),
                    ('removed_at', models.DateTimeField(null=True)),
                    ('by_name', models.CharField(max_length=200)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['prompt', 'id'],
                    'indexes': [models.Index(condition=models.Q(('removed_at', None)), fields=['id'], name='monitor_in_use')],
                    'constraints': [models.CheckConstraint(condition=models.Q(('state__in', ['unknown', 'ok', 'alert'])), name='monitor_state_is_known'), models.CheckConstraint(condition=models.Q(('hours__gte', 1), ('hours__lte', 720)), name='monitor_hours_1_to_720')],
                },
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='monitor',
                trigger=pgtrigger.compiler.Trigger(name='refuse_refit', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."bound" IS DISTINCT FROM (NEW."bound") OR OLD."by_name" IS DISTINCT FROM (NEW."by_name") OR OLD."created_at" IS DISTINCT FROM (NEW."created_at") OR OLD."environment" IS DISTINCT FROM (NEW."environment") OR OLD."figure" IS DISTINCT FROM (NEW."figure") OR OLD."hours" IS DISTINCT FROM (NEW."hours") OR OLD."min_calls" IS DISTINCT FROM (NEW."min_calls") OR OLD."project_id" IS DISTINCT FROM (NEW."project_id") OR OLD."prompt_id" IS DISTINCT FROM (NEW."prompt_id"))', func="RAISE EXCEPTION '% of % never change', 'project, prompt, environment, figure, bound, hours, min_calls, by_name, created_at', TG_TABLE_NAME;", hash='8752f1371a683525d39e108df21230c26e29d832', operation='UPDATE', pgid='pgtrigger_refuse_refit_0ef51', table='inference_monitor', when='BEFORE')),
            ),
        ]),
    ]
