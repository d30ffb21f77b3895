import django.db.models.deletion
import django.db.models.functions.datetime
import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models


# The tables stay as they are; only the app that their models belong to changes. That of the configs is renamed by
# finetunes.0003: no migration of this app waits for one of finetunes, which builds on it. Triggers bear the names that
# they have in the database, so that inference.0002 drops them.
class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('registry', '0007_deleted_keys_are_told'),
        ('evaluations', '0008_calls_moved_to_inference'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.CreateModel(
                    name='Monitor',
                    fields=[
                        ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                        ('environment', models.CharField(max_length=60)),
                        ('figure', models.CharField(max_length=20)),
                        ('bound', models.FloatField()),
                        ('hours', models.PositiveSmallIntegerField(default=24)),
                        ('fewest', models.PositiveIntegerField(default=30)),
                        ('state', models.CharField(choices=[('unknown', 'Too few calls'), ('ok', 'As it should be'), ('alert', 'Out of bounds')], default='unknown', max_length=10)),
                        ('value', models.FloatField(null=True)),
                        ('calls', models.PositiveIntegerField(default=0)),
                        ('looked_at', models.DateTimeField(null=True)),
                        ('changed_at', models.DateTimeField(null=True)),
                        ('removed_at', models.DateTimeField(null=True)),
                        ('by_name', models.CharField(max_length=200)),
                        ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        ('project', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='monitors', to='registry.project')),
                        ('prompt', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='monitors', to='registry.prompt')),
                    ],
                    options={
                        'db_table': 'evaluations_monitor',
                        'ordering': ['prompt', 'id'],
                    },
                ),
                migrations.CreateModel(
                    name='Observation',
                    fields=[
                        ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
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
                        ('project', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='observations', to='registry.project')),
                        ('version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='observations', to='registry.promptversion')),
                    ],
                    options={
                        'db_table': 'evaluations_observation',
                        'ordering': ['-id'],
                    },
                ),
                migrations.CreateModel(
                    name='ObservationDay',
                    fields=[
                        ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                        ('environment', models.CharField(max_length=60)),
                        ('day', models.DateField()),
                        ('is_simulation', models.BooleanField()),
                        ('traffic', models.JSONField()),
                        ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        ('version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='observation_days', to='registry.promptversion')),
                    ],
                    options={
                        'db_table': 'evaluations_observationday',
                        'ordering': ['-day', 'id'],
                    },
                ),
                migrations.CreateModel(
                    name='InferenceConfig',
                    fields=[
                        ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                        ('task', models.CharField(max_length=100)),
                        ('by_name', models.CharField(max_length=200)),
                        ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                        ('follows', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='followed_by', to='registry.prompt')),
                        ('holder', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='inference_config', to='registry.prompt')),
                        ('project', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='inference_configs', to='registry.project')),
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
                migrations.AddIndex(
                    model_name='monitor',
                    index=models.Index(condition=models.Q(('removed_at', None)), fields=['id'], name='monitor_in_use'),
                ),
                migrations.AddConstraint(
                    model_name='monitor',
                    constraint=models.CheckConstraint(condition=models.Q(('state__in', ['unknown', 'ok', 'alert'])), name='monitor_state_is_known'),
                ),
                migrations.AddConstraint(
                    model_name='monitor',
                    constraint=models.CheckConstraint(condition=models.Q(('hours__gte', 1), ('hours__lte', 720)), name='monitor_hours_1_to_720'),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name='monitor',
                    trigger=pgtrigger.compiler.Trigger(name='refuse_refit', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."bound" IS DISTINCT FROM (NEW."bound") OR OLD."by_name" IS DISTINCT FROM (NEW."by_name") OR OLD."created_at" IS DISTINCT FROM (NEW."created_at") OR OLD."environment" IS DISTINCT FROM (NEW."environment") OR OLD."fewest" IS DISTINCT FROM (NEW."fewest") OR OLD."figure" IS DISTINCT FROM (NEW."figure") OR OLD."hours" IS DISTINCT FROM (NEW."hours") OR OLD."project_id" IS DISTINCT FROM (NEW."project_id") OR OLD."prompt_id" IS DISTINCT FROM (NEW."prompt_id"))', func="RAISE EXCEPTION '% of % never change', 'project, prompt, environment, figure, bound, hours, fewest, by_name, created_at', TG_TABLE_NAME;", hash='712de34e85775b3f98c6cd026e1f549ebb7a43b1', operation='UPDATE', pgid='pgtrigger_refuse_refit_9d7e9', table='evaluations_monitor', when='BEFORE')),
                ),
                migrations.AddIndex(
                    model_name='observation',
                    index=models.Index(fields=['version', 'at'], name='observation_of_version'),
                ),
                migrations.AddIndex(
                    model_name='observation',
                    index=models.Index(fields=['at'], name='observation_at'),
                ),
                migrations.AddConstraint(
                    model_name='observation',
                    constraint=models.UniqueConstraint(fields=('project', 'reference'), name='observation_once'),
                ),
                migrations.AddConstraint(
                    model_name='observation',
                    constraint=models.CheckConstraint(condition=models.Q(('score', None), models.Q(('score__gte', 0), ('score__lte', 1)), _connector='OR'), name='observation_score_0_to_1'),
                ),
                migrations.AddConstraint(
                    model_name='observation',
                    constraint=models.CheckConstraint(condition=models.Q(('latency_ms', None), ('latency_ms__gte', 0), _connector='OR'), name='observation_latency'),
                ),
                migrations.AddConstraint(
                    model_name='observation',
                    constraint=models.CheckConstraint(condition=models.Q(('cost_usd', None), ('cost_usd__gte', 0), _connector='OR'), name='observation_cost'),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name='observation',
                    trigger=pgtrigger.compiler.Trigger(name='refuse_refit', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."at" IS DISTINCT FROM (NEW."at") OR OLD."cost_usd" IS DISTINCT FROM (NEW."cost_usd") OR OLD."environment" IS DISTINCT FROM (NEW."environment") OR OLD."failed" IS DISTINCT FROM (NEW."failed") OR OLD."format_ok" IS DISTINCT FROM (NEW."format_ok") OR OLD."is_simulation" IS DISTINCT FROM (NEW."is_simulation") OR OLD."label" IS DISTINCT FROM (NEW."label") OR OLD."latency_ms" IS DISTINCT FROM (NEW."latency_ms") OR OLD."model_name" IS DISTINCT FROM (NEW."model_name") OR OLD."project_id" IS DISTINCT FROM (NEW."project_id") OR OLD."reference" IS DISTINCT FROM (NEW."reference") OR OLD."score" IS DISTINCT FROM (NEW."score") OR OLD."tokens_in" IS DISTINCT FROM (NEW."tokens_in") OR OLD."tokens_out" IS DISTINCT FROM (NEW."tokens_out") OR OLD."version_id" IS DISTINCT FROM (NEW."version_id"))', func="RAISE EXCEPTION '% of % never change', 'project, version, environment, reference, at, model_name, failed, latency_ms, tokens_in, tokens_out, cost_usd, format_ok, score, label, is_simulation', TG_TABLE_NAME;", hash='a889acbf33588247f490e3f7ba7fd4f4523e5687', operation='UPDATE', pgid='pgtrigger_refuse_refit_bd421', table='evaluations_observation', when='BEFORE')),
                ),
                migrations.AddIndex(
                    model_name='observationday',
                    index=models.Index(fields=['-day'], name='observation_day_newest'),
                ),
                migrations.AddConstraint(
                    model_name='observationday',
                    constraint=models.UniqueConstraint(fields=('version', 'environment', 'day'), name='observation_day_once'),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name='observationday',
                    trigger=pgtrigger.compiler.Trigger(name='refuse_change', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='dc73f3bb0551579c0283514304d25c4267c759f1', operation='UPDATE OR DELETE', pgid='pgtrigger_refuse_change_e5bf3', table='evaluations_observationday', when='BEFORE')),
                ),
                pgtrigger.migrations.AddTrigger(
                    model_name='observationday',
                    trigger=pgtrigger.compiler.Trigger(name='refuse_truncate', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='fe3937ec4f91ab3fb4840c6f8fa46209c0a76c54', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_refuse_truncate_42f41', table='evaluations_observationday', when='BEFORE')),
                ),
            ],
        ),
    ]
