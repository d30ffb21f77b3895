"""Answers of providers: any shape is a job that can be stored, or an error with a remedy."""

import csv
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluations.providers.chat import CallError
from finetunes.providers import curves
from finetunes.providers.openai_tuning import read_checkpoint, read_event, read_job
from finetunes.providers.protocols import PROTOCOLS, protocol_of
from finetunes.providers.states import FINAL_STATES, JobState
from infra.charts import curve_chart

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    [
        *("id", "status", "error", "metadata", "result_files", "trained_tokens", "method", "hyperparameters"),
        *("created_at", "level", "message", "data", "step_number", "metrics", "fine_tuned_model", "step"),
        *("fine_tuned_model_checkpoint", "train_loss"),
    ]
)


def is_storable(value: Any) -> bool:
    """Say whether PostgreSQL stores the value in a column of text, JSON or a number."""
    if isinstance(value, str):
        value.encode()
        return "\0" not in value
    if isinstance(value, dict):
        return all(is_storable(name) and is_storable(member) for name, member in value.items())
    if isinstance(value, list | tuple):
        return all(map(is_storable, value))
    return value is None or isinstance(value, int | float)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(NAMES, ANYTHING, max_size=8))
def test_any_answer_can_be_stored_or_is_an_error(document: dict[str, Any]):
    event = read_event(document)
    assert datetime.fromtimestamp(event.at, UTC).year < 3000
    checkpoint = read_checkpoint(document)
    assert is_storable([event.id, event.level, event.message, checkpoint.id, checkpoint.model])
    for point in (event.point, checkpoint.point):
        assert point is None or 0 <= point.step < 2**31
    try:
        job = read_job(document)
    except CallError:
        return
    values = [job.id, job.status, job.fine_tuned_model, job.error, job.trained_tokens, dict(job.hyperparameters)]
    assert is_storable(values)
    assert job.trained_tokens is None or job.trained_tokens <= 10**12


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://api.openai.com/v1", "openai"),
        ("https://acme.openai.azure.com/openai/v1", "azure"),
        ("https://api.openai.com.evil.example/v1", "compatible"),
        ("http://127.0.0.1:8080/v1", "compatible"),
    ],
)
def test_a_protocol_is_guessed_by_its_address(url: str, name: str):
    assert protocol_of(url).name == name


def test_statuses_have_the_meaning_that_each_provider_gives_them():
    assert PROTOCOLS["azure"].state_for_status("notRunning") == JobState.QUEUED
    assert PROTOCOLS["compatible"].state_for_status("completed") == JobState.SUCCEEDED
    assert PROTOCOLS["openai"].state_for_status("completed") is None
    assert PROTOCOLS["together"].state_for_status("cancel_requested") == JobState.RUNNING
    assert PROTOCOLS["fireworks"].state_for_status("JOB_STATE_EARLY_STOPPED") == JobState.SUCCEEDED
    for protocol in PROTOCOLS.values():
        assert {JobState.QUEUED, JobState.RUNNING, *FINAL_STATES} <= set(protocol.statuses.values()), protocol.name


def test_curves_of_any_kind_can_be_drawn():
    wild = [curves.read_point(step, {"train_loss": loss}) for step, loss in ((1, 1e308), (2, -1e8), (3, -5e-324))]
    assert [point is None for point in wild] == [True, False, False]
    for values in ([-2.0, -1.0], [5e-324, 0.0], [1e9, -1e9]):
        chart = curve_chart("loss", "Loss", [("loss", list(enumerate(values)))], across="step")
        assert len(chart.ticks) < 20
    before = csv.field_size_limit(100)
    with pytest.raises(ValueError, match="no CSV"):
        curves.read_csv(b"step,train_loss\n1," + b"9" * 200)
    csv.field_size_limit(before)
    many = b"step,train_loss\n" + b"".join(b"%d,0.5\n" % step for step in range(20_000))
    assert len(curves.read_csv(many)) <= curves.MAX_POINTS
