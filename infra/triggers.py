"""Triggers for rows of the history, which are inserted and never changed: PostgreSQL refuses, whoever asks."""

import pgtrigger

REFUSE = "RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;"


def frozen_fields(*fields: str) -> list[pgtrigger.Trigger]:
    """Build triggers that refuse to change these fields, and to delete the row."""
    return [
        *frozen_fields_of_deletable_rows(*fields),
        pgtrigger.Protect(name="refuse_delete", operation=pgtrigger.Delete),
    ]


def frozen_fields_of_deletable_rows(*fields: str) -> list[pgtrigger.Trigger]:
    """Build a trigger that refuses to change these fields of rows that may be deleted."""
    return [
        pgtrigger.Trigger(
            name="refuse_refit",
            when=pgtrigger.Before,
            operation=pgtrigger.Update,
            condition=pgtrigger.AnyChange(*fields),
            func=f"RAISE EXCEPTION '% of % never change', '{', '.join(fields)}', TG_TABLE_NAME;",
        )
    ]


def insert_only() -> list[pgtrigger.Trigger]:
    """Build triggers that refuse UPDATE, DELETE and TRUNCATE."""
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
