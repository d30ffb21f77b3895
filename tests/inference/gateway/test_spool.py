"""The spool: what is on disk is recorded once, whoever left it, and what cannot be recorded blocks nothing."""

import errno
import os
import threading
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from inference.gateway.records import spool as spool_module
from inference.gateway.records.recording import save
from inference.gateway.records.spool import REFUSED, Record, Spool
from inference.models import Call
from registry.models import PromptVersion
from tests.conftest import Stage


def record_of(version: PromptVersion, **members: Any) -> dict[str, Any]:
    return {
        **{"reference": uuid.uuid4().hex, "project": version.prompt.project_id, "version": version.pk},
        **{"environment": "production", "at": datetime.now(UTC).isoformat(), "model_name": "m", "cost_usd": "0.01"},
        **members,
    }


def test_what_one_process_holds_no_other_records(tmp_path: Path):
    saved: list[Record] = []

    def keep(records: Any) -> list[Record]:
        saved.extend(records)
        return []

    first, second = Spool(tmp_path), Spool(tmp_path)
    first.append({"reference": "a"})
    assert second.drain(keep) == 0
    first.close_segment()
    assert second.drain(keep) == 1
    assert [record["reference"] for record in saved] == ["a"]
    assert not list(tmp_path.iterdir())


def test_where_saving_fails_the_records_stay(tmp_path: Path):
    def fail(_: Any) -> list[Record]:
        raise OSError("the database is away")

    spool = Spool(tmp_path)
    spool.append({"reference": "a"})
    with pytest.raises(OSError, match="away"):
        spool.drain(fail)

    assert spool.waiting() > 0
    assert spool.drain(lambda _: []) == 1


def test_half_a_record_is_left_out(tmp_path: Path):
    (tmp_path / "x.calls").write_bytes(b'{"reference": "a"}\n{"refer')
    saved: list[Record] = []

    assert Spool(tmp_path).drain(lambda records: saved.extend(records) or []) == 1

    assert saved == [{"reference": "a"}]


def test_a_record_that_can_never_be_saved_blocks_no_other(live_stage: Stage, tmp_path: Path):
    version = live_stage.commit(live_stage.prompt(), "Sort it.")
    good, bad, again = record_of(version), record_of(version, subject="a\0b"), record_of(version)
    newer, orphan = record_of(version, of_a_newer_version=1), record_of(version) | {"version": 0}
    pairs = [{"shadow_arm": "x", "reference": "pair"}, {"shadow_arm": 0, "reference": "pair", "at": "2026-11-29"}]
    spool = Spool(tmp_path)
    for record in (good, bad, newer, orphan, *pairs, again, good):
        spool.append(record)
    (tmp_path / "0.calls").write_bytes(b"1\n")

    spool.drain(save)

    assert set(Call.objects.values_list("reference", flat=True)) == {good["reference"], again["reference"]}
    assert [path.name for path in tmp_path.iterdir()] == [REFUSED]
    refused = [orjson.loads(line) for line in (tmp_path / REFUSED).read_bytes().splitlines()]
    expected = {bad["reference"], newer["reference"], orphan["reference"], "pair"}
    assert {record["reference"] for record in refused if isinstance(record, dict)} == expected
    assert 1 in refused


def test_no_record_is_lost_to_a_drain_that_comes_while_a_segment_begins(tmp_path: Path):
    spool, count, saved = Spool(tmp_path), 50_000, 0
    is_over = threading.Event()

    def append() -> None:
        for number in range(count):
            spool.append({"reference": number})
        is_over.set()

    writer = threading.Thread(target=append)
    writer.start()
    while not is_over.is_set():
        saved += spool.drain(lambda _: [])
    writer.join()
    saved += spool.drain(lambda _: [])

    assert saved == count


def test_half_a_record_on_a_full_disk_takes_no_other_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spool = Spool(tmp_path)
    spool.append({"reference": "a"})
    write = os.write
    writes = iter((10, 0))

    def write_on_a_full_disk(descriptor: int, data: Any) -> int:
        if size := next(writes):
            return write(descriptor, data[:size])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(spool_module.os, "write", write_on_a_full_disk)
        with pytest.raises(OSError, match="No space"):
            spool.append({"reference": "b"})
    spool.append({"reference": "c"})
    saved: list[Record] = []
    spool.drain(lambda records: saved.extend(records) or [])

    assert [record["reference"] for record in saved] == ["a", "c"]
