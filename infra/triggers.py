"""Rows that history rests on are inserted and never changed: PostgreSQL refuses, whoever asks."""

import pgtrigger

REFUSE = "RAISE EXCEPTION 'the rows of % are insert-only', TG_TABLE_NAME;"


def frozen(*fields: str) -> list[pgtrigger.Trigger]:
    """Triggers that refuse to change these members, and to delete: what was agreed on stays."""
    return [*frozen_while_kept(*fields), pgtrigger.Protect(name="refuse_delete", operation=pgtrigger.Delete)]


def frozen_while_kept(*fields: str) -> list[pgtrigger.Trigger]:
    """A trigger that refuses to change these members of rows which may go one day."""
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
