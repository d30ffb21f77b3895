import django.contrib.auth.models
import django.contrib.auth.validators
import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.contrib.postgres.operations
import django.db.models.deletion
import django.db.models.functions.datetime
import django.utils.timezone
import pgtrigger.compiler
import pgtrigger.migrations
import pgvector.django.extensions
import pgvector.django.vector
import registry.models.drafts
from django.conf import settings
from django.db import migrations, models
from infra.migration_operations import Together


# What a new database takes: each table once, as it is now. An instance from before takes the migrations that this replaces;
# tests/test_migrations.py compares where both end.
class Migration(migrations.Migration):

    replaces = [
        ('registry', '0001_initial'),
        ('registry', '0002_heads_tokens_drafts'),
        ('registry', '0003_fill_heads_and_tokens'),
        ('registry', '0004_tokens_required_text_index'),
        ('registry', '0005_example_sets'),
        ('registry', '0006_delivery'),
        ('registry', '0007_deleted_keys_are_told'),
        ('registry', '0008_leases'),
    ]

    initial = True

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
    ]

    operations = [
        django.contrib.postgres.operations.TrigramExtension(
        ),
        pgvector.django.extensions.VectorExtension(
        ),
        Together([
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
                name='Membership',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('project', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='memberships', to='registry.project')),
                    ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='memberships', to=settings.AUTH_USER_MODEL)),
                    ('role', models.CharField(choices=[('viewer', 'Viewer'), ('editor', 'Editor'), ('reviewer', 'Reviewer'), ('admin', 'Admin')], max_length=10)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ],
                options={
                    'ordering': ['project', 'user'],
                    'constraints': [models.UniqueConstraint(fields=('project', 'user'), name='membership_once_per_project', violation_error_message='This person is a member already.'), models.CheckConstraint(condition=models.Q(('role__in', ['viewer', 'editor', 'reviewer', 'admin'])), name='membership_role_is_known')],
                },
            ),
            migrations.CreateModel(
                name='APIKey',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('project', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='api_keys', to='registry.project')),
                    ('name', models.CharField(max_length=100)),
                    ('key_id', models.CharField(editable=False, max_length=12, unique=True)),
                    ('digest', models.CharField(editable=False, max_length=64, unique=True)),
                    ('scopes', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(choices=[('read', 'Read'), ('write', 'Write'), ('observe', 'Observe')], max_length=10), size=None)),
                    ('created_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='api_keys', to=settings.AUTH_USER_MODEL)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                    ('expires_at', models.DateTimeField(blank=True, null=True)),
                    ('revoked_at', models.DateTimeField(blank=True, editable=False, null=True)),
                    ('last_used_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ],
                options={
                    'verbose_name': 'API key',
                    'ordering': ['project', '-created_at'],
                    'constraints': [models.CheckConstraint(condition=models.Q(('scopes__contained_by', ['read', 'write', 'observe']), ('scopes__len__gt', 0)), name='api_key_scopes_are_known')],
                },
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='apikey',
                trigger=pgtrigger.compiler.Trigger(name='tell_delivery', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."digest" IS DISTINCT FROM (NEW."digest") OR OLD."expires_at" IS DISTINCT FROM (NEW."expires_at") OR OLD."project_id" IS DISTINCT FROM (NEW."project_id") OR OLD."revoked_at" IS DISTINCT FROM (NEW."revoked_at") OR OLD."scopes" IS DISTINCT FROM (NEW."scopes"))', func="\n            IF TG_OP = 'DELETE' THEN\n                PERFORM pg_notify('cuebook_delivery', '!' || (OLD.project_id)::text);\n            ELSE\n                PERFORM pg_notify('cuebook_delivery', '!' || (NEW.project_id)::text);\n            END IF;\n            RETURN NULL;\n        ", hash='5db2ff78134dcee151f2625d2f51c8fe4af928d4', operation='UPDATE', pgid='pgtrigger_tell_delivery_c0fbd', table='registry_apikey', when='AFTER')),
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='apikey',
                trigger=pgtrigger.compiler.Trigger(name='tell_delivery_of_delete', sql=pgtrigger.compiler.UpsertTriggerSql(func="\n            IF TG_OP = 'DELETE' THEN\n                PERFORM pg_notify('cuebook_delivery', '!' || (OLD.project_id)::text);\n            ELSE\n                PERFORM pg_notify('cuebook_delivery', '!' || (NEW.project_id)::text);\n            END IF;\n            RETURN NULL;\n        ", hash='17921c9322dfd85f225bdca4a7437d92114788df', operation='DELETE', pgid='pgtrigger_tell_delivery_of_delete_61f8b', table='registry_apikey', when='AFTER')),
            ),
            migrations.CreateModel(
                name='AuditEntry',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('project', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='audit_entries', to='registry.project')),
                    ('actor', models.CharField(max_length=200)),
                    ('action', models.CharField(max_length=60)),
                    ('target', models.CharField(max_length=300)),
                    ('before', models.JSONField(null=True)),
                    ('after', models.JSONField(null=True)),
                    ('request_id', models.CharField(blank=True, max_length=64)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'verbose_name_plural': 'audit entries',
                    'ordering': ['-id'],
                    'indexes': [models.Index(fields=['project', '-id'], name='audit_of_project'), models.Index(fields=['project', 'action', '-id'], name='audit_by_action'), models.Index(fields=['project', 'target', '-id'], name='audit_by_target')],
                },
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='auditentry',
                trigger=pgtrigger.compiler.Trigger(name='refuse_change', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='5c4d955354d54a57807c1f4a0f93410caee45218', operation='UPDATE OR DELETE', pgid='pgtrigger_refuse_change_44188', table='registry_auditentry', when='BEFORE')),
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='auditentry',
                trigger=pgtrigger.compiler.Trigger(name='refuse_truncate', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='7b9f01b8af48c20edf11b2c34689efc42b768924', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_refuse_truncate_f75ff', table='registry_auditentry', when='BEFORE')),
            ),
            migrations.CreateModel(
                name='Environment',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('project', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='environments', to='registry.project')),
                    ('name', models.CharField(max_length=50)),
                    ('position', models.PositiveSmallIntegerField()),
                    ('protected', models.BooleanField(default=False)),
                    ('required_approvals', models.PositiveSmallIntegerField(default=1)),
                    ('required_checks', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=100), blank=True, default=list, size=None)),
                    ('rules_revision', models.PositiveIntegerField(default=1, editable=False)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ],
                options={
                    'ordering': ['project', 'position'],
                    'constraints': [models.UniqueConstraint(fields=('project', 'name'), name='environment_name_once_per_project', violation_error_message='An environment with this name exists.'), models.CheckConstraint(condition=models.Q(('name__regex', '^[a-z][a-z0-9]*([_-][a-z0-9]+)*$'), models.Q(('name', 'latest'), _negated=True), models.Q(('name__startswith', 'sha256'), _negated=True)), name='environment_name_is_no_other_selector'), models.CheckConstraint(condition=models.Q(('required_approvals__gte', 1), ('required_approvals__lte', 20)), name='environment_approvals_from_1_to_20')],
                },
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='environment',
                trigger=pgtrigger.compiler.Trigger(name='tell_delivery', sql=pgtrigger.compiler.UpsertTriggerSql(func="\n            IF TG_OP = 'DELETE' THEN\n                PERFORM pg_notify('cuebook_delivery', '' || (OLD.project_id)::text);\n            ELSE\n                PERFORM pg_notify('cuebook_delivery', '' || (NEW.project_id)::text);\n            END IF;\n            RETURN NULL;\n        ", hash='3d73a6bd3b8fd32d1aa5f9e49da030beac5c92ac', operation='INSERT OR UPDATE OR DELETE', pgid='pgtrigger_tell_delivery_52755', table='registry_environment', when='AFTER')),
            ),
            migrations.CreateModel(
                name='Snapshot',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('environment', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='snapshots', to='registry.environment')),
                    ('tag', models.CharField(max_length=71)),
                    ('live', models.JSONField()),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['-id'],
                    'indexes': [models.Index(fields=['created_at'], name='snapshot_created')],
                    'constraints': [models.UniqueConstraint(fields=('environment', 'tag'), name='snapshot_once')],
                },
            ),
            migrations.CreateModel(
                name='VersionCheck',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('project', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='checks', to='registry.project')),
                    ('content_hash', models.CharField(max_length=71)),
                    ('name', models.CharField(max_length=100)),
                    ('status', models.CharField(choices=[('passed', 'Passed'), ('failed', 'Failed')], max_length=10)),
                    ('summary', models.CharField(blank=True, max_length=1000)),
                    ('url', models.URLField(blank=True, max_length=1000)),
                    ('recorded_by_name', models.CharField(max_length=200)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['-id'],
                    'indexes': [models.Index(fields=['project', 'content_hash', 'name', '-id'], name='check_newest_by_name')],
                    'constraints': [models.CheckConstraint(condition=models.Q(('status__in', ['passed', 'failed'])), name='check_status_is_known'), models.CheckConstraint(condition=models.Q(('content_hash__regex', '^sha256:[0-9a-f]{64}$')), name='check_hash_is_sha256')],
                },
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='versioncheck',
                trigger=pgtrigger.compiler.Trigger(name='refuse_change', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='9d96d403a41133bbc0ff41e8a602614666989b66', operation='UPDATE OR DELETE', pgid='pgtrigger_refuse_change_076aa', table='registry_versioncheck', when='BEFORE')),
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='versioncheck',
                trigger=pgtrigger.compiler.Trigger(name='refuse_truncate', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='514baeb236a2083470d237715bf5652ba1f1c2b7', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_refuse_truncate_9516f', table='registry_versioncheck', when='BEFORE')),
            ),
            migrations.CreateModel(
                name='ExampleSet',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('project', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='example_sets', to='registry.project')),
                    ('name', models.CharField(max_length=200)),
                    ('description', models.TextField(blank=True, max_length=20000)),
                    ('created_by_name', models.CharField(editable=False, max_length=200)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                    ('archived_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ],
                options={
                    'ordering': ['project', 'name'],
                    'indexes': [django.contrib.postgres.indexes.GinIndex(fields=['name'], name='example_set_name_trigrams', opclasses=['gin_trgm_ops'])],
                    'constraints': [models.UniqueConstraint(fields=('project', 'name'), name='example_set_name_once', violation_error_message='An example set with this name exists.'), models.CheckConstraint(condition=models.Q(('name__regex', '^[a-z0-9]+([._-][a-z0-9]+)*$')), name='example_set_name_is_words')],
                },
            ),
            migrations.CreateModel(
                name='ExampleSetVersion',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('example_set', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='versions', to='registry.exampleset')),
                    ('number', models.PositiveIntegerField()),
                    ('content_hash', models.CharField(max_length=71)),
                    ('size', models.PositiveIntegerField()),
                    ('message', models.CharField(blank=True, max_length=500)),
                    ('author', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('author_key', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='registry.apikey')),
                    ('author_name', models.CharField(max_length=200)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['example_set', '-number'],
                    'indexes': [models.Index(fields=['content_hash'], name='example_set_version_hash')],
                    'constraints': [models.UniqueConstraint(fields=('example_set', 'number'), name='example_set_version_number_once'), models.CheckConstraint(condition=models.Q(('number__gt', 0)), name='example_set_version_number_positive'), models.CheckConstraint(condition=models.Q(('content_hash__regex', '^sha256:[0-9a-f]{64}$')), name='example_set_hash_is_sha256')],
                },
            ),
        ]),
        Together([
            migrations.AddField(
                model_name='exampleset',
                name='head',
                field=models.ForeignKey(editable=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='registry.examplesetversion'),
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='examplesetversion',
                trigger=pgtrigger.compiler.Trigger(name='refuse_change', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='5c852274c8013cbe4cd6592286223852629e15c7', operation='UPDATE OR DELETE', pgid='pgtrigger_refuse_change_40bd1', table='registry_examplesetversion', when='BEFORE')),
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='examplesetversion',
                trigger=pgtrigger.compiler.Trigger(name='refuse_truncate', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='97c484d4c9fa2eb1756a240974dd052edbaa04ee', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_refuse_truncate_970cd', table='registry_examplesetversion', when='BEFORE')),
            ),
            migrations.CreateModel(
                name='Example',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('example_set', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='examples', to='registry.exampleset')),
                    ('digest', models.CharField(max_length=64)),
                    ('input', models.TextField()),
                    ('output', models.TextField()),
                    ('note', models.TextField(blank=True)),
                    ('tags', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=50), blank=True, default=list, size=None)),
                    ('label', models.CharField(blank=True, max_length=200)),
                    ('tokens', models.PositiveIntegerField()),
                ],
                options={
                    'ordering': ['example_set', 'id'],
                    'constraints': [models.UniqueConstraint(fields=('example_set', 'digest'), name='example_once_per_set')],
                },
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='example',
                trigger=pgtrigger.compiler.Trigger(name='refuse_change', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='65bd2a4849e945706067531ad0d6f33a463afe85', operation='UPDATE OR DELETE', pgid='pgtrigger_refuse_change_d7bda', table='registry_example', when='BEFORE')),
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='example',
                trigger=pgtrigger.compiler.Trigger(name='refuse_truncate', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='44b26d21a8542594b32be4332cfd72fd1af45095', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_refuse_truncate_7d15e', table='registry_example', when='BEFORE')),
            ),
            migrations.CreateModel(
                name='ExamplePlace',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='places', to='registry.examplesetversion')),
                    ('position', models.PositiveIntegerField()),
                    ('example', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='places', to='registry.example')),
                ],
                options={
                    'ordering': ['version', 'position'],
                    'constraints': [models.UniqueConstraint(fields=('version', 'position'), name='example_place_once'), models.CheckConstraint(condition=models.Q(('position__gt', 0)), name='example_place_positive')],
                },
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='exampleplace',
                trigger=pgtrigger.compiler.Trigger(name='refuse_change', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='bcb0a4d395394b27271490a459079a83d8e18d4c', operation='UPDATE OR DELETE', pgid='pgtrigger_refuse_change_625e6', table='registry_exampleplace', when='BEFORE')),
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='exampleplace',
                trigger=pgtrigger.compiler.Trigger(name='refuse_truncate', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='52d9aa809fbf52c370836389225398511fdca157', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_refuse_truncate_01696', table='registry_exampleplace', when='BEFORE')),
            ),
            migrations.CreateModel(
                name='ExampleVector',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('example', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='vectors', to='registry.example')),
                    ('example_set', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='registry.exampleset')),
                    ('embedder', models.CharField(max_length=120)),
                    ('vector', pgvector.django.vector.VectorField()),
                ],
                options={
                    'ordering': ['id'],
                    'indexes': [models.Index(fields=['example_set', 'embedder'], name='example_vectors_of_set')],
                    'constraints': [models.UniqueConstraint(fields=('example', 'embedder'), name='example_vector_once')],
                },
            ),
            migrations.CreateModel(
                name='Embedding',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('attempts', models.PositiveIntegerField(default=0)),
                    ('lease_token', models.PositiveBigIntegerField(default=0)),
                    ('heartbeat_at', models.DateTimeField(null=True)),
                    ('error', models.CharField(blank=True, max_length=1000)),
                    ('finished_at', models.DateTimeField(null=True)),
                    ('version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='embeddings', to='registry.examplesetversion')),
                    ('embedder', models.CharField(max_length=120)),
                    ('state', models.CharField(choices=[('pending', 'Waiting'), ('running', 'Running'), ('done', 'Done'), ('failed', 'Failed')], default='pending', max_length=10)),
                    ('done', models.PositiveIntegerField(default=0)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['id'],
                    'indexes': [models.Index(condition=models.Q(('state__in', ('pending', 'running'))), fields=['id'], name='embedding_open')],
                    'constraints': [models.UniqueConstraint(fields=('version', 'embedder'), name='embedding_once'), models.CheckConstraint(condition=models.Q(('state__in', ['pending', 'running', 'done', 'failed'])), name='embedding_state_is_known')],
                },
            ),
            migrations.CreateModel(
                name='Prompt',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('project', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='prompts', to='registry.project')),
                    ('name', models.CharField(max_length=200)),
                    ('description', models.TextField(blank=True, max_length=20000)),
                    ('tags', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=50), blank=True, default=list, size=None)),
                    ('created_by_name', models.CharField(editable=False, max_length=200)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                    ('head_text', models.TextField(blank=True, editable=False)),
                    ('archived_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ],
                options={
                    'ordering': ['project', 'name'],
                    'indexes': [django.contrib.postgres.indexes.GinIndex(fields=['name'], name='prompt_name_trigrams', opclasses=['gin_trgm_ops']), django.contrib.postgres.indexes.GinIndex(fields=['description'], name='prompt_description_trigrams', opclasses=['gin_trgm_ops']), django.contrib.postgres.indexes.GinIndex(fields=['tags'], name='prompt_tags'), django.contrib.postgres.indexes.GinIndex(fields=['head_text'], name='prompt_text_trigrams', opclasses=['gin_trgm_ops'])],
                    'constraints': [models.UniqueConstraint(fields=('project', 'name'), name='prompt_name_once_per_project', violation_error_message='A prompt with this name exists.'), models.CheckConstraint(condition=models.Q(('name__regex', '^[a-z0-9]+([._-][a-z0-9]+)*$')), name='prompt_name_is_words')],
                },
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='prompt',
                trigger=pgtrigger.compiler.Trigger(name='tell_delivery', sql=pgtrigger.compiler.UpsertTriggerSql(func="\n            IF TG_OP = 'DELETE' THEN\n                PERFORM pg_notify('cuebook_delivery', '' || (OLD.project_id)::text);\n            ELSE\n                PERFORM pg_notify('cuebook_delivery', '' || (NEW.project_id)::text);\n            END IF;\n            RETURN NULL;\n        ", hash='a1d20f6e6802c57860168a6bcbd16625e1da43b6', operation='UPDATE OR DELETE', pgid='pgtrigger_tell_delivery_a3aed', table='registry_prompt', when='AFTER')),
            ),
            migrations.CreateModel(
                name='PromptVersion',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('prompt', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='versions', to='registry.prompt')),
                    ('number', models.PositiveIntegerField()),
                    ('content', models.JSONField()),
                    ('content_hash', models.CharField(max_length=71)),
                    ('tokens', models.PositiveIntegerField()),
                    ('example_set', models.ForeignKey(editable=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='prompt_versions', to='registry.examplesetversion')),
                    ('message', models.CharField(blank=True, max_length=500)),
                    ('parent', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='children', to='registry.promptversion')),
                    ('author', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('author_key', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='registry.apikey')),
                    ('author_name', models.CharField(max_length=200)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['prompt', '-number'],
                    'indexes': [models.Index(fields=['content_hash'], name='version_hash_prefix', opclasses=['varchar_pattern_ops'])],
                    'constraints': [models.UniqueConstraint(fields=('prompt', 'number'), name='version_number_once_per_prompt'), models.UniqueConstraint(fields=('prompt', 'content_hash'), name='version_content_once_per_prompt'), models.CheckConstraint(condition=models.Q(('number__gt', 0)), name='version_number_is_positive'), models.CheckConstraint(condition=models.Q(('content_hash__regex', '^sha256:[0-9a-f]{64}$')), name='version_hash_is_sha256')],
                },
            ),
        ]),
        Together([
            migrations.AddField(
                model_name='prompt',
                name='head',
                field=models.ForeignKey(editable=False, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='registry.promptversion'),
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='promptversion',
                trigger=pgtrigger.compiler.Trigger(name='refuse_change', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='0a828f290856a299a94214f5105a0bfd0d331243', operation='UPDATE OR DELETE', pgid='pgtrigger_refuse_change_f0a89', table='registry_promptversion', when='BEFORE')),
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='promptversion',
                trigger=pgtrigger.compiler.Trigger(name='refuse_truncate', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='796466ffded437b54813d0ab91487b870026556b', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_refuse_truncate_e7114', table='registry_promptversion', when='BEFORE')),
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='promptversion',
                trigger=pgtrigger.compiler.Trigger(name='tell_delivery', sql=pgtrigger.compiler.UpsertTriggerSql(func="\n            IF TG_OP = 'DELETE' THEN\n                PERFORM pg_notify('cuebook_delivery', '' || (SELECT project_id FROM registry_prompt WHERE id = OLD.prompt_id)::text);\n            ELSE\n                PERFORM pg_notify('cuebook_delivery', '' || (SELECT project_id FROM registry_prompt WHERE id = NEW.prompt_id)::text);\n            END IF;\n            RETURN NULL;\n        ", hash='c2addc386d6dd748b5a5ed87163b8b0883534836', operation='INSERT', pgid='pgtrigger_tell_delivery_8516c', table='registry_promptversion', when='AFTER')),
            ),
            migrations.CreateModel(
                name='FetchCount',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('version', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='fetches', to='registry.promptversion')),
                    ('hour', models.DateTimeField()),
                    ('count', models.PositiveBigIntegerField()),
                    ('last_at', models.DateTimeField()),
                ],
                options={
                    'ordering': ['-hour', 'id'],
                    'indexes': [models.Index(fields=['version', '-last_at'], name='fetch_count_last'), models.Index(fields=['hour'], name='fetch_count_hour')],
                    'constraints': [models.UniqueConstraint(fields=('version', 'hour'), name='fetch_count_once_an_hour')],
                },
            ),
            migrations.CreateModel(
                name='Inclusion',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='inclusions', to='registry.promptversion')),
                    ('name', models.CharField(max_length=260)),
                    ('included', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='included_by', to='registry.promptversion')),
                ],
                options={
                    'ordering': ['version', 'name'],
                    'constraints': [models.UniqueConstraint(fields=('version', 'name'), name='inclusion_once_per_version'), models.CheckConstraint(condition=models.Q(('version', models.F('included')), _negated=True), name='inclusion_not_of_itself')],
                },
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='inclusion',
                trigger=pgtrigger.compiler.Trigger(name='refuse_change', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='01a662919184135096cf8c5be34bb29e48c91586', operation='UPDATE OR DELETE', pgid='pgtrigger_refuse_change_11f43', table='registry_inclusion', when='BEFORE')),
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='inclusion',
                trigger=pgtrigger.compiler.Trigger(name='refuse_truncate', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='4c5f2066355574ebd90d5a001317ebded8c29de6', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_refuse_truncate_08aaa', table='registry_inclusion', when='BEFORE')),
            ),
        ]),
        migrations.RunSQL(
            sql='CREATE SEQUENCE registry_draft_revision',
            reverse_sql='DROP SEQUENCE registry_draft_revision',
        ),
        Together([
            migrations.CreateModel(
                name='PromptDraft',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('prompt', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='drafts', to='registry.prompt')),
                    ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='drafts', to=settings.AUTH_USER_MODEL)),
                    ('base', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='registry.promptversion')),
                    ('seen', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='registry.promptversion')),
                    ('document', models.JSONField()),
                    ('revision', models.BigIntegerField(db_default=registry.models.drafts.NextRevision())),
                    ('window', models.CharField(blank=True, max_length=64)),
                    ('serial', models.PositiveIntegerField(default=0)),
                    ('updated_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['-updated_at'],
                    'constraints': [models.UniqueConstraint(fields=('prompt', 'user'), name='draft_once_per_person'), models.CheckConstraint(condition=models.Q(('revision__gt', 0)), name='draft_revision_is_positive')],
                },
            ),
            migrations.CreateModel(
                name='PromptSample',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('prompt', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='sample', to='registry.prompt')),
                    ('values', models.JSONField(default=dict)),
                    ('updated_by_name', models.CharField(max_length=200)),
                    ('updated_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
            ),
            migrations.CreateModel(
                name='Promotion',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('environment', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='promotions', to='registry.environment')),
                    ('prompt', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='promotions', to='registry.prompt')),
                    ('version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='promotions', to='registry.promptversion')),
                    ('status', models.CharField(choices=[('open', 'Open'), ('approved', 'Approved'), ('applied', 'Released'), ('rejected', 'Rejected'), ('withdrawn', 'Withdrawn')], default='open', max_length=10)),
                    ('reason', models.TextField(blank=True, max_length=5000)),
                    ('requested_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('requested_by_key', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='registry.apikey')),
                    ('requested_by_name', models.CharField(max_length=200)),
                    ('override_reason', models.TextField(blank=True, max_length=5000)),
                    ('override_by_name', models.CharField(blank=True, max_length=200)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                    ('decided_at', models.DateTimeField(editable=False, null=True)),
                ],
                options={
                    'ordering': ['-id'],
                    'indexes': [models.Index(condition=models.Q(('status__in', ('open', 'approved'))), fields=['environment', 'prompt'], name='promotion_undecided'), models.Index(fields=['prompt', '-id'], name='promotion_of_prompt')],
                    'constraints': [models.CheckConstraint(condition=models.Q(('status__in', ['open', 'approved', 'applied', 'rejected', 'withdrawn'])), name='promotion_status_is_known'), models.UniqueConstraint(condition=models.Q(('status__in', ('open', 'approved'))), fields=('environment', 'version'), name='promotion_once_undecided', violation_error_message='This version is already proposed for this environment.'), models.CheckConstraint(condition=models.Q(models.Q(('decided_at', None), ('status__in', ('open', 'approved'))), models.Q(models.Q(('status__in', ('open', 'approved')), _negated=True), ('decided_at__isnull', False)), _connector='OR'), name='promotion_decided_at_when_decided')],
                },
            ),
            migrations.CreateModel(
                name='Release',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('by_key', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='registry.apikey')),
                    ('by_name', models.CharField(max_length=200)),
                    ('environment', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='releases', to='registry.environment')),
                    ('prompt', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='releases', to='registry.prompt')),
                    ('version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='releases', to='registry.promptversion')),
                    ('number', models.PositiveIntegerField()),
                    ('kind', models.CharField(choices=[('promote', 'Promoted'), ('rollback', 'Rolled back')], max_length=10)),
                    ('promotion', models.OneToOneField(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='release', to='registry.promotion')),
                    ('approvals', models.PositiveSmallIntegerField(default=0)),
                    ('restores', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='restored_by', to='registry.release')),
                    ('reason', models.TextField(blank=True, max_length=5000)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['-id'],
                    'indexes': [models.Index(fields=['prompt', '-id'], name='release_of_prompt')],
                    'constraints': [models.UniqueConstraint(fields=('environment', 'prompt', 'number'), name='release_number_once'), models.CheckConstraint(condition=models.Q(models.Q(('kind', 'promote'), ('promotion__isnull', False), ('restores', None)), models.Q(('kind', 'rollback'), ('promotion', None), ('restores__isnull', False)), _connector='OR'), name='release_has_its_origin')],
                },
            ),
        ]),
        Together([
            migrations.AddField(
                model_name='promotion',
                name='replaces',
                field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='registry.release'),
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='release',
                trigger=pgtrigger.compiler.Trigger(name='refuse_change', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='421afaaea42d5d2eedf6436698129a64ced6d08c', operation='UPDATE OR DELETE', pgid='pgtrigger_refuse_change_b2b19', table='registry_release', when='BEFORE')),
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='release',
                trigger=pgtrigger.compiler.Trigger(name='refuse_truncate', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='c89ea6a6bb99727c800f0313891f5b3b0315e0dd', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_refuse_truncate_7a1f5', table='registry_release', when='BEFORE')),
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='release',
                trigger=pgtrigger.compiler.Trigger(name='tell_delivery', sql=pgtrigger.compiler.UpsertTriggerSql(func="\n            IF TG_OP = 'DELETE' THEN\n                PERFORM pg_notify('cuebook_delivery', '' || (SELECT project_id FROM registry_prompt WHERE id = OLD.prompt_id)::text);\n            ELSE\n                PERFORM pg_notify('cuebook_delivery', '' || (SELECT project_id FROM registry_prompt WHERE id = NEW.prompt_id)::text);\n            END IF;\n            RETURN NULL;\n        ", hash='c58fa3554641fb48b806503c928f2dcf5727cd90', operation='INSERT', pgid='pgtrigger_tell_delivery_ba1fa', table='registry_release', when='AFTER')),
            ),
            migrations.CreateModel(
                name='Review',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('promotion', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='reviews', to='registry.promotion')),
                    ('decision', models.CharField(choices=[('approve', 'Approved'), ('request-changes', 'Changes requested'), ('reject', 'Rejected'), ('comment', 'Commented')], max_length=20)),
                    ('comment', models.TextField(blank=True, max_length=5000)),
                    ('by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('by_name', models.CharField(max_length=200)),
                    ('bound_release', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='registry.release')),
                    ('bound_rules', models.PositiveIntegerField()),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['promotion', 'id'],
                    'constraints': [models.CheckConstraint(condition=models.Q(('decision__in', ['approve', 'request-changes', 'reject', 'comment'])), name='review_decision_is_known'), models.CheckConstraint(condition=models.Q(('decision', 'comment'), ('by__isnull', False), _connector='OR'), name='review_decision_is_a_persons')],
                },
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='review',
                trigger=pgtrigger.compiler.Trigger(name='refuse_change', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='ce2a585358fcec70fe1fa28070850e91c9006f4a', operation='UPDATE OR DELETE', pgid='pgtrigger_refuse_change_969f6', table='registry_review', when='BEFORE')),
            ),
            pgtrigger.migrations.AddTrigger(
                model_name='review',
                trigger=pgtrigger.compiler.Trigger(name='refuse_truncate', sql=pgtrigger.compiler.UpsertTriggerSql(func="RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;", hash='4186e54e438cc2b46b532eca61e67550eb54e7f6', level='STATEMENT', operation='TRUNCATE', pgid='pgtrigger_refuse_truncate_63942', table='registry_review', when='BEFORE')),
            ),
        ]),
    ]
