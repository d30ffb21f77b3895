"""Cached responses in front of Django: the same as Django's, never another key's, never outdated for long."""

import gzip
import threading
import time
from datetime import timedelta
from typing import Any

import brotli
import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from registry.accounts import api_keys
from registry.accounts.permissions import actor_for_command_line
from registry.delivery import response_cache
from registry.delivery import wsgi as delivery_wsgi
from registry.delivery.bulkhead import Bulkhead
from registry.delivery.metrics import DeliveryMetrics
from registry.delivery.response_cache import ResponseCache
from registry.models import APIKey, Prompt
from tests.conftest import Stage
from tests.registry.delivery.door import FETCH, Door, answered, broken
from tests.waiting import soon

pytestmark = pytest.mark.usefixtures("one_connection")


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.fixture
def token(stage: Stage) -> str:
    return api_keys.issue(actor_for_command_line(stage.project), name="service", scopes=["read"])[1]


@pytest.fixture
def live(stage: Stage) -> Prompt:
    prompt = stage.prompt()
    stage.release(stage.commit(prompt, "Sort it. " + "word " * 200))
    return prompt


@pytest.mark.usefixtures("live")
def test_a_cached_response_is_djangos_without_a_query(door: Door, token: str, django_assert_num_queries: Any):
    plain = Door(inner=None)
    plain.is_listening = False
    first = door.get(FETCH, token)
    with django_assert_num_queries(0):
        second = door.get(FETCH, token, x_request_id="mine-1")

    straight = WSGIHandler()
    alone = Door(straight)
    reference = alone.get(FETCH, token)
    assert (first.status, second.status, door.django_calls) == (200, 200, 1)
    assert first.body == second.body == reference.body
    assert first.plain() == second.plain() == reference.plain()
    assert second.headers["X-Request-ID"] == "mine-1"
    assert first.headers["X-Request-ID"] != "mine-1"
    assert "Accept-Encoding" in first.headers["Vary"]
    assert "Authorization" in first.headers["Vary"]
    assert first.headers["Content-Length"] == str(len(first.body))


@pytest.mark.usefixtures("live")
def test_conditions_heads_and_encodings_use_one_call_each(door: Door, token: str):
    fresh = door.get(FETCH, token, if_none_match='"sha256:other"')
    tag = fresh.headers["ETag"]
    assert fresh.status == 200
    for header in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        unchanged = door.get(FETCH, token, if_none_match=header)
        assert (unchanged.status, unchanged.body) == (304, b"")
        assert unchanged.headers["ETag"] == tag
        assert "Content-Length" not in unchanged.headers
    head = door.get(FETCH, token, method="HEAD")
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(fresh.body)))
    assert door.django_calls == 1
    gzipped = door.get(FETCH, token, accept_encoding="gzip, deflate")
    assert gzipped.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(gzipped.body) == fresh.body
    brotlied = door.get(FETCH, token, accept_encoding="gzip, br;q=0.9")
    assert brotli.decompress(brotlied.body) == fresh.body
    assert door.get(FETCH, token, accept_encoding="br;q=0, gzip;q=0").body == fresh.body
    assert door.django_calls == 3


@pytest.mark.parametrize(
    "path", ["/api/v1/prompts/nothing.here/versions/1", f"{FETCH}?x=%00", "/api/v1/versions/sha256:0"]
)
@pytest.mark.usefixtures("live")
def test_refusals_are_djangos_and_are_not_cached(door: Door, token: str, path: str):
    for _ in range(2):
        assert door.get(path, token).status >= 400
    assert door.django_calls == 2
    assert door.get(FETCH, "cbk_nobody").status == 401
    assert door.get(FETCH).status in (401, 403)
    assert len(door.cache) == 0
    assert door.get(FETCH, token, accept="text/html").status in (200, 406)
    assert len(door.cache) == 0


