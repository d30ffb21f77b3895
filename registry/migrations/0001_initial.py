import django.contrib.auth.models
import django.contrib.auth.validators
import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.db.models.deletion
import django.db.models.functions.datetime
import django.utils.timezone
import pgtrigger.compiler
import pgtrigger.migrations
from django.conf import settings
from django.contrib.postgres.operations import TrigramExtension
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
    ]

    operations = [
        # Before the indexes that use it; the server must offer pg_trgm.
        TrigramExtension(),
        migrations.CreateModel(
            name='User',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('password', models.CharField(max_length=128, verbose_name='password')),
                ('last_login', models.DateTimeField(blank=True, null=True, verbose_name='last login')),
                ('is_superuser', models.BooleanField(default=False, help_text='Designates that this user has all permissions without explicitly assigning them.', verbose_name='superuser status')),
                ('username', models.CharField(error_messages={'unique': 'A user with that username already exists.'}, help_text='Required. 150 characters or fewer. Letters, digits and @/./+/-/_ only.', max_length=150, unique=True, validators=[django.contrib.auth.validators.UnicodeUsernameValidator()], verbose_name='username')),
                ('first_name', models.CharField(blank=True, max_length=150, verbose_name='first name')),
                ('last_name', models.CharField(blank=True, max_length=150, verbose_name='last name')),
                ('email', models.EmailField(blank=True, max_length=254, verbose_name='email address')),
                ('is_staff', models.BooleanField(default=False, help_text='Designates whether the user can log into this admin site.', verbose_name='staff status')),
                ('is_active', models.BooleanField(default=True, help_text='Designates whether this user should be treated as active. Unselect this instead of deleting accounts.', verbose_name='active')),
                ('date_joined', models.DateTimeField(default=django.utils.timezone.now, verbose_name='date joined')),
                ('groups', models.ManyToManyField(blank=True, help_text='The groups this user belongs to. A user will get all permissions granted to each of their groups.', related_name='user_set', related_query_name='user', to='auth.group', verbose_name='groups')),
                ('user_permissions', models.ManyToManyField(blank=True, help_text='Specific permissions for this user.', related_name='user_set', related_query_name='user', to='auth.permission', verbose_name='user permissions')),
            ],
            options={
                'verbose_name': 'user',
                'verbose_name_plural': 'users',
                'abstract': False,
            },
            managers=[
                ('objects', django.contrib.auth.models.UserManager()),
            ],
        ),
        migrations.CreateModel(
            name='Project',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('slug', models.CharField(max_length=50, unique=True)),
                ('name', models.CharField(max_length=100)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
            ],
            options={
                'ordering': ['slug'],
                'constraints': [models.CheckConstraint(condition=models.Q(('slug__regex', '^[a-z][a-z0-9]*(-[a-z0-9]+)*$')), name='project_slug_is_words')],
            },
        ),
        migrations.CreateModel(
            name='Environment',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=50)),
                ('position', models.PositiveSmallIntegerField()),
                ('protected', models.BooleanField(default=False)),
                ('required_approvals', models.PositiveSmallIntegerField(default=1)),
                ('required_checks', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=100), blank=True, default=list, size=None)),
                ('rules_revision', models.PositiveIntegerField(default=1, editable=False)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='environments', to='registry.project')),
            ],
            options={
                'ordering': ['project', 'position'],
            },
        ),
        migrations.CreateModel(
            name='AuditEntry',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('actor', models.CharField(max_length=200)),
                ('action', models.CharField(max_length=60)),
                ('target', models.CharField(max_length=300)),
                ('before', models.JSONField(null=True)),
                ('after', models.JSONField(null=True)),
                ('request_id', models.CharField(blank=True, max_length=64)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('project', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='audit_entries', to='registry.project')),
            ],
            options={
                'verbose_name_plural': 'audit entries',
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='APIKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100)),
                ('key_id', models.CharField(editable=False, max_length=12, unique=True)),
                ('digest', models.CharField(editable=False, max_length=64, unique=True)),
                ('scopes', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(choices=[('read', 'Read'), ('write', 'Write'), ('observe', 'Observe')], max_length=10), size=None)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('expires_at', models.DateTimeField(blank=True, null=True)),
                ('revoked_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('last_used_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('created_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='api_keys', to=settings.AUTH_USER_MODEL)),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='api_keys', to='registry.project')),
            ],
            options={
                'verbose_name': 'API key',
                'ordering': ['project', '-created_at'],
            },
        ),
        migrations.CreateModel(
            name='Prompt',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=200)),
                ('description', models.TextField(blank=True, max_length=20000)),
                ('tags', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=50), blank=True, default=list, size=None)),
                ('created_by_name', models.CharField(editable=False, max_length=200)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('archived_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='prompts', to='registry.project')),
            ],
            options={
                'ordering': ['project', 'name'],
            },
        ),
        migrations.CreateModel(
            name='PromptVersion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField()),
                ('content', models.JSONField()),
                ('content_hash', models.CharField(max_length=71)),
                ('message', models.CharField(blank=True, max_length=500)),
                ('author_name', models.CharField(max_length=200)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('author', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('author_key', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='registry.apikey')),
                ('parent', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='children', to='registry.promptversion')),
                ('prompt', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='versions', to='registry.prompt')),
            ],
            options={
                'ordering': ['prompt', '-number'],
            },
        ),
        migrations.CreateModel(
            name='Promotion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('status', models.CharField(choices=[('open', 'Open'), ('approved', 'Approved'), ('applied', 'Applied'), ('rejected', 'Rejected'), ('withdrawn', 'Withdrawn')], default='open', max_length=10)),
                ('reason', models.TextField(blank=True, max_length=5000)),
                ('requested_by_name', models.CharField(max_length=200)),
                ('override_reason', models.TextField(blank=True, max_length=5000)),
                ('override_by_name', models.CharField(blank=True, max_length=200)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('decided_at', models.DateTimeField(editable=False, null=True)),
                ('environment', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='promotions', to='registry.environment')),
                ('requested_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('requested_by_key', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='registry.apikey')),
                ('prompt', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='promotions', to='registry.prompt')),
                ('version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='promotions', to='registry.promptversion')),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='Inclusion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=260)),
                ('included', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='included_by', to='registry.promptversion')),
                ('version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='inclusions', to='registry.promptversion')),
            ],
            options={
                'ordering': ['version', 'name'],
            },
        ),
        migrations.CreateModel(
            name='Release',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField()),
                ('kind', models.CharField(choices=[('promote', 'Promoted'), ('rollback', 'Rolled back')], max_length=10)),
                ('approvals', models.PositiveSmallIntegerField(default=0)),
                ('reason', models.TextField(blank=True, max_length=5000)),
                ('by_name', models.CharField(max_length=200)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('by_key', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='registry.apikey')),
                ('environment', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='releases', to='registry.environment')),
                ('promotion', models.OneToOneField(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='release', to='registry.promotion')),
                ('prompt', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='releases', to='registry.prompt')),
                ('restores', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='restored_by', to='registry.release')),
                ('version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='releases', to='registry.promptversion')),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.AddField(
            model_name='promotion',
            name='replaces',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='registry.release'),
        ),
        migrations.CreateModel(
            name='Review',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('decision', models.CharField(choices=[('approve', 'Approved'), ('request-changes', 'Changes requested'), ('reject', 'Rejected'), ('comment', 'Commented')], max_length=20)),
                ('comment', models.TextField(blank=True, max_length=5000)),
                ('by_name', models.CharField(max_length=200)),
                ('bound_rules', models.PositiveIntegerField()),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('bound_release', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='registry.release')),
                ('by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('promotion', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='reviews', to='registry.promotion')),
            ],
            options={
                'ordering': ['promotion', 'id'],
            },
        ),
        migrations.CreateModel(
            name='VersionCheck',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('content_hash', models.CharField(max_length=71)),
                ('name', models.CharField(max_length=100)),
                ('status', models.CharField(choices=[('passed', 'Passed'), ('failed', 'Failed')], max_length=10)),
                ('summary', models.CharField(blank=True, max_length=1000)),
                ('url', models.URLField(blank=True, max_length=1000)),
                ('recorded_by_name', models.CharField(max_length=200)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='checks', to='registry.project')),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='Membership',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('role', models.CharField(choices=[('viewer', 'Viewer'), ('editor', 'Editor'), ('reviewer', 'Reviewer'), ('admin', 'Admin')], max_length=10)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='memberships', to=settings.AUTH_USER_MODEL)),
                ('project', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='memberships', to='registry.project')),
            ],
            options={
                'ordering': ['project', 'user'],
                'constraints': [models.UniqueConstraint(fields=('project', 'user'), name='membership_once_per_project', violation_error_message='This person is a member already.'), models.CheckConstraint(condition=models.Q(('role__in', ['viewer', 'editor', 'reviewer', 'admin'])), name='membership_role_is_known')],
            },
        ),
        migrations.AddConstraint(
            model_name='environment',
            constraint=models.UniqueConstraint(fields=('project', 'name'), name='environment_name_once_per_project', violation_error_message='An environment with this name exists.'),
        ),
        migrations.AddConstraint(
            model_name='environment',
            constraint=models.CheckConstraint(condition=models.Q(('name__regex', '^[a-z][a-z0-9]*([_-][a-z0-9]+)*$'), models.Q(('name', 'latest'), _negated=True), models.Q(('name__startswith', 'sha256'), _negated=True)), name='environment_name_is_no_other_selector'),
        ),
        migrations.AddConstraint(
            model_name='environment',
            constraint=models.CheckConstraint(condition=models.Q(('required_approvals__gte', 1), ('required_approvals__lte', 20)), name='environment_approvals_from_1_to_20'),
        ),
        migrations.AddIndex(
            model_name='auditentry',
            index=models.Index(fields=['project', '-id'], name='audit_of_project'),
        ),
        migrations.AddIndex(
            model_name='auditentry',
            index=models.Index(fields=['project', 'action', '-id'], name='audit_by_action'),
        ),
        migrations.AddIndex(
            model_name='auditentry',
            index=models.Index(fields=['project', 'target', '-id'], name='audit_by_target'),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='auditentry',
            trigger=pgtrigger.compiler.Trigger(name='refuse_change', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='5c4d955354d54a57807c1f4a0f93410caee45218', operation='UPDATE OR DELETE', pgid='pgtrigger_refuse_change_44188', table='registry_auditentry', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='auditentry',
            trigger=pgtrigger.compiler.Trigger(name='refuse_truncate', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='7b9f01b8af48c20edf11b2c34689efc42b768924', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_refuse_truncate_f75ff', table='registry_auditentry', when='BEFORE')),
        ),
        migrations.AddConstraint(
            model_name='apikey',
            constraint=models.CheckConstraint(condition=models.Q(('scopes__contained_by', ['read', 'write', 'observe']), ('scopes__len__gt', 0)), name='api_key_scopes_are_known'),
        ),
        migrations.AddIndex(
            model_name='prompt',
            index=django.contrib.postgres.indexes.GinIndex(fields=['name'], name='prompt_name_trigrams', opclasses=['gin_trgm_ops']),
        ),
        migrations.AddIndex(
            model_name='prompt',
            index=django.contrib.postgres.indexes.GinIndex(fields=['description'], name='prompt_description_trigrams', opclasses=['gin_trgm_ops']),
        ),
        migrations.AddIndex(
            model_name='prompt',
            index=django.contrib.postgres.indexes.GinIndex(fields=['tags'], name='prompt_tags'),
        ),
        migrations.AddConstraint(
            model_name='prompt',
            constraint=models.UniqueConstraint(fields=('project', 'name'), name='prompt_name_once_per_project', violation_error_message='A prompt with this name exists.'),
        ),
        migrations.AddConstraint(
            model_name='prompt',
            constraint=models.CheckConstraint(condition=models.Q(('name__regex', '^[a-z0-9]+([._-][a-z0-9]+)*$')), name='prompt_name_is_words'),
        ),
        migrations.AddIndex(
            model_name='promptversion',
            index=models.Index(fields=['content_hash'], name='version_hash_prefix', opclasses=['varchar_pattern_ops']),
        ),
        migrations.AddConstraint(
            model_name='promptversion',
            constraint=models.UniqueConstraint(fields=('prompt', 'number'), name='version_number_once_per_prompt'),
        ),
        migrations.AddConstraint(
            model_name='promptversion',
            constraint=models.UniqueConstraint(fields=('prompt', 'content_hash'), name='version_content_once_per_prompt'),
        ),
        migrations.AddConstraint(
            model_name='promptversion',
            constraint=models.CheckConstraint(condition=models.Q(('number__gt', 0)), name='version_number_is_positive'),
        ),
        migrations.AddConstraint(
            model_name='promptversion',
            constraint=models.CheckConstraint(condition=models.Q(('content_hash__regex', '^sha256:[0-9a-f]{64}$')), name='version_hash_is_sha256'),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='promptversion',
            trigger=pgtrigger.compiler.Trigger(name='refuse_change', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='0a828f290856a299a94214f5105a0bfd0d331243', operation='UPDATE OR DELETE', pgid='pgtrigger_refuse_change_f0a89', table='registry_promptversion', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='promptversion',
            trigger=pgtrigger.compiler.Trigger(name='refuse_truncate', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='796466ffded437b54813d0ab91487b870026556b', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_refuse_truncate_e7114', table='registry_promptversion', when='BEFORE')),
        ),
        migrations.AddConstraint(
            model_name='inclusion',
            constraint=models.UniqueConstraint(fields=('version', 'name'), name='inclusion_once_per_version'),
        ),
        migrations.AddConstraint(
            model_name='inclusion',
            constraint=models.CheckConstraint(condition=models.Q(('version', models.F('included')), _negated=True), name='inclusion_not_of_itself'),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='inclusion',
            trigger=pgtrigger.compiler.Trigger(name='refuse_change', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='01a662919184135096cf8c5be34bb29e48c91586', operation='UPDATE OR DELETE', pgid='pgtrigger_refuse_change_11f43', table='registry_inclusion', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='inclusion',
            trigger=pgtrigger.compiler.Trigger(name='refuse_truncate', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='4c5f2066355574ebd90d5a001317ebded8c29de6', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_refuse_truncate_08aaa', table='registry_inclusion', when='BEFORE')),
        ),
        migrations.AddIndex(
            model_name='release',
            index=models.Index(fields=['prompt', '-id'], name='release_of_prompt'),
        ),
        migrations.AddConstraint(
            model_name='release',
            constraint=models.UniqueConstraint(fields=('environment', 'prompt', 'number'), name='release_number_once'),
        ),
        migrations.AddConstraint(
            model_name='release',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('kind', 'promote'), ('promotion__isnull', False), ('restores', None)), models.Q(('kind', 'rollback'), ('promotion', None), ('restores__isnull', False)), _connector='OR'), name='release_has_its_origin'),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='release',
            trigger=pgtrigger.compiler.Trigger(name='refuse_change', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='421afaaea42d5d2eedf6436698129a64ced6d08c', operation='UPDATE OR DELETE', pgid='pgtrigger_refuse_change_b2b19', table='registry_release', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='release',
            trigger=pgtrigger.compiler.Trigger(name='refuse_truncate', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='c89ea6a6bb99727c800f0313891f5b3b0315e0dd', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_refuse_truncate_7a1f5', table='registry_release', when='BEFORE')),
        ),
        migrations.AddIndex(
            model_name='promotion',
            index=models.Index(condition=models.Q(('status__in', ('open', 'approved'))), fields=['environment', 'prompt'], name='promotion_undecided'),
        ),
        migrations.AddIndex(
            model_name='promotion',
            index=models.Index(fields=['prompt', '-id'], name='promotion_of_prompt'),
        ),
        migrations.AddConstraint(
            model_name='promotion',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['open', 'approved', 'applied', 'rejected', 'withdrawn'])), name='promotion_status_is_known'),
        ),
        migrations.AddConstraint(
            model_name='promotion',
            constraint=models.UniqueConstraint(condition=models.Q(('status__in', ('open', 'approved'))), fields=('environment', 'version'), name='promotion_once_undecided', violation_error_message='This version is already proposed for this environment.'),
        ),
        migrations.AddConstraint(
            model_name='promotion',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('decided_at', None), ('status__in', ('open', 'approved'))), models.Q(models.Q(('status__in', ('open', 'approved')), _negated=True), ('decided_at__isnull', False)), _connector='OR'), name='promotion_decided_at_when_decided'),
        ),
        migrations.AddConstraint(
            model_name='review',
            constraint=models.CheckConstraint(condition=models.Q(('decision__in', ['approve', 'request-changes', 'reject', 'comment'])), name='review_decision_is_known'),
        ),
        migrations.AddConstraint(
            model_name='review',
            constraint=models.CheckConstraint(condition=models.Q(('decision', 'comment'), ('by__isnull', False), _connector='OR'), name='review_decision_is_a_persons'),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='review',
            trigger=pgtrigger.compiler.Trigger(name='refuse_change', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='ce2a585358fcec70fe1fa28070850e91c9006f4a', operation='UPDATE OR DELETE', pgid='pgtrigger_refuse_change_969f6', table='registry_review', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='review',
            trigger=pgtrigger.compiler.Trigger(name='refuse_truncate', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='4186e54e438cc2b46b532eca61e67550eb54e7f6', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_refuse_truncate_63942', table='registry_review', when='BEFORE')),
        ),
        migrations.AddIndex(
            model_name='versioncheck',
            index=models.Index(fields=['project', 'content_hash', 'name', '-id'], name='check_newest_by_name'),
        ),
        migrations.AddConstraint(
            model_name='versioncheck',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['passed', 'failed'])), name='check_status_is_known'),
        ),
        migrations.AddConstraint(
            model_name='versioncheck',
            constraint=models.CheckConstraint(condition=models.Q(('content_hash__regex', '^sha256:[0-9a-f]{64}$')), name='check_hash_is_sha256'),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='versioncheck',
            trigger=pgtrigger.compiler.Trigger(name='refuse_change', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='9d96d403a41133bbc0ff41e8a602614666989b66', operation='UPDATE OR DELETE', pgid='pgtrigger_refuse_change_076aa', table='registry_versioncheck', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='versioncheck',
            trigger=pgtrigger.compiler.Trigger(name='refuse_truncate', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='514baeb236a2083470d237715bf5652ba1f1c2b7', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_refuse_truncate_9516f', table='registry_versioncheck', when='BEFORE')),
        ),
    ]
