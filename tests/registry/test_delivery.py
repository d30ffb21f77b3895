"""Answers that are ready, in front of Django: the same as Django's, never another key's, never old for long."""

import gzip
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import brotli
import psycopg
import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connection, transaction
from django.db.models import F
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from psycopg import sql
from rest_framework.test import APIClient

from config.bulkhead import Bulkhead
from registry import delivery, fetches, keys, listening, prompts, ready_answers, served, snapshots
from registry.access import command_line
from registry.counting import Counting, Fetch
from registry.delivery import Delivery
from registry.delivery_metrics import DeliveryMetrics
from registry.listening import Listener
from registry.models import APIKey, FetchCount, Prompt, Snapshot
from registry.ready_answers import Table
from tests.conftest import Stage

FETCH = "/api/v1/prompts/support.triage/versions/production"


class Door:
    """A delivery with a listener, as a web process has one."""

    def __init__(self, inner: Any = None, most: int = 1_000_000) -> None:
        self.asked = 0
        self.fetched: deque[Fetch] = deque()
        self.table = Table(most)
        self.counting = Counting(self.fetched, listening.connect)
        self.listener = Listener(self.table, self.counting)
        self.told = True
        self._inner = inner or WSGIHandler()
        self.wsgi = Delivery(
            self._ask,
            self.table,
            told_at=lambda: delivery.time.monotonic() if self.told else float("-inf"),
            fetched=self.fetched,
        )

    def _ask(self, environ: Any, start_response: Any) -> Any:
        self.asked += 1
        return self._inner(environ, start_response)

    def get(self, path: str, token: str = "", method: str = "GET", **headers: str) -> "Answer":
        query = path.partition("?")[2]
        environ = {
            **{"REQUEST_METHOD": method, "PATH_INFO": path.partition("?")[0], "QUERY_STRING": query},
            **{"SERVER_NAME": "testserver", "SERVER_PORT": "80", "wsgi.url_scheme": "http", "SCRIPT_NAME": ""},
            **{"wsgi.input": __import__("io").BytesIO(), "SERVER_PROTOCOL": "HTTP/1.1"},
            **({"HTTP_AUTHORIZATION": f"Bearer {token}"} if token else {}),
            **{f"HTTP_{name.upper()}": value for name, value in headers.items()},
        }
        said: list[Any] = []
        body = b"".join(self.wsgi(environ, lambda status, found, _=None: said.extend((status, dict(found)))))
        return Answer(int(said[0][:3]), said[1], body)