@pytest.mark.usefixtures("live")
def test_without_a_listener_answers_expire_and_without_a_database_they_stay(
    door: Door, token: str, monkeypatch: pytest.MonkeyPatch
):
    door.is_listening = False
    door.get(FETCH, token)
    assert (door.get(FETCH, token).status, door.django_calls) == (200, 1)
    now = time.monotonic
    monkeypatch.setattr(delivery_wsgi.time, "monotonic", lambda: now() + 6)
    assert (door.get(FETCH, token).status, door.django_calls) == (200, 2)

    monkeypatch.setattr(door, "_inner", broken)
    monkeypatch.setattr(delivery_wsgi.time, "monotonic", lambda: now() + 20)
    stale = door.get(FETCH, token)
    assert (stale.status, door.django_calls) == (200, 3), "this request finds that no newer response can be had"
    assert int(stale.headers[delivery_wsgi.STALE_HEADER]) >= 13
    assert (door.get(FETCH, token).status, door.django_calls) == (200, 3)
    assert door.get("/api/v1/prompts/support.triage/versions/1", token).status == 500
    monkeypatch.setattr(delivery_wsgi.time, "monotonic", lambda: now() + delivery_wsgi.STALE_SECONDS + 60)
    assert door.get(FETCH, token).status == 500
    registry = CollectorRegistry()
    metrics = DeliveryMetrics(door.wsgi, door.cache, is_listening=lambda: door.is_listening, registry=registry)
    metrics.update()
    metrics.update()
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for metric in registry.collect()
        for sample in metric.samples
        if not sample.name.endswith("_created")
    }
    assert samples == {
        ("cuebook_delivery_answers_total", "ready"): 1,
        ("cuebook_delivery_answers_total", "asked"): door.django_calls,
        ("cuebook_delivery_answers_total", "stale"): 2,
        ("cuebook_delivery_kept_answers",): 1,
        ("cuebook_delivery_kept_bytes",): door.cache.bytes,
        ("cuebook_delivery_listening",): 0,
    }


@pytest.mark.usefixtures("live")
def test_a_key_ends_when_it_ends(door: Door, stage: Stage, monkeypatch: pytest.MonkeyPatch):
    ends = timezone.now() + timedelta(minutes=5)
    _, token = api_keys.issue(actor_for_command_line(stage.project), name="short", scopes=["read"], expires_at=ends)
    assert door.get(FETCH, token).status == 200
    now = time.time
    monkeypatch.setattr(delivery_wsgi.time, "time", lambda: now() + 400)
    monkeypatch.setattr(APIKey, "is_usable", property(lambda key: key.expires_at is None))
    door.down = True
    assert door.get(FETCH, token).status == 401
    assert len(door.cache) == 0


@pytest.mark.usefixtures("live")
def test_a_quiet_day_does_not_outdate_a_response(door: Door, token: str, monkeypatch: pytest.MonkeyPatch):
    door.get(FETCH, token)
    now = time.monotonic
    monkeypatch.setattr(delivery_wsgi.time, "monotonic", lambda: now() + 25 * 3_600)
    assert (door.get(FETCH, token).status, door.django_calls) == (200, 1)
    received = now() + 25 * 3_600
    monkeypatch.setattr(door.wsgi, "_current_until", lambda: received)
    monkeypatch.setattr(door, "_inner", broken)
    monkeypatch.setattr(delivery_wsgi.time, "monotonic", lambda: now() + 25 * 3_600 + 30)

    stale = door.get(FETCH, token)

    assert stale.status == 200
    assert 25 <= int(stale.headers[delivery_wsgi.STALE_HEADER]) <= 40


@pytest.mark.usefixtures("live")
def test_without_a_listener_django_is_asked(door: Door, token: str, monkeypatch: pytest.MonkeyPatch):
    door.is_listening = False
    now, later = time.monotonic, [0.0]
    monkeypatch.setattr(delivery_wsgi.time, "monotonic", lambda: now() + later[0])
    door.get(FETCH, token)
    for _ in range(5):
        later[0] += 6
        # One request probes the database, which is up.
        assert delivery_wsgi.STALE_HEADER not in door.get(FETCH, token).headers
    APIKey.objects.update(revoked_at=timezone.now())
    later[0] += 6
    assert door.get(FETCH, token).status == 401


