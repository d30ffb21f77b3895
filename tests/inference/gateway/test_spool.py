"""The spool: what is on disk is recorded once, whoever left it, and what cannot be recorded blocks nothing."""

import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from inference.gateway.recording import save
from inference.gateway.spool import REFUSED, Record, Spool
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
    spool = Spool(tmp_path)
    for record in (good, bad, again, good):
        spool.append(record)

    spool.drain(save)

    assert set(Call.objects.values_list("reference", flat=True)) == {good["reference"], again["reference"]}
    assert [path.name for path in tmp_path.iterdir()] == [REFUSED]
    assert bad["reference"] in (tmp_path / REFUSED).read_text()
