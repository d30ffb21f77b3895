"""Bulk inserts by PostgreSQL's COPY, some ten times as fast as INSERT."""

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connection
from django.db.models import Model
from psycopg import sql


def copy_rows(model: type[Model], fields: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Write rows of a model's `fields` in the current transaction; returns how many. Constraints and triggers hold as
    for any insert; a column that is not named gets its default."""
    own = {field.name: field for field in model._meta.concrete_fields}
    columns = [str(own[name].column) for name in fields]
    return copy_into(str(model._meta.db_table), columns, rows)


def copy_into(table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Write rows like `copy_rows`, into a table that has no model."""
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    count = 0
    # What psycopg refuses before it is sent is Django's error as well.
    with connection.wrap_database_errors, connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)
            count += 1
    return count
