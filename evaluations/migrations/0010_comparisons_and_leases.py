import django.db.models.deletion
import pgtrigger.compiler
import pgtrigger.migrations
from django.conf import settings
from django.db import migrations, models


# Comparisons take the members of lineups, and all work rows those of the one lease (infra/work.py).
class Migration(migrations.Migration):

    dependencies = [
        ('evaluations', '0009_words'),
        ('registry', '0008_leases'),
    ]

    operations = [
        migrations.AlterField(
            model_name='comparison',
            name='baseline',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='evaluations.run'),
        ),
        migrations.AlterField(
            model_name='comparison',
            name='candidate',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='evaluations.run'),
        ),
        migrations.CreateModel(
            name='ComparisonRun',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('position', models.PositiveSmallIntegerField()),
            ],
            options={
                'ordering': ['comparison', 'position'],
            },
        ),
        migrations.AlterModelOptions(
            name='playgroundanswer',
            options={'ordering': ['playground_run', 'place', 'column']},
        ),
        migrations.RemoveConstraint(
            model_name='comparison',
            name='comparison_state_is_known',
        ),
        migrations.RemoveConstraint(
            model_name='comparison',
            name='comparison_of_two_runs',
        ),
        migrations.RemoveConstraint(
            model_name='playgroundanswer',
            name='trial_answer_state_is_known',
        ),
        migrations.RemoveConstraint(
            model_name='playgroundrun',
            name='trial_state_is_known',
        ),
        migrations.RemoveConstraint(
            model_name='runbatch',
            name='batch_state_is_known',
        ),
        migrations.RemoveIndex(
            model_name='comparison',
            name='comparison_open',
        ),
        migrations.RenameIndex(
            model_name='playgroundrun',
            new_name='playground_run_of_prompt',
            old_name='trial_of_prompt',
        ),
        migrations.RenameIndex(
            model_name='playgroundrun',
            new_name='playground_run_open',
            old_name='trial_open',
        ),
        migrations.AddField(
            model_name='comparison',
            name='budget_usd',
            field=models.DecimalField(decimal_places=6, max_digits=12, null=True),
        ),
        migrations.AddField(
            model_name='comparison',
            name='finished_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='comparison',
            name='lease_token',
            field=models.PositiveBigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='comparison',
            name='slas',
            field=models.JSONField(default=dict),
        ),
        migrations.AddField(
            model_name='comparison',
            name='swept',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='sweeps', to='registry.promptversion'),
        ),
        migrations.AddField(
            model_name='datasetimport',
            name='lease_token',
            field=models.PositiveBigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='playgroundrun',
            name='attempts',
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='playgroundrun',
            name='error',
            field=models.CharField(blank=True, max_length=1000),
        ),
        migrations.AddField(
            model_name='playgroundrun',
            name='lease_token',
            field=models.PositiveBigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='report',
            name='lease_token',
            field=models.PositiveBigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='runbatch',
            name='error',
            field=models.CharField(blank=True, max_length=1000),
        ),
        migrations.AddField(
            model_name='runbatch',
            name='finished_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='runbatch',
            name='lease_token',
            field=models.PositiveBigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='synthesis',
            name='lease_token',
            field=models.PositiveBigIntegerField(default=0),
        ),
        migrations.AddField(
            model_name='comparisonrun',
            name='comparison',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='entries', to='evaluations.comparison'),
        ),
        migrations.AddField(
            model_name='comparisonrun',
            name='run',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='comparison_entries', to='evaluations.run'),
        ),
        migrations.AddField(
            model_name='run',
            name='sweep_comparison',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='evaluations.comparison'),
        ),
    ]
