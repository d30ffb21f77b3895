from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('registry', '0007_deleted_keys_are_told'),
    ]

    operations = [
        migrations.RenameField(
            model_name='embedding',
            old_name='beat_at',
            new_name='heartbeat_at',
        ),
        migrations.AddField(
            model_name='embedding',
            name='finished_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='embedding',
            name='lease_token',
            field=models.PositiveBigIntegerField(default=0),
        ),
        migrations.AlterField(
            model_name='embedding',
            name='attempts',
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AlterField(
            model_name='embedding',
            name='state',
            field=models.CharField(choices=[('pending', 'Waiting'), ('running', 'Running'), ('done', 'Done'), ('failed', 'Failed')], default='pending', max_length=10),
        ),
        migrations.AlterField(
            model_name='promotion',
            name='status',
            field=models.CharField(choices=[('open', 'Open'), ('approved', 'Approved'), ('applied', 'Released'), ('rejected', 'Rejected'), ('withdrawn', 'Withdrawn')], default='open', max_length=10),
        ),
    ]