class Answer:
    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def plain(self) -> dict[str, str]:
        """Headers that do not differ from request to request."""
        ours = {"X-Request-ID", "Vary", "Content-Length"}
        return {name: value for name, value in self.headers.items() if name not in ours}


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.fixture(autouse=True)
def _connections_stay() -> Iterator[None]:
    """A test's transaction is its connection's; Django's own client does the same."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def token(stage: Stage) -> str:
    return keys.issue(command_line(stage.project), name="service", scopes=["read"])[1]


@pytest.fixture
def live(stage: Stage) -> Prompt:
    prompt = stage.prompt()
    stage.release(stage.commit(prompt, "Sort it. " + "word " * 200))
    return prompt


@pytest.mark.usefixtures("live")
def test_a_warm_answer_is_djangos_and_asks_nobody(door: Door, token: str, django_assert_num_queries: Any):
    plain = Door(inner=None)
    plain.told = False
    first = door.get(FETCH, token)
    with django_assert_num_queries(0):
        second = door.get(FETCH, token, x_request_id="mine-1")

    straight = WSGIHandler()
    alone = Door(straight)
    reference = alone.get(FETCH, token)
    assert (first.status, second.status, door.asked) == (200, 200, 1)
    assert first.body == second.body == reference.body
    assert first.plain() == second.plain() == reference.plain()
    assert second.headers["X-Request-ID"] == "mine-1"
    assert first.headers["X-Request-ID"] != "mine-1"
    assert "Accept-Encoding" in first.headers["Vary"]
    assert "Authorization" in first.headers["Vary"]
    assert first.headers["Content-Length"] == str(len(first.body))


@pytest.mark.usefixtures("live")
def test_conditions_heads_and_packings_are_of_one_filling_each(door: Door, token: str):
    found = door.get(FETCH, token, if_none_match='"sha256:other"')
    tag = found.headers["ETag"]
    assert found.status == 200
    for known in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        unchanged = door.get(FETCH, token, if_none_match=known)
        assert (unchanged.status, unchanged.body) == (304, b"")
        assert unchanged.headers["ETag"] == tag
        assert "Content-Length" not in unchanged.headers
    head = door.get(FETCH, token, method="HEAD")
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(found.body)))
    assert door.asked == 1
    packed = door.get(FETCH, token, accept_encoding="gzip, deflate")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == found.body
    small = door.get(FETCH, token, accept_encoding="gzip, br;q=0.9")
    assert brotli.decompress(small.body) == found.body
    assert door.get(FETCH, token, accept_encoding="br;q=0, gzip;q=0").body == found.body
    assert door.asked == 3


@pytest.mark.parametrize(
    "path", ["/api/v1/prompts/nothing.here/versions/1", f"{FETCH}?x=%00", "/api/v1/versions/sha256:0"]
)
@pytest.mark.usefixtures("live")
def test_refusals_are_djangos_and_are_not_kept(door: Door, token: str, path: str):
    for _ in range(2):
        assert door.get(path, token).status >= 400
    assert door.asked == 2
    assert door.get(FETCH, "cbk_nobody").status == 401
    assert door.get(FETCH).status in (401, 403)
    assert len(door.table) == 0
    assert door.get(FETCH, token, accept="text/html").status in (200, 406)
    assert len(door.table) == 0


def broken(_: Any, start_response: Any) -> list[bytes]:
    start_response("500 Internal Server Error", [("Content-Type", "text/plain")])
    return [b"down"]


@pytest.mark.django_db(transaction=True)
def test_a_release_a_revocation_and_an_edit_are_heard_of(live_stage: Stage):
    stage = live_stage
    prompt = stage.prompt()
    first = stage.commit(prompt, "one")
    stage.release(first)
    row, token = keys.issue(command_line(stage.project), name="service", scopes=["read"])
    door = Door()
    door.wsgi._told_at = door.listener.told_at
    with heard(door):
        assert b'"number":1' in door.get(FETCH, token).body.replace(b" ", b"")
        stage.release(stage.commit(prompt, "two"))
        assert soon(lambda: b'"number":2' in door.get(FETCH, token).body.replace(b" ", b""))
        stage.roll_back(prompt)
        assert soon(lambda: b'"number":1' in door.get(FETCH, token).body.replace(b" ", b""))
        asked = door.asked
        prompts.describe(stage.edith, prompt, tags=["new"])
        assert soon(lambda: door.get(FETCH, token).status == 200 and door.asked > asked)
        keys.revoke(command_line(stage.project), row)
        assert soon(lambda: door.get(FETCH, token).status == 401)
        _, deleted = keys.issue(command_line(stage.project), name="other", scopes=["read"])
        assert door.get(FETCH, deleted).status == 200
        APIKey.objects.filter(name="other").delete()
        assert soon(lambda: door.get(FETCH, deleted).status == 401)
        # Not even a database that is gone brings back what a revoked key could read.
        door._inner = broken
        assert door.get(FETCH, token).status == 500


@pytest.mark.django_db(transaction=True)
def test_a_killed_listener_is_noticed_and_listens_again(live_stage: Stage):
    stage = live_stage
    prompt = stage.prompt()
    stage.release(stage.commit(prompt, "one"))
    _, token = keys.issue(command_line(stage.project), name="service", scopes=["read"])
    door = Door()
    door.wsgi._told_at = door.listener.told_at
    with heard(door):
        door.get(FETCH, token)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'delivery'")
        stage.release(stage.commit(prompt, "two"))
        assert soon(lambda: b'"number":2' in door.get(FETCH, token).body.replace(b" ", b""))
        assert soon(door.listener.is_told)


def soon(is_so: Callable[[], Any], seconds: float = 8.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if is_so():
            return True
        time.sleep(0.01)
    return False


class heard:  # noqa: N801 - reads as a word of the test
    """A listener that is connected, and whose thread ends with the test."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def __enter__(self) -> None:
        assert soon(self._door.listener.is_told)

    def __exit__(self, *_: object) -> None:
        self._door.listener.stop()


