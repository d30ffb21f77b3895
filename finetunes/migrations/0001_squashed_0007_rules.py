import django.db.models.deletion
import django.db.models.functions.datetime
import pgtrigger.compiler
import pgtrigger.migrations
import uuid
from django.conf import settings
from django.db import migrations, models
from infra.migration_operations import Together


# What a new database takes: each table once, as it is now. An instance from before takes the migrations that this replaces;
# tests/test_migrations.py compares where both end.
# `registry.0001_initial` is in the list because each such instance has it, whatever else it has of this app: Django
# squashes all or nothing, and would create the tables of an app that it finds none of.
class Migration(migrations.Migration):

    replaces = [
        ('registry', '0001_initial'),
        ('finetunes', '0001_training_sets_and_jobs'),
        ('finetunes', '0002_cross_validations_and_strategy'),
        ('finetunes', '0003_configs_moved_to_inference'),
        ('finetunes', '0004_words'),
        ('finetunes', '0005_leases'),
        ('finetunes', '0006_states'),
        ('finetunes', '0007_rules'),
    ]

    initial = True

    dependencies = [
        ('inference', '0001_squashed_0003_call_rules'),
    ]

    operations = [
        Together([
            migrations.CreateModel(
                name='TrainingSet',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('by_key', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='registry.apikey')),
                    ('by_name', models.CharField(max_length=200)),
                    ('attempts', models.PositiveIntegerField(default=0)),
                    ('lease_token', models.PositiveBigIntegerField(default=0)),
                    ('heartbeat_at', models.DateTimeField(null=True)),
                    ('error', models.CharField(blank=True, max_length=1000)),
                    ('finished_at', models.DateTimeField(null=True)),
                    ('project', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='training_sets', to='registry.project')),
                    ('dataset_version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='training_sets', to='evaluations.datasetversion')),
                    ('source', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='training_sets', to='registry.promptversion')),
                    ('prompt', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='registry.promptversion')),
                    ('method', models.CharField(choices=[('supervised', 'supervised'), ('dpo', 'dpo')], max_length=10)),
                    ('pairs', models.JSONField(default=dict)),
                    ('fold', models.PositiveSmallIntegerField(default=0)),
                    ('folds', models.PositiveSmallIntegerField(default=0)),
                    ('recipe_hash', models.CharField(max_length=71)),
                    ('state', models.CharField(choices=[('pending', 'Waiting'), ('running', 'Being built'), ('done', 'Built'), ('failed', 'Failed')], default='pending', max_length=10)),
                    ('content_hash', models.CharField(blank=True, max_length=71)),
                    ('train', models.PositiveIntegerField(default=0)),
                    ('validation', models.PositiveIntegerField(default=0)),
                    ('size', models.PositiveBigIntegerField(default=0)),
                    ('report', models.JSONField(default=dict)),
                    ('lengths', models.JSONField(default=dict)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['-id'],
                    'indexes': [models.Index(fields=['project', '-id'], name='training_set_of_project'), models.Index(condition=models.Q(('state__in', ['pending', 'running'])), fields=['id'], name='training_set_open')],
                    'constraints': [models.CheckConstraint(condition=models.Q(('state__in', ['pending', 'running', 'done', 'failed'])), name='training_set_state_is_known'), models.CheckConstraint(condition=models.Q(('method__in', ['supervised', 'dpo'])), name='training_set_method_is_known'), models.CheckConstraint(condition=models.Q(models.Q(('fold', 0), ('folds', 0)), models.Q(('fold__gte', 1), ('fold__lte', models.F('folds')), ('folds__gte', 2)), _connector='OR'), name='training_set_fold_is_one_of_its_folds'), models.UniqueConstraint(condition=models.Q(('state', 'failed'), _negated=True), fields=('project', 'recipe_hash'), name='training_set_once')],
                },
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='trainingset',
                trigger=pgtrigger.compiler.Trigger(name='refuse_refit', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."by_name" IS DISTINCT FROM (NEW."by_name") OR OLD."created_at" IS DISTINCT FROM (NEW."created_at") OR OLD."dataset_version_id" IS DISTINCT FROM (NEW."dataset_version_id") OR OLD."fold" IS DISTINCT FROM (NEW."fold") OR OLD."folds" IS DISTINCT FROM (NEW."folds") OR OLD."method" IS DISTINCT FROM (NEW."method") OR OLD."pairs" IS DISTINCT FROM (NEW."pairs") OR OLD."project_id" IS DISTINCT FROM (NEW."project_id") OR OLD."prompt_id" IS DISTINCT FROM (NEW."prompt_id") OR OLD."recipe_hash" IS DISTINCT FROM (NEW."recipe_hash") OR OLD."source_id" IS DISTINCT FROM (NEW."source_id"))', func="RAISE EXCEPTION '% of % never change', 'project, dataset_version, source, prompt, method, pairs, fold, folds, recipe_hash, by_name, created_at', TG_TABLE_NAME;", hash='93c1a8a5d102f6d7714fd6739bf3e8defd1758bc', operation='UPDATE', pgid='pgtrigger_refuse_refit_f4d41', table='finetunes_trainingset', when='BEFORE')),
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='trainingset',
                trigger=pgtrigger.compiler.Trigger(name='refuse_delete', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'pgtrigger: Cannot delete rows from % table', TG_TABLE_NAME;", hash='b1962ad9a6cbde25de5f01db09889f549c603fca', operation='DELETE', pgid='pgtrigger_refuse_delete_87afc', table='finetunes_trainingset', when='BEFORE')),
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='trainingset',
                trigger=pgtrigger.compiler.Trigger(name='refuse_change_when_over', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."state" IN (\'done\', \'failed\'))', func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='2591864dbef140df47cb2bcba8d54d0bc8461e0e', operation='UPDATE', pgid='pgtrigger_refuse_change_when_over_56ee3', table='finetunes_trainingset', when='BEFORE')),
            ),
            migrations.CreateModel(
                name='TrainingFile',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('training_set', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='files', to='finetunes.trainingset')),
                    ('file', models.CharField(max_length=10)),
                    ('number', models.PositiveIntegerField()),
                    ('data', models.BinaryField()),
                ],
                options={
                    'ordering': ['training_set', 'file', 'number'],
                    'constraints': [models.UniqueConstraint(fields=('training_set', 'file', 'number'), name='training_file_piece_once')],
                },
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='trainingfile',
                trigger=pgtrigger.compiler.Trigger(name='refuse_change', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='e463a387b3c57966dcf755ae48a5c4018fff4172', operation='UPDATE OR DELETE', pgid='pgtrigger_refuse_change_d91a1', table='finetunes_trainingfile', when='BEFORE')),
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='trainingfile',
                trigger=pgtrigger.compiler.Trigger(name='refuse_truncate', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='f7c80d9eb2f815ff02ee28091991b794419480bf', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_refuse_truncate_b53a3', table='finetunes_trainingfile', when='BEFORE')),
            ),
            migrations.CreateModel(
                name='CrossValidation',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('by_key', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='registry.apikey')),
                    ('by_name', models.CharField(max_length=200)),
                    ('attempts', models.PositiveIntegerField(default=0)),
                    ('lease_token', models.PositiveBigIntegerField(default=0)),
                    ('heartbeat_at', models.DateTimeField(null=True)),
                    ('error', models.CharField(blank=True, max_length=1000)),
                    ('finished_at', models.DateTimeField(null=True)),
                    ('project', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='cross_validations', to='registry.project')),
                    ('training_set', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='cross_validations', to='finetunes.trainingset')),
                    ('model', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='evaluations.providermodel')),
                    ('folds', models.PositiveSmallIntegerField()),
                    ('sets', models.JSONField()),
                    ('hyperparameters', models.JSONField()),
                    ('baseline', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='registry.promptversion')),
                    ('scorers', models.JSONField()),
                    ('is_simulation', models.BooleanField()),
                    ('budget_usd', models.DecimalField(decimal_places=6, max_digits=12, null=True)),
                    ('state', models.CharField(choices=[('running', 'Running'), ('done', 'Done'), ('failed', 'Failed'), ('cancelled', 'Cancelled')], default='running', max_length=10)),
                    ('next_step_at', models.DateTimeField(null=True)),
                    ('result', models.JSONField(null=True)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['-id'],
                    'indexes': [models.Index(fields=['project', '-id'], name='cross_validation_of_project'), models.Index(condition=models.Q(('state', 'running')), fields=['id'], name='cross_validation_open')],
                    'constraints': [models.CheckConstraint(condition=models.Q(('state__in', ['running', 'done', 'failed', 'cancelled'])), name='cross_validation_state_is_known'), models.CheckConstraint(condition=models.Q(('folds__gte', 2), ('folds__lte', 10)), name='cross_validation_folds_2_to_10')],
                },
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='crossvalidation',
                trigger=pgtrigger.compiler.Trigger(name='refuse_refit', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."baseline_id" IS DISTINCT FROM (NEW."baseline_id") OR OLD."budget_usd" IS DISTINCT FROM (NEW."budget_usd") OR OLD."by_name" IS DISTINCT FROM (NEW."by_name") OR OLD."created_at" IS DISTINCT FROM (NEW."created_at") OR OLD."folds" IS DISTINCT FROM (NEW."folds") OR OLD."hyperparameters" IS DISTINCT FROM (NEW."hyperparameters") OR OLD."is_simulation" IS DISTINCT FROM (NEW."is_simulation") OR OLD."model_id" IS DISTINCT FROM (NEW."model_id") OR OLD."project_id" IS DISTINCT FROM (NEW."project_id") OR OLD."scorers" IS DISTINCT FROM (NEW."scorers") OR OLD."sets" IS DISTINCT FROM (NEW."sets") OR OLD."training_set_id" IS DISTINCT FROM (NEW."training_set_id"))', func="RAISE EXCEPTION '% of % never change', 'project, training_set, model, folds, sets, hyperparameters, baseline, scorers, is_simulation, budget_usd, by_name, created_at', TG_TABLE_NAME;", hash='7fa9a36f98c32e95df3e006f0c5e52c434fd1db1', operation='UPDATE', pgid='pgtrigger_refuse_refit_6a37b', table='finetunes_crossvalidation', when='BEFORE')),
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='crossvalidation',
                trigger=pgtrigger.compiler.Trigger(name='refuse_delete', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'pgtrigger: Cannot delete rows from % table', TG_TABLE_NAME;", hash='81f569aa3c9da39efd891b41614ea4108d8e1242', operation='DELETE', pgid='pgtrigger_refuse_delete_5c598', table='finetunes_crossvalidation', when='BEFORE')),
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='crossvalidation',
                trigger=pgtrigger.compiler.Trigger(name='refuse_change_when_over', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (NOT (OLD."state" = \'running\'))', func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='de13a31751e537abb3e10d0a7ff5d5a402f74542', operation='UPDATE', pgid='pgtrigger_refuse_change_when_over_4306a', table='finetunes_crossvalidation', when='BEFORE')),
            ),
            migrations.CreateModel(
                name='FineTuningSettings',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('provider', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='fine_tuning', to='evaluations.provider')),
                    ('protocol', models.CharField(choices=[('azure', 'Azure OpenAI'), ('compatible', 'Compatible with OpenAI'), ('openai', 'OpenAI'), ('sandbox', 'Sandbox')], max_length=20)),
                    ('max_jobs', models.PositiveSmallIntegerField(default=3)),
                    ('encrypted_webhook_secret', models.TextField(blank=True, editable=False)),
                ],
                options={
                    'ordering': ['id'],
                    'constraints': [models.CheckConstraint(condition=models.Q(('protocol__in', ['azure', 'compatible', 'openai', 'sandbox'])), name='fine_tuning_protocol_is_known'), models.CheckConstraint(condition=models.Q(('max_jobs__gte', 1), ('max_jobs__lte', 100)), name='fine_tuning_jobs_1_to_100')],
                },
            ),
            migrations.CreateModel(
                name='FineTuningPrice',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('model', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='tuning_prices', to='evaluations.providermodel')),
                    ('valid_from', models.DateField()),
                    ('training', models.DecimalField(decimal_places=6, max_digits=12)),
                    ('tuned_input', models.DecimalField(decimal_places=6, max_digits=12, null=True)),
                    ('tuned_output', models.DecimalField(decimal_places=6, max_digits=12, null=True)),
                    ('by_name', models.CharField(max_length=200)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['model', '-valid_from', '-id'],
                    'constraints': [models.CheckConstraint(condition=models.Q(('training__gte', 0)), name='tuning_price_is_not_negative')],
                },
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='finetuningprice',
                trigger=pgtrigger.compiler.Trigger(name='refuse_change', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='b0b24054c5afb9063f1ec28c7d2529a64aa9caf7', operation='UPDATE OR DELETE', pgid='pgtrigger_refuse_change_9a7d6', table='finetunes_finetuningprice', when='BEFORE')),
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='finetuningprice',
                trigger=pgtrigger.compiler.Trigger(name='refuse_truncate', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='846d5fa92a41de9d27fad23afcaae9b20ea3dae9', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_refuse_truncate_97038', table='finetunes_finetuningprice', when='BEFORE')),
            ),
            migrations.CreateModel(
                name='Guide',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('project', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='guides', to='registry.project')),
                    ('name', models.CharField(max_length=100)),
                    ('prompt', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='guides', to='registry.prompt')),
                    ('dataset', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='guides', to='evaluations.dataset')),
                    ('latency_ms', models.PositiveIntegerField(null=True)),
                    ('quality', models.FloatField(null=True)),
                    ('cost_per_call_usd', models.DecimalField(decimal_places=6, max_digits=12, null=True)),
                    ('by_name', models.CharField(max_length=200)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['project', 'name'],
                    'constraints': [models.UniqueConstraint(fields=('project', 'name'), name='guide_name_once'), models.CheckConstraint(condition=models.Q(('quality', None), models.Q(('quality__gte', 0), ('quality__lte', 1)), _connector='OR'), name='guide_quality_0_to_1')],
                },
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='guide',
                trigger=pgtrigger.compiler.Trigger(name='refuse_refit', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."by_name" IS DISTINCT FROM (NEW."by_name") OR OLD."created_at" IS DISTINCT FROM (NEW."created_at") OR OLD."name" IS DISTINCT FROM (NEW."name") OR OLD."project_id" IS DISTINCT FROM (NEW."project_id"))', func="RAISE EXCEPTION '% of % never change', 'project, name, by_name, created_at', TG_TABLE_NAME;", hash='1c7510d456f44eb521f1a9e5499ee0f583e44fd0', operation='UPDATE', pgid='pgtrigger_refuse_refit_8ea95', table='finetunes_guide', when='BEFORE')),
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='guide',
                trigger=pgtrigger.compiler.Trigger(name='refuse_delete', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'pgtrigger: Cannot delete rows from % table', TG_TABLE_NAME;", hash='c269a51d31bcf8932d104ae51b73dd09075a371e', operation='DELETE', pgid='pgtrigger_refuse_delete_fc25f', table='finetunes_guide', when='BEFORE')),
            ),
            migrations.CreateModel(
                name='FineTune',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('by_key', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='registry.apikey')),
                    ('by_name', models.CharField(max_length=200)),
                    ('attempts', models.PositiveIntegerField(default=0)),
                    ('lease_token', models.PositiveBigIntegerField(default=0)),
                    ('heartbeat_at', models.DateTimeField(null=True)),
                    ('error', models.CharField(blank=True, max_length=1000)),
                    ('finished_at', models.DateTimeField(null=True)),
                    ('project', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='fine_tunes', to='registry.project')),
                    ('training_set', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='jobs', to='finetunes.trainingset')),
                    ('cross_validation', models.ForeignKey(editable=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='jobs', to='finetunes.crossvalidation')),
                    ('model', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='fine_tunes', to='evaluations.providermodel')),
                    ('provider_name', models.CharField(max_length=60)),
                    ('model_name', models.CharField(max_length=200)),
                    ('is_simulation', models.BooleanField()),
                    ('hyperparameters', models.JSONField()),
                    ('suffix', models.CharField(blank=True, max_length=40)),
                    ('baseline', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='registry.promptversion')),
                    ('scorers', models.JSONField()),
                    ('reference', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                    ('estimate', models.JSONField()),
                    ('price', models.JSONField(null=True)),
                    ('budget_usd', models.DecimalField(decimal_places=6, max_digits=12, null=True)),
                    ('state', models.CharField(choices=[('draft', 'Draft'), ('validating', 'Checked'), ('uploading', 'Being sent'), ('queued', 'Queued'), ('running', 'Training'), ('succeeded', 'Succeeded'), ('failed', 'Failed'), ('cancelled', 'Cancelled'), ('attention', 'Needs attention')], default='draft', max_length=10)),
                    ('resumes_at', models.CharField(blank=True, max_length=10)),
                    ('note', models.CharField(blank=True, max_length=500)),
                    ('remote_status', models.CharField(blank=True, max_length=60)),
                    ('remote_id', models.CharField(blank=True, max_length=200)),
                    ('training_file', models.CharField(blank=True, max_length=200)),
                    ('validation_file', models.CharField(blank=True, max_length=200)),
                    ('asked_at', models.DateTimeField(null=True)),
                    ('cancel_asked_at', models.DateTimeField(null=True)),
                    ('next_poll_at', models.DateTimeField(null=True)),
                    ('unchanged', models.PositiveIntegerField(default=0)),
                    ('consecutive_failures', models.PositiveIntegerField(default=0)),
                    ('trained_tokens', models.PositiveBigIntegerField(null=True)),
                    ('cost_usd', models.DecimalField(decimal_places=6, max_digits=14, null=True)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                    ('submitted_at', models.DateTimeField(null=True)),
                    ('started_at', models.DateTimeField(null=True)),
                ],
                options={
                    'ordering': ['-id'],
                    'indexes': [models.Index(fields=['project', '-id'], name='fine_tune_of_project'), models.Index(condition=models.Q(('state__in', ['validating', 'uploading', 'queued', 'running'])), fields=['next_poll_at'], name='fine_tune_due')],
                    'constraints': [models.CheckConstraint(condition=models.Q(('state__in', ['draft', 'validating', 'uploading', 'queued', 'running', 'succeeded', 'failed', 'cancelled', 'attention'])), name='fine_tune_state_is_known'), models.UniqueConstraint(condition=models.Q(('remote_id', ''), _negated=True), fields=('model', 'remote_id'), name='fine_tune_remote_once')],
                },
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='finetune',
                trigger=pgtrigger.compiler.Trigger(name='refuse_refit', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."by_name" IS DISTINCT FROM (NEW."by_name") OR OLD."created_at" IS DISTINCT FROM (NEW."created_at") OR OLD."cross_validation_id" IS DISTINCT FROM (NEW."cross_validation_id") OR OLD."is_simulation" IS DISTINCT FROM (NEW."is_simulation") OR OLD."model_id" IS DISTINCT FROM (NEW."model_id") OR OLD."project_id" IS DISTINCT FROM (NEW."project_id") OR OLD."reference" IS DISTINCT FROM (NEW."reference") OR OLD."training_set_id" IS DISTINCT FROM (NEW."training_set_id"))', func="RAISE EXCEPTION '% of % never change', 'project, training_set, cross_validation, model, is_simulation, reference, by_name, created_at', TG_TABLE_NAME;", hash='b92f00f353236fa9417e1f23117a95d6f3389909', operation='UPDATE', pgid='pgtrigger_refuse_refit_f9e70', table='finetunes_finetune', when='BEFORE')),
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='finetune',
                trigger=pgtrigger.compiler.Trigger(name='refuse_delete', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'pgtrigger: Cannot delete rows from % table', TG_TABLE_NAME;", hash='49abc8c2a7edbc63725c5ba39e37a5cfc7751f25', operation='DELETE', pgid='pgtrigger_refuse_delete_d9f89', table='finetunes_finetune', when='BEFORE')),
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='finetune',
                trigger=pgtrigger.compiler.Trigger(name='only_known_moves', sql=pgtrigger.compiler.UpsertTriggerSql(declare='DECLARE _is_valid_transition BOOLEAN;', func='SELECT CONCAT(OLD."state", \':\', NEW."state") = ANY(\'{draft:validating,draft:cancelled,validating:uploading,validating:attention,validating:cancelled,uploading:queued,uploading:running,uploading:succeeded,uploading:failed,uploading:cancelled,uploading:attention,queued:running,queued:succeeded,queued:failed,queued:cancelled,queued:attention,running:queued,running:succeeded,running:failed,running:cancelled,running:attention,attention:validating,attention:uploading,attention:queued,attention:running,attention:cancelled}\'::text[]) INTO _is_valid_transition; IF (_is_valid_transition IS FALSE AND OLD."state" IS DISTINCT FROM NEW."state") THEN RAISE EXCEPTION \'pgtrigger: Invalid transition of field "state" from "%" to "%" on table %\', OLD."state", NEW."state", TG_TABLE_NAME; ELSE RETURN NEW; END IF;', hash='b658b170894067946314338ef45a89f4a75f7d64', operation='UPDATE', pgid='pgtrigger_only_known_moves_9f185', table='finetunes_finetune', when='BEFORE')),
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='finetune',
                trigger=pgtrigger.compiler.Trigger(name='refuse_reset', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."baseline_id" IS DISTINCT FROM (NEW."baseline_id") OR OLD."estimate" IS DISTINCT FROM (NEW."estimate") OR OLD."hyperparameters" IS DISTINCT FROM (NEW."hyperparameters") OR OLD."price" IS DISTINCT FROM (NEW."price") OR OLD."scorers" IS DISTINCT FROM (NEW."scorers") OR OLD."suffix" IS DISTINCT FROM (NEW."suffix"))', func="\n                    IF OLD.state <> 'draft' THEN\n                        RAISE EXCEPTION 'what % was submitted with never changes', TG_TABLE_NAME;\n                    END IF;\n                    RETURN NEW;\n                ", hash='f50a39a9220e5719970e47024adaa91095070d0c', operation='UPDATE', pgid='pgtrigger_refuse_reset_99ad3', table='finetunes_finetune', when='BEFORE')),
            ),
            migrations.CreateModel(
                name='TuneEvent',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('job', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='events', to='finetunes.finetune')),
                    ('remote_id', models.CharField(max_length=200)),
                    ('at', models.DateTimeField()),
                    ('level', models.CharField(max_length=10)),
                    ('message', models.CharField(max_length=500)),
                ],
                options={
                    'ordering': ['job', 'id'],
                    'constraints': [models.UniqueConstraint(fields=('job', 'remote_id'), name='tune_event_once')],
                },
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='tuneevent',
                trigger=pgtrigger.compiler.Trigger(name='refuse_change', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='50d4c9e082d99dc28e105c8e2389a18d50865b41', operation='UPDATE OR DELETE', pgid='pgtrigger_refuse_change_eedfd', table='finetunes_tuneevent', when='BEFORE')),
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='tuneevent',
                trigger=pgtrigger.compiler.Trigger(name='refuse_truncate', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='95b87fb50045b45dbf09e4929bf707dcf55937c4', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_refuse_truncate_3bd2f', table='finetunes_tuneevent', when='BEFORE')),
            ),
            migrations.CreateModel(
                name='TunePoint',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('job', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='points', to='finetunes.finetune')),
                    ('step', models.PositiveIntegerField()),
                    ('values', models.JSONField()),
                ],
                options={
                    'ordering': ['job', 'step'],
                    'constraints': [models.UniqueConstraint(fields=('job', 'step'), name='tune_point_once')],
                },
            ),
            migrations.CreateModel(
                name='TuneCheckpoint',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('job', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='checkpoints', to='finetunes.finetune')),
                    ('remote_id', models.CharField(max_length=200)),
                    ('step', models.PositiveIntegerField()),
                    ('model_name', models.CharField(max_length=200)),
                ],
                options={
                    'ordering': ['job', 'step'],
                    'constraints': [models.UniqueConstraint(fields=('job', 'remote_id'), name='tune_checkpoint_once')],
                },
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='tunecheckpoint',
                trigger=pgtrigger.compiler.Trigger(name='refuse_change', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='ebd768d1666d885014ac2de95823413a30e23635', operation='UPDATE OR DELETE', pgid='pgtrigger_refuse_change_88758', table='finetunes_tunecheckpoint', when='BEFORE')),
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='tunecheckpoint',
                trigger=pgtrigger.compiler.Trigger(name='refuse_truncate', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='1d00f2ab0ea1f3e81f50c5079529a0e15ace3ebb', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_refuse_truncate_98146', table='finetunes_tunecheckpoint', when='BEFORE')),
            ),
            migrations.CreateModel(
                name='StrategyPolicy',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('project', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='strategy_policies', to='registry.project')),
                    ('number', models.PositiveIntegerField()),
                    ('members', models.JSONField()),
                    ('by_name', models.CharField(max_length=200)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'verbose_name_plural': 'strategy policies',
                    'ordering': ['project', '-number'],
                    'constraints': [models.UniqueConstraint(fields=('project', 'number'), name='strategy_policy_number_once')],
                },
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='strategypolicy',
                trigger=pgtrigger.compiler.Trigger(name='refuse_change', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='bc1b3e3a10b26e7beffed695f7d2734f48e6247d', operation='UPDATE OR DELETE', pgid='pgtrigger_refuse_change_591e5', table='finetunes_strategypolicy', when='BEFORE')),
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='strategypolicy',
                trigger=pgtrigger.compiler.Trigger(name='refuse_truncate', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='0aee483cd7fdabdbd44a6cec6f5b7edfc385eae3', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_refuse_truncate_f3399', table='finetunes_strategypolicy', when='BEFORE')),
            ),
            migrations.CreateModel(
                name='StrategyRecommendation',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('by_key', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='registry.apikey')),
                    ('by_name', models.CharField(max_length=200)),
                    ('project', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='recommendations', to='registry.project')),
                    ('prompt', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='recommendations', to='registry.prompt')),
                    ('version', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='registry.promptversion')),
                    ('environment', models.CharField(blank=True, max_length=60)),
                    ('policy', models.CharField(max_length=10)),
                    ('policy_number', models.PositiveIntegerField(default=0)),
                    ('policy_members', models.JSONField()),
                    ('inputs', models.JSONField()),
                    ('strategy', models.CharField(max_length=20)),
                    ('result', models.JSONField()),
                    ('is_simulation', models.BooleanField(default=False)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['-id'],
                    'indexes': [models.Index(fields=['project', '-id'], name='recommendation_of_project'), models.Index(fields=['prompt', '-id'], name='recommendation_of_prompt')],
                    'constraints': [models.CheckConstraint(condition=models.Q(('policy__in', ('seed', 'default'))), name='recommendation_policy_is_known')],
                },
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='strategyrecommendation',
                trigger=pgtrigger.compiler.Trigger(name='refuse_change', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='fdd2df62e255b55e586331b7724e71484003780a', operation='UPDATE OR DELETE', pgid='pgtrigger_refuse_change_67d3b', table='finetunes_strategyrecommendation', when='BEFORE')),
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='strategyrecommendation',
                trigger=pgtrigger.compiler.Trigger(name='refuse_truncate', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='e7a96e5522047199bc12f5c825a19f03ff7b5493', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_refuse_truncate_e6501', table='finetunes_strategyrecommendation', when='BEFORE')),
            ),
            migrations.CreateModel(
                name='TunedModel',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('project', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='tuned_models', to='registry.project')),
                    ('job', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='tuned', to='finetunes.finetune')),
                    ('base', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='tuned_models', to='evaluations.providermodel')),
                    ('remote_name', models.CharField(max_length=200)),
                    ('model', models.OneToOneField(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='tuned_as', to='evaluations.providermodel')),
                    ('training_set_hash', models.CharField(max_length=71)),
                    ('prompt_hash', models.CharField(max_length=71)),
                    ('hyperparameters', models.JSONField()),
                    ('cost_usd', models.DecimalField(decimal_places=6, max_digits=14, null=True)),
                    ('published', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='registry.promptversion')),
                    ('promotion', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='registry.promotion')),
                    ('drifts', models.JSONField(default=list)),
                    ('drift_looked_at', models.DateTimeField(null=True)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['-id'],
                },
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='tunedmodel',
                trigger=pgtrigger.compiler.Trigger(name='refuse_refit', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."base_id" IS DISTINCT FROM (NEW."base_id") OR OLD."cost_usd" IS DISTINCT FROM (NEW."cost_usd") OR OLD."created_at" IS DISTINCT FROM (NEW."created_at") OR OLD."hyperparameters" IS DISTINCT FROM (NEW."hyperparameters") OR OLD."job_id" IS DISTINCT FROM (NEW."job_id") OR OLD."project_id" IS DISTINCT FROM (NEW."project_id") OR OLD."prompt_hash" IS DISTINCT FROM (NEW."prompt_hash") OR OLD."remote_name" IS DISTINCT FROM (NEW."remote_name") OR OLD."training_set_hash" IS DISTINCT FROM (NEW."training_set_hash"))', func="RAISE EXCEPTION '% of % never change', 'project, job, base, remote_name, training_set_hash, prompt_hash, hyperparameters, cost_usd, created_at', TG_TABLE_NAME;", hash='52c2a4ac61b3634294e1f036fb53b299bc4759d5', operation='UPDATE', pgid='pgtrigger_refuse_refit_6ccbc', table='finetunes_tunedmodel', when='BEFORE')),
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='tunedmodel',
                trigger=pgtrigger.compiler.Trigger(name='refuse_delete', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'pgtrigger: Cannot delete rows from % table', TG_TABLE_NAME;", hash='ed7d70461c15556aa6524bed353d6143549a6c59', operation='DELETE', pgid='pgtrigger_refuse_delete_30f74', table='finetunes_tunedmodel', when='BEFORE')),
            ),
            migrations.CreateModel(
                name='TunedEvaluation',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('tuned', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='evaluations', to='finetunes.tunedmodel')),
                    ('split', models.CharField(max_length=10)),
                    ('baseline', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='evaluations.run')),
                    ('candidate', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='evaluations.run')),
                    ('comparison', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='evaluations.comparison')),
                    ('error', models.CharField(blank=True, max_length=1000)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['tuned', 'id'],
                    'constraints': [models.UniqueConstraint(fields=('tuned', 'split'), name='tuned_evaluation_once_a_side')],
                },
            ),
        ]),
    ]
