"""Triggers that notify every web process of changes to delivered responses, in the transaction that makes them: whoever
writes, be it a request, a worker or an operator with SQL (registry.delivery.wsgi)."""

import pgtrigger

CHANNEL = "cuebook_delivery"
# Prefix of a project's id: its API keys have changed, and cached responses of those keys must be dropped.
KEYS_PREFIX = "!"
PROJECT_OF_PROMPT = "SELECT project_id FROM registry_prompt WHERE id = ROW.prompt_id"


def notify_trigger(
    project: str,
    operation: pgtrigger.Operation,
    *,
    condition: pgtrigger.Condition | None = None,
    prefix: str = "",
    name: str = "tell_delivery",
) -> pgtrigger.Trigger:
    """Build a trigger that names the project whose responses are outdated. `project` is SQL for its id, from `ROW`."""
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