@pytest.mark.usefixtures("live")
def test_without_a_listener_answers_expire_and_without_a_database_they_stay(
    door: Door, token: str, monkeypatch: pytest.MonkeyPatch
):
    door.told = False
    door.get(FETCH, token)
    assert (door.get(FETCH, token).status, door.asked) == (200, 1)
    now = time.monotonic
    monkeypatch.setattr(delivery.time, "monotonic", lambda: now() + 6)
    assert (door.get(FETCH, token).status, door.asked) == (200, 2)

    monkeypatch.setattr(door, "_inner", broken)
    monkeypatch.setattr(delivery.time, "monotonic", lambda: now() + 20)
    stale = door.get(FETCH, token)
    assert (stale.status, door.asked) == (200, 3), "this one finds out that nothing newer can be had"
    assert int(stale.headers[delivery.STALE_HEADER]) >= 13
    assert (door.get(FETCH, token).status, door.asked) == (200, 3)
    assert door.get("/api/v1/prompts/support.triage/versions/1", token).status == 500
    monkeypatch.setattr(delivery.time, "monotonic", lambda: now() + delivery.STALE_SECONDS + 60)
    assert door.get(FETCH, token).status == 500
    registry = CollectorRegistry()
    metrics = DeliveryMetrics(door.wsgi, door.table, is_told=lambda: door.told, registry=registry)
    metrics.update()
    metrics.update()
    told = {
        (sample.name, *sample.labels.values()): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if not sample.name.endswith("_created")
    }
    assert told == {
        ("cuebook_delivery_answers_total", "ready"): 1,
        ("cuebook_delivery_answers_total", "asked"): door.asked,
        ("cuebook_delivery_answers_total", "stale"): 2,
        ("cuebook_delivery_kept_answers",): 1,
        ("cuebook_delivery_kept_bytes",): door.table.bytes,
        ("cuebook_delivery_listening",): 0,
    }


@pytest.mark.usefixtures("live")
def test_a_key_ends_when_it_ends(door: Door, stage: Stage, monkeypatch: pytest.MonkeyPatch):
    ends = timezone.now() + timedelta(minutes=5)
    _, token = keys.issue(command_line(stage.project), name="short", scopes=["read"], expires_at=ends)
    assert door.get(FETCH, token).status == 200
    now = time.time
    monkeypatch.setattr(delivery.time, "time", lambda: now() + 400)
    monkeypatch.setattr(APIKey, "is_usable", property(lambda key: key.expires_at is None))
    door.down = True
    assert door.get(FETCH, token).status == 401
    assert len(door.table) == 0


@pytest.mark.usefixtures("live")
def test_a_quiet_day_does_not_make_an_answer_wrong(door: Door, token: str, monkeypatch: pytest.MonkeyPatch):
    door.get(FETCH, token)
    now = time.monotonic
    monkeypatch.setattr(delivery.time, "monotonic", lambda: now() + 25 * 3_600)
    assert (door.get(FETCH, token).status, door.asked) == (200, 1)
    heard = now() + 25 * 3_600
    monkeypatch.setattr(door.wsgi, "_told_at", lambda: heard)
    monkeypatch.setattr(door, "_inner", broken)
    monkeypatch.setattr(delivery.time, "monotonic", lambda: now() + 25 * 3_600 + 30)

    stale = door.get(FETCH, token)

    assert stale.status == 200
    assert 25 <= int(stale.headers[delivery.STALE_HEADER]) <= 40


