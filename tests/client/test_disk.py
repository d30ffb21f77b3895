"""The copy on disk: when it is taken, by whom, and what is not taken for one."""

import os
import stat
import time

import cuebook
import pytest

from tests.client.conftest import Service


def test_a_process_that_starts_without_the_registry_takes_the_copy_on_disk(service: Service):
    first = service.release("v1")
    service.release("v2")
    before = service.client()
    before.get("support.triage")
    before.get(f"support.triage@{first.content_hash}")
    before.refresh()
    (copy,) = service.cache_dir.iterdir()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert stat.S_IMODE(service.cache_dir.stat().st_mode) == 0o700
    assert service.token not in copy.read_text()
    os.utime(copy, (time.time() - 500, time.time() - 500))
    service.gate.is_down = True

    client = service.client()
    prompt = client.get("support.triage")

    assert prompt.number == 2
    assert 495 < prompt.age < 560
    assert client.get(f"support.triage@{first.content_hash}").number == 1
    assert prompt.render(ticket="Hello")["messages"][0]["content"] == "v2"
    assert [type(error) for error in service.errors] == [cuebook.UnavailableError]
    with pytest.raises(cuebook.UnavailableError):
        client.get("support.other")
    service.gate.is_down = False
    client.refresh()
    assert prompt.age < 5
    assert time.time() - copy.stat().st_mtime < 60, "the copy is confirmed as well"


def test_a_copy_that_others_wrote_is_not_taken(service: Service):
    service.release("v1")
    service.client().get("support.triage")
    (copy,) = service.cache_dir.iterdir()
    good = copy.read_bytes()
    service.gate.is_down = True

    assert b'"v1"' in good
    for bad in (good.replace(b'"v1"', b'"v9"'), good[:200], b"", b"{}\n{}"):
        copy.write_bytes(bad)
        service.errors.clear()
        with pytest.raises(cuebook.UnavailableError):
            service.client().get("support.triage")
        assert [type(error) for error in service.errors] == [cuebook.UnavailableError, cuebook.IntegrityError]
    copy.write_bytes(good)
    assert service.client().get("support.triage").number == 1
    with pytest.raises(cuebook.UnavailableError):
        service.client(key=service.token[:-1] + "0").get("support.triage")


def test_a_copy_that_cannot_be_written_is_told_and_missed_by_nobody(service: Service):
    service.release("v1")
    service.cache_dir.write_text("a file where a directory should be")
    assert service.client().get("support.triage").number == 1
    assert isinstance(service.errors[0], OSError)
    assert service.client(cache_dir=None).get("support.triage").number == 1
    assert len(service.errors) == 1


def test_a_revoked_key_reads_no_copy(service: Service):
    service.release("v1")
    client = service.client()
    client.get("support.triage")
    service.revoke()

    with pytest.raises(cuebook.KeyRefusedError):
        service.client().get("support.triage")

    with pytest.raises(cuebook.KeyRefusedError):
        client.refresh()
    assert client.get("support.triage").number == 1, "a running client goes on, and reports the error"
    with pytest.raises(cuebook.KeyRefusedError):
        client.get("support.triage@1")


def test_processes_share_the_copy_and_lose_nothing_of_each_other(service: Service):
    service.release("v1")
    service.release("v2")
    first, second = service.client(), service.client()
    first.get("support.triage@1")
    second.get("support.triage@2")
    for _ in range(2):
        first.refresh()
        second.refresh()
    (copy,) = service.cache_dir.iterdir()
    before = copy.read_bytes()
    first.refresh()
    second.refresh()
    assert copy.read_bytes() == before, "where nothing has changed nothing is written"
    copy.unlink()
    first.refresh()
    second.refresh()
    service.gate.is_down = True
    later = service.client()
    assert [later.get(f"support.triage@{number}").number for number in (1, 2)] == [1, 2]
