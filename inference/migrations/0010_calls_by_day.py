import datetime
import django.db.models.deletion
import django.db.models.functions.datetime
import pgtrigger.compiler
import pgtrigger.migrations
from django.db import migrations, models

from inference.usage.stats import UsageCounter

DEFINITIONS = """
SELECT pg_get_indexdef(indexrelid), NULL, NULL FROM pg_index
WHERE indrelid = 'inference_call'::regclass AND NOT indisprimary
AND indexrelid NOT IN (SELECT conindid FROM pg_constraint WHERE conrelid = 'inference_call'::regclass)
UNION ALL
SELECT NULL, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid = 'inference_call'::regclass AND contype IN ('f', 'u')
"""


def partition(apps, schema_editor):
    """Make the table of calls one of partitions by day: PostgreSQL cannot convert one, so its rows move."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(DEFINITIONS)
        definitions = cursor.fetchall()
        cursor.execute("ALTER TABLE inference_call RENAME TO inference_call_whole")
        cursor.execute(
            "CREATE TABLE inference_call (LIKE inference_call_whole INCLUDING DEFAULTS INCLUDING CONSTRAINTS) "
            "PARTITION BY RANGE (day)"
        )
        cursor.execute("CREATE SEQUENCE inference_call_number OWNED BY inference_call.id")
        cursor.execute("SELECT setval('inference_call_number', coalesce(max(id), 0) + 1) FROM inference_call_whole")
        cursor.execute("ALTER TABLE inference_call ALTER COLUMN id SET DEFAULT nextval('inference_call_number')")
        cursor.execute("SELECT DISTINCT day FROM inference_call_whole")
        for (day,) in cursor.fetchall():
            cursor.execute(
                f"CREATE TABLE inference_call_{day:%Y%m%d} PARTITION OF inference_call "
                f"FOR VALUES FROM ('{day}') TO ('{day + datetime.timedelta(days=1)}')"
            )
        cursor.execute("INSERT INTO inference_call SELECT * FROM inference_call_whole")
        cursor.execute("DROP TABLE inference_call_whole")
        cursor.execute("ALTER TABLE inference_call ADD CONSTRAINT inference_call_pkey PRIMARY KEY (day, id)")
        for index, name, constraint in definitions:
            cursor.execute(index or f'ALTER TABLE inference_call ADD CONSTRAINT "{name}" {constraint}')


def add_up(apps, schema_editor):
    """Take the days over, and add up the calls of days that were not added up yet, by the hour."""
    rollups = apps.get_model("inference", "UsageRollup").objects
    days = apps.get_model("inference", "CallDay").objects
    made = apps.get_model("inference", "UsageRollup")
    members = days.values_list("version_id", "environment", "is_simulation", "day", "usage")
    rollups.bulk_create(
        made(
            version_id=version, environment=environment, is_simulation=is_simulation, minutes=1_440, usage=usage,
            start=datetime.datetime.combine(day, datetime.time(), tzinfo=datetime.UTC),
        )
        for version, environment, is_simulation, day, usage in members.iterator()
    )
    closed = days.aggregate(day=models.Max("day"))["day"]
    calls = apps.get_model("inference", "Call").objects.order_by("at")
    calls = calls.filter(day__gt=closed) if closed else calls
    hours = {}
    for call in calls.values().iterator():
        start = call["at"].replace(minute=0, second=0, microsecond=0)
        place = (call["version_id"], call["environment"], call["config_hash"], call["route"], call["is_simulation"], start)
        hours.setdefault(place, UsageCounter()).add_call(call)
    for (version, environment, config_hash, route, is_simulation, start), counter in hours.items():
        rollups.create(
            version_id=version, environment=environment, config_hash=config_hash, route=route, minutes=60,
            is_simulation=is_simulation, start=start, usage=counter.stats().as_dict(),
        )


class Migration(migrations.Migration):

    dependencies = [
        ('inference', '0009_retrieved_chunks'),
        ('registry', '0017_collections'),
    ]

    operations = [
        migrations.CreateModel(
            name='UsageRollup',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='usage_rollups', to='registry.promptversion')),
                ('environment', models.CharField(max_length=60)),
                ('config_hash', models.CharField(blank=True, db_default='', max_length=71)),
                ('route', models.CharField(blank=True, db_default='', max_length=20)),
                ('is_simulation', models.BooleanField()),
                ('minutes', models.PositiveSmallIntegerField(choices=[(1, 'minute'), (60, 'hour'), (1440, 'day')])),
                ('start', models.DateTimeField()),
                ('is_delta', models.BooleanField(db_default=False)),
                ('usage', models.JSONField()),
            ],
            options={
                'ordering': ['start', 'id'],
            },
        ),
        migrations.AddIndex(
            model_name='usagerollup',
            index=models.Index(fields=['version', 'start'], name='rollup_of_version'),
        ),
        migrations.AddIndex(
            model_name='usagerollup',
            index=models.Index(fields=['minutes', 'start'], name='rollup_by_span'),
        ),
        migrations.AddIndex(
            model_name='usagerollup',
            index=models.Index(condition=models.Q(('is_delta', True)), fields=['id'], name='rollup_deltas'),
        ),
        migrations.AddIndex(
            model_name='usagerollup',
            index=models.Index(condition=models.Q(('config_hash', ''), _negated=True), fields=['config_hash', 'start'], name='rollup_of_config'),
        ),
        migrations.AddConstraint(
            model_name='usagerollup',
            constraint=models.CheckConstraint(condition=models.Q(('minutes__in', [1, 60, 1440])), name='rollup_span_is_known'),
        ),
        migrations.AddConstraint(
            model_name='usagerollup',
            constraint=models.UniqueConstraint(condition=models.Q(('is_delta', False)), fields=('version', 'environment', 'start', 'minutes', 'config_hash', 'route', 'is_simulation'), name='rollup_once'),
        ),
        pgtrigger.migrations.RemoveTrigger(
            model_name='call',
            name='refuse_refit',
        ),
        migrations.RemoveConstraint(
            model_name='call',
            name='call_once',
        ),
        migrations.RemoveIndex(
            model_name='call',
            name='call_at',
        ),
        migrations.AddField(
            model_name='call',
            name='day',
            field=models.DateField(default=datetime.date(2026, 1, 1)),
            preserve_default=False,
        ),
        migrations.RunSQL("UPDATE inference_call SET day = (at AT TIME ZONE 'UTC')::date", migrations.RunSQL.noop),
        migrations.AddField(
            model_name='call',
            name='recorded_at',
            field=models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
        ),
        migrations.AddIndex(
            model_name='call',
            index=models.Index(fields=['project', '-at'], name='call_of_project'),
        ),
        migrations.AddIndex(
            model_name='call',
            index=models.Index(condition=models.Q(('subject', ''), _negated=True), fields=['project', 'subject'], name='call_of_subject'),
        ),
        migrations.AddIndex(
            model_name='call',
            index=models.Index(condition=models.Q(('trace', ''), _negated=True), fields=['project', 'trace'], name='call_of_trace'),
        ),
        migrations.AddConstraint(
            model_name='call',
            constraint=models.UniqueConstraint(fields=('project', 'reference', 'day'), name='call_once'),
        ),
        migrations.RunPython(partition, migrations.RunPython.noop),
        pgtrigger.migrations.AddTrigger(
            model_name='call',
            trigger=pgtrigger.compiler.Trigger(name='refuse_refit', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."at" IS DISTINCT FROM (NEW."at") OR OLD."config_hash" IS DISTINCT FROM (NEW."config_hash") OR OLD."cost_usd" IS DISTINCT FROM (NEW."cost_usd") OR OLD."day" IS DISTINCT FROM (NEW."day") OR OLD."environment" IS DISTINCT FROM (NEW."environment") OR OLD."error" IS DISTINCT FROM (NEW."error") OR OLD."failed" IS DISTINCT FROM (NEW."failed") OR OLD."fallback" IS DISTINCT FROM (NEW."fallback") OR OLD."finish_reason" IS DISTINCT FROM (NEW."finish_reason") OR OLD."format_ok" IS DISTINCT FROM (NEW."format_ok") OR OLD."is_cached" IS DISTINCT FROM (NEW."is_cached") OR OLD."is_repaired" IS DISTINCT FROM (NEW."is_repaired") OR OLD."is_simulation" IS DISTINCT FROM (NEW."is_simulation") OR OLD."key" IS DISTINCT FROM (NEW."key") OR OLD."label" IS DISTINCT FROM (NEW."label") OR OLD."latency_ms" IS DISTINCT FROM (NEW."latency_ms") OR OLD."model_name" IS DISTINCT FROM (NEW."model_name") OR OLD."project_id" IS DISTINCT FROM (NEW."project_id") OR OLD."reference" IS DISTINCT FROM (NEW."reference") OR OLD."retrieved" IS DISTINCT FROM (NEW."retrieved") OR OLD."route" IS DISTINCT FROM (NEW."route") OR OLD."score" IS DISTINCT FROM (NEW."score") OR OLD."time_to_first_token_ms" IS DISTINCT FROM (NEW."time_to_first_token_ms") OR OLD."tokens_cache_write" IS DISTINCT FROM (NEW."tokens_cache_write") OR OLD."tokens_cached" IS DISTINCT FROM (NEW."tokens_cached") OR OLD."tokens_in" IS DISTINCT FROM (NEW."tokens_in") OR OLD."tokens_out" IS DISTINCT FROM (NEW."tokens_out") OR OLD."tokens_reasoning" IS DISTINCT FROM (NEW."tokens_reasoning") OR OLD."trace" IS DISTINCT FROM (NEW."trace") OR OLD."version_id" IS DISTINCT FROM (NEW."version_id"))', func="RAISE EXCEPTION '% of % never change', 'project, version, environment, reference, at, day, model_name, failed, latency_ms, tokens_in, tokens_cached, tokens_cache_write, tokens_out, tokens_reasoning, cost_usd, format_ok, score, label, is_simulation, route, config_hash, fallback, error, is_repaired, is_cached, key, retrieved, finish_reason, time_to_first_token_ms, trace', TG_TABLE_NAME;", hash='5a7e7cb4177c4ba55fe9f440040357dc16df7623', operation='UPDATE', pgid='pgtrigger_refuse_refit_616e4', table='inference_call', when='BEFORE')),
        ),
        pgtrigger.migrations.AddTrigger(
            model_name='call',
            trigger=pgtrigger.compiler.Trigger(name='forget_only', sql=pgtrigger.compiler.UpsertTriggerSql(condition='WHEN (OLD."metadata" IS DISTINCT FROM (NEW."metadata") OR OLD."subject" IS DISTINCT FROM (NEW."subject"))', func="\nIF NEW.subject <> '' OR NEW.metadata <> '{}'::jsonb THEN\n    RAISE EXCEPTION 'subject, metadata of % are taken out, and never change', TG_TABLE_NAME;\nEND IF;\nRETURN NEW;\n", hash='041c65202618a265b29d5c751b61aba98cb9845e', operation='UPDATE', pgid='pgtrigger_forget_only_4113d', table='inference_call', when='BEFORE')),
        ),
        migrations.RunPython(add_up, migrations.RunPython.noop),
        migrations.DeleteModel(
            name='CallDay',
        ),
    ]