@pytest.mark.usefixtures("live")
def test_where_only_the_listener_is_away_django_is_asked(door: Door, token: str, monkeypatch: pytest.MonkeyPatch):
    door.told = False
    now, later = time.monotonic, [0.0]
    monkeypatch.setattr(delivery.time, "monotonic", lambda: now() + later[0])
    door.get(FETCH, token)
    for _ in range(5):
        later[0] += 6
        # One asks whether the database is there, and it is.
        assert delivery.STALE_HEADER not in door.get(FETCH, token).headers
    APIKey.objects.update(revoked_at=timezone.now())
    later[0] += 6
    assert door.get(FETCH, token).status == 401


@pytest.mark.django_db(transaction=True)
def test_a_listener_that_hears_nothing_knows_it(live_stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """As behind a pooler that takes LISTEN and delivers nothing: what it says to itself does not come back."""
    assert live_stage
    monkeypatch.setattr(listening, "CHANNEL", "somewhere_else")
    monkeypatch.setattr(listening.sql, "Identifier", lambda _: sql.Identifier("cuebook_delivery"))
    door = Door()
    assert not soon(door.listener.is_told, 1.0)
    door.listener.stop()


@pytest.mark.django_db(transaction=True)
def test_nothing_that_is_said_ends_the_listener(live_stage: Stage):
    stage = live_stage
    prompt = stage.prompt()
    stage.release(stage.commit(prompt, "one"))
    row, token = keys.issue(command_line(stage.project), name="service", scopes=["read"])
    door = Door()
    door.wsgi._told_at = door.listener.told_at
    with heard(door), psycopg.connect(**parameters(), autocommit=True) as loud:
        door.get(FETCH, token)
        for nonsense in ("\u00b2", "", "!", "!!", "99999999999999999999999", "~", "x" * 7_000):
            loud.execute("SELECT pg_notify(%s, %s)", [listening.CHANNEL, nonsense])
        # Counts that cannot be written now keep nobody from hearing.
        loud.execute("BEGIN")
        loud.execute("LOCK TABLE registry_fetchcount IN SHARE MODE")
        door.fetched.append((row.pk, (1,)))
        writing = threading.Thread(target=door.counting.write)
        writing.start()
        keys.revoke(command_line(stage.project), row)
        assert soon(lambda: door.get(FETCH, token).status == 401, 1.0)
        loud.execute("ROLLBACK")
        writing.join()
        assert soon(door.listener.is_told)


def test_behind_the_wall_who_has_an_old_answer_gives_that():
    entered, leave = threading.Event(), threading.Event()

    def stuck(environ: Any, start_response: Any) -> list[bytes]:
        if "stuck" in environ["PATH_INFO"]:
            entered.set()
            leave.wait()
        return answered(environ, start_response)

    door = Door(Bulkhead(stuck, places=1, waiting=1, seconds=60))
    first = door.get(FETCH, "a")
    door.table.forget()
    blocking = threading.Thread(target=lambda: door.get("/api/v1/prompts/stuck/versions/1", "a"))
    blocking.start()
    assert entered.wait(5)

    stale = door.get(FETCH, "a")

    assert (stale.status, stale.body) == (200, first.body)
    assert delivery.STALE_HEADER in stale.headers
    waiting = threading.Thread(target=lambda: door.get("/api/v1/prompts", "a"))
    waiting.start()
    assert soon(lambda: not door._inner._waiting._value)
    refused = door.get("/api/v1/prompts", "a")
    assert (refused.status, refused.headers["Retry-After"]) == (503, "2")
    assert b"server.busy" in refused.body
    leave.set()
    for thread in (blocking, waiting):
        thread.join()
    assert door.get(FETCH, "a").status == 200
    assert delivery.STALE_HEADER not in door.get(FETCH, "a").headers


def test_a_herd_is_one_question():
    began = threading.Event()

    def slow(environ: Any, start_response: Any) -> list[bytes]:
        began.set()
        time.sleep(0.3)
        return answered(environ, start_response)

    door = Door(slow)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(door.get(FETCH, "a").status)) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [200] * 40
    assert door.asked == 1


def test_what_was_asked_before_a_change_is_not_kept_after_it():
    door: Door

    def meanwhile(environ: Any, start_response: Any) -> list[bytes]:
        door.table.forget(len("Bearer a"))
        return answered(environ, start_response)

    door = Door(meanwhile)
    assert door.get(FETCH, "a").status == 200
    assert len(door.table) == 0


