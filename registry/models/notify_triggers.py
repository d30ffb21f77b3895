"""What makes delivered answers old is told to every web process in the transaction that does it, by the database
itself: whoever writes, a person, a worker or somebody with SQL (registry.delivery.wsgi)."""

import pgtrigger

CHANNEL = "cuebook_delivery"
# Before a project's key: its keys have changed, and nothing that one of them could read may be given any more.
KEYS = "!"
OF_PROMPT = "SELECT project_id FROM registry_prompt WHERE id = ROW.prompt_id"


def tells(
    project: str,
    operation: pgtrigger.Operation,
    *,
    condition: pgtrigger.Condition | None = None,
    prefix: str = "",
    name: str = "tell_delivery",
) -> pgtrigger.Trigger:
    """A trigger that names the project whose answers are old. `project` is SQL for its key, of the row as `ROW`."""
    return pgtrigger.Trigger(
        name=name,
        when=pgtrigger.After,
        operation=operation,
        condition=condition,
        func=f"""
            IF TG_OP = 'DELETE' THEN
                PERFORM pg_notify('{CHANNEL}', '{prefix}' || ({project.replace("ROW", "OLD")})::text);
            ELSE
                PERFORM pg_notify('{CHANNEL}', '{prefix}' || ({project.replace("ROW", "NEW")})::text);
            END IF;
            RETURN NULL;
        """,
    )
