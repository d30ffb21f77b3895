import django.db.models.deletion
import pgtrigger.compiler
import pgtrigger.migrations
from django.conf import settings
from django.db import migrations, models


# What only lineups had goes, and the rules stand again.
class Migration(migrations.Migration):

    dependencies = [
        ('evaluations', '0011_lineups_become_comparisons'),
    ]

    operations = [
        migrations.RemoveField(model_name='run', name='sweep'),
        migrations.DeleteModel(name='LineupRun'),
        migrations.DeleteModel(name='Lineup'),
        migrations.RenameField('run', 'sweep_comparison', 'sweep'),
        migrations.AlterField(
            model_name='run',
            name='sweep',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='swept_runs', to='evaluations.comparison'),
        ),
        migrations.RemoveField(
            model_name='comparison',
            name='baseline',
        ),
        migrations.RemoveField(
            model_name='comparison',
            name='candidate',
        ),
        migrations.AlterField(
            model_name='comparison',
            name='attempts',
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AlterField(
            model_name='comparison',
            name='state',
            field=models.CharField(choices=[('pending', 'Waiting for its runs'), ('running', 'Running'), ('done', 'Done'), ('failed', 'Failed')], default='pending', max_length=10),
        ),
        migrations.AlterField(
            model_name='datasetimport',
            name='attempts',
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AlterField(
            model_name='datasetimport',
            name='state',
            field=models.CharField(choices=[('uploading', 'Uploading'), ('pending', 'Waiting'), ('running', 'Running'), ('done', 'Done'), ('failed', 'Failed')], default='uploading', max_length=10),
        ),
        migrations.AlterField(
            model_name='playgroundanswer',
            name='state',
            field=models.CharField(choices=[('pending', 'Waiting'), ('running', 'Running'), ('done', 'Done'), ('cancelled', 'Cancelled'), ('failed', 'Failed')], default='pending', max_length=10),
        ),
        migrations.AlterField(
            model_name='playgroundrun',
            name='project',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='playground_runs', to='registry.project'),
        ),
        migrations.AlterField(
            model_name='playgroundrun',
            name='prompt',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='playground_runs', to='registry.prompt'),
        ),
        migrations.AlterField(
            model_name='playgroundrun',
            name='state',
            field=models.CharField(choices=[('pending', 'Waiting'), ('running', 'Running'), ('done', 'Done'), ('cancelled', 'Cancelled'), ('failed', 'Failed')], default='pending', max_length=10),
        ),
        migrations.AlterField(
            model_name='playgroundrun',
            name='version',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='playground_runs', to='registry.promptversion'),
        ),
        migrations.AlterField(
            model_name='report',
            name='attempts',
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AlterField(
            model_name='report',
            name='state',
            field=models.CharField(choices=[('pending', 'Waiting'), ('running', 'Running'), ('done', 'Done'), ('failed', 'Failed')], default='pending', max_length=10),
        ),
        migrations.AlterField(
            model_name='run',
            name='state',
            field=models.CharField(choices=[('pending', 'Waiting'), ('running', 'Running'), ('done', 'Done'), ('stopped', 'Stopped at its budget'), ('cancelled', 'Cancelled'), ('failed', 'Failed')], default='pending', max_length=10),
        ),
        migrations.AlterField(
            model_name='runbatch',
            name='attempts',
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AlterField(
            model_name='runbatch',
            name='state',
            field=models.CharField(choices=[('pending', 'Waiting'), ('running', 'Running'), ('done', 'Done')], default='pending', max_length=10),
        ),
        migrations.AlterField(
            model_name='sla',
            name='project',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='slas', to='registry.project'),
        ),
        migrations.AlterField(
            model_name='synthesis',
            name='attempts',
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AlterField(
            model_name='synthesis',
            name='state',
            field=models.CharField(choices=[('pending', 'Waiting'), ('running', 'Running'), ('done', 'Done'), ('stopped', 'Stopped at its budget'), ('failed', 'Failed')], default='pending', max_length=10),
        ),
        migrations.AddIndex(
            model_name='annotationitem',
            index=models.Index(fields=['round', 'annotation_count', 'id'], name='annotation_item_next'),
        ),
        migrations.AddIndex(
            model_name='comparison',
            index=models.Index(condition=models.Q(('state__in', ('pending', 'running'))), fields=['id'], name='comparison_open'),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='comparison',
            trigger=pgtrigger.compiler.Trigger(name='refuse_refit', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."by_name" IS DISTINCT FROM (NEW."by_name") OR OLD."created_at" IS DISTINCT FROM (NEW."created_at") OR OLD."margin" IS DISTINCT FROM (NEW."margin") OR OLD."project_id" IS DISTINCT FROM (NEW."project_id") OR OLD."slas" IS DISTINCT FROM (NEW."slas") OR OLD."swept_id" IS DISTINCT FROM (NEW."swept_id"))', func="RAISE EXCEPTION '% of % never change', 'project, swept, margin, slas, by_name, created_at', TG_TABLE_NAME;", hash='2a0e91d64af37cad13ea8f1ee1c6b8acd2f53a7f', operation='UPDATE', pgid='pgtrigger_refuse_refit_af18c', table='evaluations_comparison', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='comparison',
            trigger=pgtrigger.compiler.Trigger(name='refuse_delete', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'pgtrigger: Cannot delete rows from % table', TG_TABLE_NAME;", hash='eeb70d608f3545930e12262e77827dd71ffea61a', operation='DELETE', pgid='pgtrigger_refuse_delete_81c21', table='evaluations_comparison', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='finding',
            trigger=pgtrigger.compiler.Trigger(name='refuse_change', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='e67818660e1dd55b772f1443654968a8d621d802', operation='UPDATE OR DELETE', pgid='pgtrigger_refuse_change_9ac46', table='evaluations_finding', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='finding',
            trigger=pgtrigger.compiler.Trigger(name='refuse_truncate', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='0f33eb5713adf20d989b2681b3cf2fdeb69e0db6', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_refuse_truncate_70f82', table='evaluations_finding', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='playgroundrun',
            trigger=pgtrigger.compiler.Trigger(name='refuse_refit', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."by_name" IS DISTINCT FROM (NEW."by_name") OR OLD."content" IS DISTINCT FROM (NEW."content") OR OLD."created_at" IS DISTINCT FROM (NEW."created_at") OR OLD."parameters" IS DISTINCT FROM (NEW."parameters") OR OLD."project_id" IS DISTINCT FROM (NEW."project_id") OR OLD."prompt_id" IS DISTINCT FROM (NEW."prompt_id") OR OLD."version_id" IS DISTINCT FROM (NEW."version_id"))', func="RAISE EXCEPTION '% of % never change', 'project, prompt, version, content, parameters, by_name, created_at', TG_TABLE_NAME;", hash='ffd0cc7033726e1ff01f7058ef5a1e783cff4452', operation='UPDATE', pgid='pgtrigger_refuse_refit_8855c', table='evaluations_playgroundrun', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='run',
            trigger=pgtrigger.compiler.Trigger(name='refuse_refit', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."answers_of_id" IS DISTINCT FROM (NEW."answers_of_id") OR OLD."by_name" IS DISTINCT FROM (NEW."by_name") OR OLD."cases" IS DISTINCT FROM (NEW."cases") OR OLD."cases_hash" IS DISTINCT FROM (NEW."cases_hash") OR OLD."created_at" IS DISTINCT FROM (NEW."created_at") OR OLD."dataset_version_id" IS DISTINCT FROM (NEW."dataset_version_id") OR OLD."is_simulation" IS DISTINCT FROM (NEW."is_simulation") OR OLD."leaked" IS DISTINCT FROM (NEW."leaked") OR OLD."model_id" IS DISTINCT FROM (NEW."model_id") OR OLD."model_name" IS DISTINCT FROM (NEW."model_name") OR OLD."parameters" IS DISTINCT FROM (NEW."parameters") OR OLD."price" IS DISTINCT FROM (NEW."price") OR OLD."project_id" IS DISTINCT FROM (NEW."project_id") OR OLD."provider_name" IS DISTINCT FROM (NEW."provider_name") OR OLD."repetitions" IS DISTINCT FROM (NEW."repetitions") OR OLD."scorers" IS DISTINCT FROM (NEW."scorers") OR OLD."split" IS DISTINCT FROM (NEW."split") OR OLD."sweep_id" IS DISTINCT FROM (NEW."sweep_id") OR OLD."version_id" IS DISTINCT FROM (NEW."version_id"))', func="RAISE EXCEPTION '% of % never change', 'project, version, dataset_version, split, model, provider_name, model_name, is_simulation, parameters, scorers, repetitions, cases, cases_hash, leaked, price, answers_of, sweep, by_name, created_at', TG_TABLE_NAME;", hash='4ee3ca3a64298ec22585b3b8d1c0b922facd2a8d', operation='UPDATE', pgid='pgtrigger_refuse_refit_e316c', table='evaluations_run', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='synthesis',
            trigger=pgtrigger.compiler.Trigger(name='refuse_refit', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."about" IS DISTINCT FROM (NEW."about") OR OLD."budget_usd" IS DISTINCT FROM (NEW."budget_usd") OR OLD."by_name" IS DISTINCT FROM (NEW."by_name") OR OLD."created_at" IS DISTINCT FROM (NEW."created_at") OR OLD."dataset_id" IS DISTINCT FROM (NEW."dataset_id") OR OLD."model_id" IS DISTINCT FROM (NEW."model_id") OR OLD."requested" IS DISTINCT FROM (NEW."requested") OR OLD."variables" IS DISTINCT FROM (NEW."variables"))', func="RAISE EXCEPTION '% of % never change', 'dataset, model, requested, about, variables, budget_usd, by_name, created_at', TG_TABLE_NAME;", hash='aba3b951a49fe6dc27fdce157c25ae920c192082', operation='UPDATE', pgid='pgtrigger_refuse_refit_4eded', table='evaluations_synthesis', when='BEFORE')),
        ),
        migrations.AddConstraint(
            model_name='annotationitem',
            constraint=models.CheckConstraint(condition=models.Q(('annotation_count__lte', 3)), name='annotation_item_annotated_by_few'),
        ),
        migrations.AddConstraint(
            model_name='comparison',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['pending', 'running', 'done', 'failed'])), name='comparison_state_is_known'),
        ),
        migrations.AddConstraint(
            model_name='gate',
            constraint=models.CheckConstraint(condition=models.Q(('repetitions__gte', 1), ('repetitions__lte', 20)), name='gate_repeats_1_to_20'),
        ),
        migrations.AddConstraint(
            model_name='playgroundanswer',
            constraint=models.UniqueConstraint(fields=('playground_run', 'place', 'column'), name='playground_run_answer_once'),
        ),
        migrations.AddConstraint(
            model_name='playgroundanswer',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['pending', 'running', 'done', 'cancelled', 'failed'])), name='playground_run_answer_state_is_known'),
        ),
        migrations.AddConstraint(
            model_name='playgroundrun',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['pending', 'running', 'done', 'cancelled', 'failed'])), name='playground_run_state_is_known'),
        ),
        migrations.AddConstraint(
            model_name='run',
            constraint=models.CheckConstraint(condition=models.Q(('repetitions__gte', 1), ('repetitions__lte', 20)), name='run_repeats_1_to_20'),
        ),
        migrations.AddConstraint(
            model_name='runbatch',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['pending', 'running', 'done'])), name='batch_state_is_known'),
        ),
        migrations.AddConstraint(
            model_name='synthesis',
            constraint=models.CheckConstraint(condition=models.Q(('requested__gte', 1), ('requested__lte', 200)), name='synthesis_requested_1_to_200'),
        ),
        migrations.AddConstraint(
            model_name='comparisonrun',
            constraint=models.UniqueConstraint(fields=('comparison', 'run'), name='comparison_run_once'),
        ),
        migrations.AddConstraint(
            model_name='comparisonrun',
            constraint=models.UniqueConstraint(fields=('comparison', 'position'), name='comparison_position_once'),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='comparisonrun',
            trigger=pgtrigger.compiler.Trigger(name='refuse_change', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='e6781e22c6dc015268c5f80d1b59b3f516f2eea9', operation='UPDATE OR DELETE', pgid='pgtrigger_refuse_change_8e8b5', table='evaluations_comparisonrun', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='comparisonrun',
            trigger=pgtrigger.compiler.Trigger(name='refuse_truncate', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='557038856ea2638fd87e9ac4824592a478533671', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_refuse_truncate_580be', table='evaluations_comparisonrun', when='BEFORE')),
        ),
    ]