def test_a_change_elsewhere_drops_nothing():
    def meanwhile(environ: Any, start_response: Any) -> list[bytes]:
        door.table.forget(99)
        return answered(environ, start_response)

    door = Door(meanwhile)
    door.get(FETCH, "a")
    assert len(door.table) == 1


def test_what_is_too_long_is_asked_for_and_not_kept():
    door = Door(answered)
    assert door.get(f"{FETCH}?since={'x' * 60_000}", "a").status == 200
    assert door.get(FETCH, "a", accept="application/json," + "x" * 1_000).status == 200
    assert door.get(FETCH, "a", accept_encoding="gzip," * 1_000).status == 200
    assert door.get(f"/api/v1/prompts/{'x' * 1_000}/versions/1", "a").status == 200
    assert len(door.table) == 0
    asked = {"REQUEST_METHOD": "GET", "HTTP_AUTHORIZATION": "x", "wsgi.url_scheme": "http"}
    escaped = {**asked, "PATH_INFO": "/api/public/v2/prompts/x?label=s", "QUERY_STRING": ""}
    plain = {**asked, "PATH_INFO": "/api/public/v2/prompts/x", "QUERY_STRING": "label=s"}
    assert delivery.key_of(escaped) != delivery.key_of(plain)


def answered(environ: Any, start_response: Any) -> list[bytes]:
    """As a view would: the body says whose it is."""
    token = environ["HTTP_AUTHORIZATION"]
    served.by(APIKey(pk=1, project_id=len(token), key_id="x"))
    start_response("200 OK", [("ETag", '"t"'), ("Content-Type", "application/json")])
    return [f"{token} {environ['PATH_INFO']} {environ['QUERY_STRING']}".encode()]


words = st.text("abcxyz.-0", min_size=1, max_size=6)


@given(st.lists(st.tuples(words, words, st.sampled_from(["", "label=a", "label=b", "version=1"])), max_size=25))
@settings(max_examples=60, deadline=None)
def test_nobody_gets_anothers_answer(asked: list[tuple[str, str, str]]):
    door = Door(answered)
    for token, name, query in asked * 2:
        path = f"/api/public/v2/prompts/{name}"
        answer = door.get(f"{path}?{query}" if query else path, token)
        assert answer.body.decode() == f"Bearer {token} {path} {query}"
    assert door.asked == len(set(asked))


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 4_000)), max_size=60))
@settings(max_examples=60, deadline=None)
def test_the_table_stays_within_its_memory(rows: list[tuple[int, int]]):
    table = Table(20_000)
    for name, size in rows:
        fetch = (name % 4, tuple(range(name)))
        entry = ready_answers.Entry([], [], b"x" * size, "t", '"t"', name % 3, fetch, 0.0, float("inf"))
        table.keep((b"", str(name), "", "", ""), entry, table.generation)
        assert table.bytes <= 20_000
        assert table.bytes == sum(one.size for one in table._rows.values())
    table.forget(1, for_good=True)
    assert all(entry.project != 1 for entry in table._rows.values())
    table.forget()
    assert all(entry.right_until < float("inf") for entry in table._rows.values())
    table.keep_readers({2})
    assert table.readers() in ([], [2])
    assert table.bytes == sum(one.size for one in table._rows.values())


