"""A listener: the changes it receives, that it notices when nothing arrives, and that nothing ends it."""

import threading
from collections.abc import Iterator

import psycopg
import pytest
from django.db import connection, transaction
from psycopg import sql

from registry.accounts import api_keys
from registry.accounts.permissions import actor_for_command_line
from registry.delivery import invalidation
from registry.models import APIKey
from registry.prompts import lifecycle as prompts
from tests.conftest import Stage
from tests.registry.delivery.door import FETCH, Door, broken, listening, parameters
from tests.waiting import soon

pytestmark = pytest.mark.usefixtures("one_connection")


@pytest.mark.django_db(transaction=True)
def test_a_release_a_revocation_and_an_edit_invalidate(live_stage: Stage):
    stage = live_stage
    prompt = stage.prompt()
    first = stage.commit(prompt, "one")
    stage.release(first)
    row, token = api_keys.issue(actor_for_command_line(stage.project), name="service", scopes=["read"])
    door = Door()
    door.wsgi._current_until = door.listener.current_until
    with listening(door):
        assert b'"number":1' in door.get(FETCH, token).body.replace(b" ", b"")
        stage.release(stage.commit(prompt, "two"))
        assert soon(lambda: b'"number":2' in door.get(FETCH, token).body.replace(b" ", b""))
        stage.roll_back(prompt)
        assert soon(lambda: b'"number":1' in door.get(FETCH, token).body.replace(b" ", b""))
        django_calls = door.django_calls
        prompts.describe(stage.edith, prompt, tags=["new"])
        assert soon(lambda: door.get(FETCH, token).status == 200 and door.django_calls > django_calls)
        api_keys.revoke(actor_for_command_line(stage.project), row)
        assert soon(lambda: door.get(FETCH, token).status == 401)
        _, deleted = api_keys.issue(actor_for_command_line(stage.project), name="other", scopes=["read"])
        assert door.get(FETCH, deleted).status == 200
        APIKey.objects.filter(name="other").delete()
        assert soon(lambda: door.get(FETCH, deleted).status == 401)
        # Not even while the database is gone does a revoked key get a cached response.
        door._inner = broken
        assert door.get(FETCH, token).status == 500


@pytest.mark.django_db(transaction=True)
def test_a_killed_listener_reconnects(live_stage: Stage):
    stage = live_stage
    prompt = stage.prompt()
    stage.release(stage.commit(prompt, "one"))
    _, token = api_keys.issue(actor_for_command_line(stage.project), name="service", scopes=["read"])
    door = Door()
    door.wsgi._current_until = door.listener.current_until
    with listening(door):
        door.get(FETCH, token)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'delivery'")
        stage.release(stage.commit(prompt, "two"))
        assert soon(lambda: b'"number":2' in door.get(FETCH, token).body.replace(b" ", b""))
        assert soon(door.listener.is_listening)


@pytest.mark.django_db(transaction=True)
def test_a_listener_that_receives_nothing_is_stale(live_stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """As behind a pooler that accepts LISTEN and delivers nothing: its own notifications do not arrive."""
    assert live_stage
    monkeypatch.setattr(invalidation, "CHANNEL", "somewhere_else")
    monkeypatch.setattr(invalidation.sql, "Identifier", lambda _: sql.Identifier("cuebook_delivery"))
    door = Door()
    assert not soon(door.listener.is_listening, 1.0)
    door.listener.stop()


@pytest.mark.django_db(transaction=True)
def test_no_notification_ends_the_listener(live_stage: Stage):
    stage = live_stage
    prompt = stage.prompt()
    stage.release(stage.commit(prompt, "one"))
    row, token = api_keys.issue(actor_for_command_line(stage.project), name="service", scopes=["read"])
    door = Door()
    door.wsgi._current_until = door.listener.current_until
    with listening(door), psycopg.connect(**parameters(), autocommit=True) as loud:
        door.get(FETCH, token)
        for nonsense in ("\u00b2", "", "!", "!!", "99999999999999999999999", "~", "x" * 7_000):
            loud.execute("SELECT pg_notify(%s, %s)", [invalidation.CHANNEL, nonsense])
        # Counts that cannot be written now do not block notifications.
        loud.execute("BEGIN")
        loud.execute("LOCK TABLE registry_fetchcount IN SHARE MODE")
        door.fetched.append((row.pk, (1,)))
        writing = threading.Thread(target=door.recorder.write)
        writing.start()
        api_keys.revoke(actor_for_command_line(stage.project), row)
        assert soon(lambda: door.get(FETCH, token).status == 401, 1.0)
        loud.execute("ROLLBACK")
        writing.join()
        assert soon(door.listener.is_listening)


@pytest.mark.django_db(transaction=True)
def test_notifications_are_sent_when_the_transaction_ends(live_stage: Stage):
    with psycopg.connect(**parameters(), autocommit=True) as listener:
        listener.execute(f"LISTEN {invalidation.CHANNEL}")
        prompt = live_stage.prompt()
        with transaction.atomic():
            prompts.describe(live_stage.edith, prompt, tags=["a"])
            transaction.set_rollback(True)
        assert list(listener.notifies(timeout=0.1)) == []
        prompts.describe(live_stage.edith, prompt, tags=["a"])
        assert [notification.payload for notification in listener.notifies(timeout=0.5)] == [str(live_stage.project.pk)]
        row, _ = api_keys.issue(actor_for_command_line(live_stage.project), name="k", scopes=["read"])
        api_keys.note_use(row)
        assert list(listener.notifies(timeout=0.1)) == []
        api_keys.revoke(actor_for_command_line(live_stage.project), row)
        assert [notification.payload for notification in listener.notifies(timeout=0.5)] == [
            f"!{live_stage.project.pk}"
        ]


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    """A thread that outlives its test would hold a connection to a database that is to be emptied, or dropped."""
    yield
    assert soon(lambda: "delivery-listener" not in [thread.name for thread in threading.enumerate()])
