
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('evaluations', '0012_comparisons_in_use'),
        ('registry', '0008_leases'),
    ]

    operations = [
        migrations.AddField(
            model_name='provider',
            name='protocol',
            field=models.CharField(default='openai_chat', editable=False, max_length=30),
        ),
        migrations.AddConstraint(
            model_name='provider',
            constraint=models.CheckConstraint(condition=models.Q(('protocol__regex', '^[a-z][a-z_]*$')), name='provider_protocol_is_a_name'),
        ),
    ]