def test_behind_the_bulkhead_a_stale_response_is_given():
    entered, leave = threading.Event(), threading.Event()

    def stuck(environ: Any, start_response: Any) -> list[bytes]:
        if "stuck" in environ["PATH_INFO"]:
            entered.set()
            leave.wait()
        return answered(environ, start_response)

    door = Door(Bulkhead(stuck, slots=1, waiting=1, seconds=60))
    first = door.get(FETCH, "a")
    door.cache.invalidate()
    blocking = threading.Thread(target=lambda: door.get("/api/v1/prompts/stuck/versions/1", "a"))
    blocking.start()
    assert entered.wait(5)

    stale = door.get(FETCH, "a")

    assert (stale.status, stale.body) == (200, first.body)
    assert delivery_wsgi.STALE_HEADER in stale.headers
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
    assert delivery_wsgi.STALE_HEADER not in door.get(FETCH, "a").headers


def test_concurrent_requests_are_one_call():
    began = threading.Event()

    def slow(environ: Any, start_response: Any) -> list[bytes]:
        began.set()
        time.sleep(0.3)
        return answered(environ, start_response)

    door = Door(slow)
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(door.get(FETCH, "a").status)) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert statuses == [200] * 40
    assert door.django_calls == 1


def test_a_response_from_before_a_change_is_not_cached():
    door: Door

    def meanwhile(environ: Any, start_response: Any) -> list[bytes]:
        door.cache.invalidate(len("Bearer a"))
        return answered(environ, start_response)

    door = Door(meanwhile)
    assert door.get(FETCH, "a").status == 200
    assert len(door.cache) == 0


def test_a_change_elsewhere_drops_nothing():
    def meanwhile(environ: Any, start_response: Any) -> list[bytes]:
        door.cache.invalidate(99)
        return answered(environ, start_response)

    door = Door(meanwhile)
    door.get(FETCH, "a")
    assert len(door.cache) == 1


def test_long_addresses_and_headers_and_named_projects_are_not_cached():
    door = Door(answered)
    assert door.get(f"{FETCH}?since={'x' * 60_000}", "a").status == 200
    assert door.get(FETCH, "a", accept="application/json," + "x" * 1_000).status == 200
    assert door.get(FETCH, "a", accept_encoding="gzip," * 1_000).status == 200
    assert door.get(f"/api/v1/prompts/{'x' * 1_000}/versions/1", "a").status == 200
    # Whether the key is of that project is Django's to say, each time.
    assert door.get(FETCH, "a", x_cuebook_project="other").status == 200
    assert len(door.cache) == 0
    request = {"REQUEST_METHOD": "GET", "HTTP_AUTHORIZATION": "x", "wsgi.url_scheme": "http"}
    escaped = {**request, "PATH_INFO": "/api/public/v2/prompts/x?label=s", "QUERY_STRING": ""}
    plain = {**request, "PATH_INFO": "/api/public/v2/prompts/x", "QUERY_STRING": "label=s"}
    assert delivery_wsgi.cache_key(escaped) != delivery_wsgi.cache_key(plain)


words = st.text("abcxyz.-0", min_size=1, max_size=6)


@given(st.lists(st.tuples(words, words, st.sampled_from(["", "label=a", "label=b", "version=1"])), max_size=25))
@settings(max_examples=60, deadline=None)
def test_no_key_gets_another_keys_response(requests: list[tuple[str, str, str]]):
    door = Door(answered)
    for token, name, query in requests * 2:
        path = f"/api/public/v2/prompts/{name}"
        answer = door.get(f"{path}?{query}" if query else path, token)
        assert answer.body.decode() == f"Bearer {token} {path} {query}"
    assert door.django_calls == len(set(requests))


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 4_000)), max_size=60))
@settings(max_examples=60, deadline=None)
def test_the_cache_stays_within_its_memory(rows: list[tuple[int, int]]):
    cache = ResponseCache(20_000)
    for name, size in rows:
        fetch = (name % 4, tuple(range(name)))
        entry = response_cache.CachedResponse([], [], b"x" * size, "t", '"t"', name % 3, fetch, 0.0, float("inf"))
        cache.put((b"", str(name), "", "", ""), entry, cache.generation)
        assert cache.bytes <= 20_000
        assert cache.bytes == sum(entry.size for entry in cache._rows.values())
    cache.invalidate(1, drop=True)
    assert all(entry.project != 1 for entry in cache._rows.values())
    cache.invalidate()
    assert all(entry.valid_until < float("inf") for entry in cache._rows.values())
    cache.retain_readers({2})
    assert cache.readers() in ([], [2])
    assert cache.bytes == sum(entry.size for entry in cache._rows.values())
