import pgtrigger.migrations
from django.db import migrations

TRIGGERS = [
    ("trial", "refuse_refit"),
    ("lineup", "refuse_refit"),
    ("lineup", "refuse_delete"),
    ("lineuprun", "refuse_change"),
    ("lineuprun", "refuse_truncate"),
    ("run", "refuse_refit"),
    ("synthesis", "refuse_refit"),
    ("finding", "refuse_change"),
    ("finding", "refuse_truncate"),
]
FIELDS = [
    ("playgroundanswer", "trial", "playground_run"),
    ("playgroundanswer", "first_piece_ms", "time_to_first_token_ms"),
    ("playgroundanswer", "kept", "saved_as"),
    ("playgroundrun", "beat_at", "heartbeat_at"),
    ("resultannotation", "is_right", "is_correct"),
    ("annotationitem", "given", "annotation_count"),
    ("finding", "held", "held_out"),
    ("synthesis", "wanted", "requested"),
    ("synthesis", "beat_at", "heartbeat_at"),
    ("dataset", "shares", "split_ratios"),
    ("datasetversion", "shares", "split_ratios"),
    ("datasetimport", "beat_at", "heartbeat_at"),
    ("report", "beat_at", "heartbeat_at"),
    ("run", "repeats", "repetitions"),
    ("run", "setbacks", "consecutive_failures"),
    ("runbatch", "beat_at", "heartbeat_at"),
    ("gate", "repeats", "repetitions"),
    ("gate", "least_quality", "min_quality"),
    ("gate", "keeps_levels", "keeps_slas"),
    ("comparison", "beat_at", "heartbeat_at"),
]


# Tables and columns by the words of docs/glossary.md. Triggers go first: their names depend on the table's.
class Migration(migrations.Migration):

    dependencies = [("evaluations", "0008_calls_moved_to_inference")]

    operations = [
        *(pgtrigger.migrations.RemoveTrigger(model_name=model, name=name) for model, name in TRIGGERS),
        # What names columns that are renamed; it comes back with their new names.
        migrations.RemoveConstraint("gate", "gate_repeats_1_to_20"),
        migrations.RemoveConstraint("run", "run_repeats_1_to_20"),
        migrations.RemoveConstraint("synthesis", "synthesis_wanted_1_to_200"),
        migrations.RemoveConstraint("trialanswer", "trial_answer_once"),
        migrations.RemoveConstraint("annotationitem", "annotation_item_given_by_few"),
        migrations.RemoveIndex("annotationitem", "annotation_item_next"),
        migrations.RenameModel("Trial", "PlaygroundRun"),
        migrations.RenameModel("TrialAnswer", "PlaygroundAnswer"),
        migrations.RenameModel("ResultMark", "ResultAnnotation"),
        migrations.RenameModel("ServiceLevels", "SLA"),
        *(migrations.RenameField(model, old, new) for model, old, new in FIELDS),
    ]
