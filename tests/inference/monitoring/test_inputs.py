"""What comes in, by the texts that are kept: languages and meaning, and no alarm by chance."""

import uuid
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
from django.utils import timezone

from core.errors import Problem
from inference.calls import storage
from inference.models import CallText, Monitor
from inference.monitoring import inputs, monitors
from inference.monitoring.figures import MONITOR_FIGURES
from registry.models import PromptVersion, TextVector
from tests.conftest import Stage

GERMAN = "Guten Tag, ich wurde im letzten Monat zweimal belastet, bitte erstatten Sie mir den Betrag"
ENGLISH = "Good morning, I was charged twice last month, would you please refund the amount"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (GERMAN, "de"),
        (ENGLISH, "en"),
        ("Bonjour, je ne peux plus ouvrir mon compte depuis hier soir", "fr"),
        ("こんにちは、昨日からアカウントを開くことができません", "ja"),
        ("ok", inputs.UNKNOWN),
        ("12345 67890 !!!", inputs.UNKNOWN),
    ],
)
def test_the_language_of_a_text(text: str, language: str):
    assert inputs.language_of(text) == language


def unit(rows: Any) -> Any:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_two_samples_of_one_kind_are_mixed_and_of_two_are_apart():
    rng = np.random.default_rng(1)
    first, same = (unit(rng.normal(size=(200, 24))) for _ in range(2))
    other = unit(rng.normal(size=(200, 24)) + 1.2)
    half = np.concatenate([same[:120], other[:80]])

    alike, partly, apart = (inputs.separation_of(first, sample) for sample in (same, half, other))

    assert alike.p > 0.01
    assert alike.value < 0.2
    assert alike.value < partly.value < apart.value
    assert apart.value > 0.8
    assert partly.p < 1e-3
    assert apart.p == pytest.approx(1 / (inputs.SHUFFLES + 1))


def keep(version: PromptVersion, texts: list[str], at: datetime) -> None:
    own = {"project": version.prompt.project_id, "version": version.pk, "environment": "production", "tokens_in": 20}
    calls = [storage.new_call(**own, reference=uuid.uuid4().hex, at=at) for _ in texts]
    storage.store(calls)
    CallText.objects.bulk_create(
        CallText(
            project_id=call["project"],
            reference=call["reference"],
            at=at,
            messages=[{"role": "system", "content": "Sort."}, {"role": "user", "content": text}],
            answer={"text": "billing"},
        )
        for call, text in zip(calls, texts, strict=True)
    )


def watched(stage: Stage, figure: str, before: list[str], now: list[str]) -> Monitor:
    version = stage.commit(stage.prompt(), "Sort it.")
    stage.release(version)
    moment = timezone.now()
    keep(version, before, moment - timedelta(hours=30))
    keep(version, now, moment - timedelta(hours=2))
    monitor = monitors.create(stage.edith, version.prompt, figure=figure, bound=0.1)
    return monitors.look(monitor)


def numbered(text: str, count: int) -> list[str]:
    return [f"{text} ({number})" for number in range(count)]


def test_another_language_is_found(stage: Stage):
    monitor = watched(stage, "language_drift", numbered(ENGLISH, 250), numbered(ENGLISH, 150) + numbered(GERMAN, 100))
    assert (monitor.state, monitor.calls) == ("alert", 250)
    assert monitor.value
    assert monitor.value > 0.25


def test_the_same_language_is_none(stage: Stage):
    monitor = watched(stage, "language_drift", numbered(ENGLISH, 250), numbered(ENGLISH, 240))
    assert (monitor.state, monitor.value) == ("ok", 0.0)


@pytest.mark.parametrize("figure", ["language_drift", "topic_drift"])
def test_few_texts_or_none_tell_nothing(stage: Stage, figure: str):
    monitor = watched(stage, figure, numbered(ENGLISH, 50), numbered(GERMAN, 50))
    assert (monitor.state, monitor.value) == ("unknown", None)


def test_another_topic_is_found_by_meaning(stage: Stage):
    before = [f"I was charged {number} dollars twice, please refund my invoice" for number in range(200)]
    now = [f"The export of {number} tickets to CSV hangs and the page does not load" for number in range(200)]
    monitor = watched(stage, "topic_drift", before, now)
    assert monitor.state == "alert"
    assert monitor.value
    assert monitor.value > 0.9


def test_each_figure_says_what_it_is_of(stage: Stage):
    assert all(figure.title and figure.maximum > 0 for figure in MONITOR_FIGURES.values())


def test_one_that_cannot_be_read_keeps_no_other(stage: Stage, monkeypatch: pytest.MonkeyPatch):
    prompt = stage.commit(stage.prompt(), "Sort it.").prompt
    broken = monitors.create(stage.edith, prompt, figure="topic_drift", bound=0.1)
    other = monitors.create(stage.edith, prompt, figure="failure_rate", bound=0.1)

    def fail(_: Monitor) -> None:
        raise Problem("embedder.failed", "It is away.")

    figure = replace(MONITOR_FIGURES["topic_drift"], read=fail)
    monkeypatch.setitem(MONITOR_FIGURES, "topic_drift", figure)  # type: ignore[arg-type]
    assert monitors.look_at_due(10) == 2
    assert monitors.look_at_due(10) == 0
    for monitor in (broken, other):
        monitor.refresh_from_db()
        assert (monitor.state, monitor.looked_at is not None) == ("unknown", True)


def test_more_calls_than_are_ever_read_are_not_waited_for(stage: Stage):
    version = stage.commit(stage.prompt(), "Sort it.")
    stage.release(version)
    moment = timezone.now()
    for hours in (30, 2):
        keep(version, numbered(ENGLISH, 410), moment - timedelta(hours=hours))
    monitor = monitors.create(stage.edith, version.prompt, figure="language_drift", bound=0.1, min_calls=5_000)
    assert monitors.look(monitor).state == "ok"


def test_nothing_of_what_was_compared_is_stored(stage: Stage):
    watched(stage, "topic_drift", numbered(ENGLISH, 200), numbered(GERMAN, 200))
    assert not TextVector.objects.exists()