@pytest.mark.django_db(transaction=True)
def test_fetches_are_counted_in_batches_and_unused_prompts_are_known(live_stage: Stage):
    stage = live_stage
    prompt = stage.prompt()
    version = stage.commit(prompt, "one")
    stage.release(version)
    _, token = keys.issue(command_line(stage.project), name="service", scopes=["read"])
    Prompt.objects.update(created_at=timezone.now() - timedelta(days=40))
    stage.prompt("never.fetched")
    Prompt.objects.filter(name="never.fetched").update(created_at=timezone.now() - timedelta(days=40))
    door = Door()
    for _ in range(5):
        door.get(FETCH, token)
    door.get("/api/v1/environments/production/snapshot", token)
    assert door.get(FETCH, token, if_none_match="*").status == 304
    assert len(door.fetched) == 6
    APIKey.objects.update(last_used_at=timezone.now() - timedelta(days=30))
    door.counting.write()
    door.fetched.append((0, (version.pk, -1)))
    door.counting.write()
    used = APIKey.objects.get(name="service").last_used_at
    assert used is not None, "a key that reads from memory is in use"
    assert timezone.now() - used < timedelta(minutes=1)
    (found,) = fetches.of_prompt(prompt)
    assert (found.hour, found.day, found.month) == (7, 7, 7)
    assert found.last_at is not None
    assert [one.name for one in fetches.unused(Prompt.objects.all(), 30)] == ["never.fetched"]
    FetchCount.objects.update(last_at=timezone.now() - timedelta(days=31), hour=timezone.now() - timedelta(days=500))
    assert fetches.unused(Prompt.objects.all(), 30).count() == 2
    assert fetches.clear_old() == 1


def test_a_snapshot_says_what_has_changed_since(stage: Stage, api: APIClient):
    first, second, third = (stage.prompt(f"support.{name}") for name in ("a", "b", "c"))
    for prompt in (first, second):
        stage.release(stage.commit(prompt, "one"), "development")
    url = "/api/v1/environments/development/snapshot"
    whole = api.get(url)
    assert sorted(whole.json()["prompts"]) == ["support.a", "support.b"]
    same = api.get(url, {"since": whole["ETag"]})
    assert (same.json()["prompts"], same.json()["removed"]) == ({}, [])
    stage.release(stage.commit(second, "two"), "development")
    stage.release(stage.commit(third, "one"), "development")

    changed = api.get(url, {"since": whole["ETag"].strip('"')})

    assert sorted(changed.json()["prompts"]) == ["support.b", "support.c"]
    assert changed["ETag"] == api.get(url)["ETag"] != whole["ETag"]
    refused = api.get(url, {"since": "sha256:long-ago"})
    assert (refused.status_code, refused.json()["code"]) == (410, "snapshot.too_old")
    stage.roll_back(second, "development")
    back = api.get(url)["ETag"]
    # A week later what is live is still known, and so is what came just before it; only what nobody has is not.
    Snapshot.objects.update(created_at=F("created_at") - timedelta(days=8))
    snapshots.clear_old()
    assert api.get(url, {"since": back}).status_code == 200
    assert api.get(url, {"since": whole["ETag"]}).status_code == 410
    assert api.get("/api/v1/prompts/support.a/fetches").json() == []
    assert api.get("/api/v1/prompts", {"unused_days": "30"}).json()["results"] == []


@pytest.mark.django_db(transaction=True)
def test_what_is_told_is_told_when_the_transaction_ends(live_stage: Stage):
    with psycopg.connect(**parameters(), autocommit=True) as ear:
        ear.execute(f"LISTEN {listening.CHANNEL}")
        prompt = live_stage.prompt()
        with transaction.atomic():
            prompts.describe(live_stage.edith, prompt, tags=["a"])
            transaction.set_rollback(True)
        assert list(ear.notifies(timeout=0.1)) == []
        prompts.describe(live_stage.edith, prompt, tags=["a"])
        assert [one.payload for one in ear.notifies(timeout=0.5)] == [str(live_stage.project.pk)]
        row, _ = keys.issue(command_line(live_stage.project), name="k", scopes=["read"])
        keys.note_use(row)
        assert list(ear.notifies(timeout=0.1)) == []
        keys.revoke(command_line(live_stage.project), row)
        assert [one.payload for one in ear.notifies(timeout=0.5)] == [f"!{live_stage.project.pk}"]


def parameters() -> dict[str, Any]:
    described = connection.settings_dict
    names = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    return {name: described[key] for name, key in names.items() if described[key]}


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    """A thread that outlives its test would hold a connection to a database that is to be emptied, or dropped."""
    yield
    assert soon(lambda: "delivery-listener" not in [thread.name for thread in threading.enumerate()])
