"""Rows that history rests on are inserted and never changed: PostgreSQL refuses, whoever asks."""

import pgtrigger

REFUSE = "RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;"


def insert_only() -> list[pgtrigger.Trigger]:
    """Triggers that refuse UPDATE, DELETE and TRUNCATE."""
    return [
        pgtrigger.Trigger(
            name="refuse_change",
            when=pgtrigger.Before,
            operation=pgtrigger.Update | pgtrigger.Delete,
            func=REFUSE,
        ),
        pgtrigger.Trigger(
            name="refuse_truncate",
            level=pgtrigger.Statement,
            when=pgtrigger.Before,
            operation=pgtrigger.Truncate,
            func=REFUSE,
        ),
    ]
