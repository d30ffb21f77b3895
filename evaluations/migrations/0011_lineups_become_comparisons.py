from django.db import migrations


def copy_lineups(apps, schema_editor):
    """Copy each lineup with its runs into a comparison, and give each comparison of two runs its entries."""
    Comparison, ComparisonRun = (apps.get_model("evaluations", name) for name in ("Comparison", "ComparisonRun"))
    Lineup, LineupRun = (apps.get_model("evaluations", name) for name in ("Lineup", "LineupRun"))
    Run = apps.get_model("evaluations", "Run")
    for comparison in Comparison.objects.order_by("pk").iterator(chunk_size=500):
        runs = (comparison.baseline_id, comparison.candidate_id)
        ComparisonRun.objects.bulk_create(
            ComparisonRun(comparison=comparison, run_id=run, position=position) for position, run in enumerate(runs)
        )
    for lineup in Lineup.objects.order_by("pk").iterator(chunk_size=500):
        result = lineup.result
        if result:
            rows = [{**row, "slas": row.get("levels", [])} for row in result.get("rows", ())]
            result = {**result, "rows": [{name: row[name] for name in row if name != "levels"} for row in rows]}
        comparison = Comparison.objects.create(
            project_id=lineup.project_id,
            swept_id=lineup.swept_id,
            budget_usd=lineup.budget_usd,
            margin=lineup.margin,
            slas=lineup.levels,
            state=lineup.state,
            result=result,
            error=lineup.error,
            by_name=lineup.by_name,
            created_at=lineup.created_at,
        )
        entries = LineupRun.objects.filter(lineup=lineup).order_by("place")
        ComparisonRun.objects.bulk_create(
            ComparisonRun(comparison=comparison, run_id=entry.run_id, position=entry.place) for entry in entries
        )
        Run.objects.filter(sweep_id=lineup.pk).update(sweep_comparison=comparison)


def rename_states(apps, schema_editor):
    """Use one word for each state of a work row."""
    apps.get_model("evaluations", "RunBatch").objects.filter(state="claimed").update(state="running")


class Migration(migrations.Migration):

    dependencies = [("evaluations", "0010_comparisons_and_leases")]

    operations = [
        migrations.RunPython(copy_lineups, migrations.RunPython.noop),
        migrations.RunPython(rename_states, migrations.RunPython.noop),
    ]
