"""Texts that services report with their calls: kept where the project says so, and cleaned before."""

from typing import Any

import pytest

from core.redaction import PRESETS
from inference.calls import log as call_log
from inference.models import Call, CallText
from inference.texts import policy as texts
from registry.accounts.permissions import Actor
from registry.models import PromptVersion
from tests.conftest import ApiFor, Stage
from tests.inference.calls.conftest import call

TEXT = {
    "messages": [{"role": "user", "content": "Ann here, ann@mail.example"}],
    "answer": "billing",
    "variables": {"ticket": "Ann here, ann@mail.example"},
}


def keep(stage: Stage, share: float = 1, **members: Any) -> None:
    texts.set_policy(stage.ada, **{"share": share, "days": 14, "presets": list(PRESETS), "patterns": [], **members})


def without_names(value: Any) -> Any:
    """A function of one's own, as TEXT_REDACTION names one."""
    return {**value, "answer": {"text": "gone"}}


def test_nothing_is_kept_unless_the_project_says_so(stage: Stage, api_for: ApiFor, version: PromptVersion):
    service = api_for(stage.edith, scopes=["observe"])

    answer = service.post("/api/v1/calls", {"calls": [call(1, text=TEXT), call(2)]})

    assert answer.json() == {"recorded": 2, "repeated": 0, "texts": 1, "kept_texts": 0}
    assert not CallText.objects.exists()


def test_texts_are_cleaned_before_they_are_kept(stage: Stage, service: Actor, version: PromptVersion):
    keep(stage)

    result = call_log.record(service, [call(1, text=TEXT, subject="user-17"), call(2)])
    again = call_log.record(service, [call(1, text=TEXT)])

    assert (result.texts, result.kept_texts, again.texts) == (1, 1, 0)
    row = CallText.objects.get()
    assert (row.reference, row.subject) == ("call-1", "user-17")
    assert row.messages == [{"role": "user", "content": "Ann here, [email]"}]
    assert (row.answer, row.variables) == ({"text": "billing"}, {"ticket": "Ann here, [email]"})


def test_a_share_of_the_texts_is_kept_and_the_same_each_time(stage: Stage, service: Actor, version: PromptVersion):
    keep(stage, share=0.3)

    result = call_log.record(service, [call(number, text=TEXT) for number in range(400)])

    assert 80 < result.kept_texts < 160
    assert result.texts == 400


def test_a_function_of_the_servers_own_runs_last(stage: Stage, service: Actor, version: PromptVersion, settings: Any):
    settings.TEXT_REDACTION = f"{__name__}.without_names"
    keep(stage)

    call_log.record(service, [call(1, text=TEXT)])

    assert CallText.objects.get().answer == {"text": "gone"}


def test_what_cannot_be_cleaned_in_time_is_not_kept(stage: Stage, service: Actor, version: PromptVersion):
    keep(stage, patterns=["(a|aa)+$"])
    hostile = {"messages": [], "answer": "a" * 40_000 + "b", "variables": {}}

    result = call_log.record(service, [call(1, text=hostile)])

    assert (result.recorded, result.kept_texts) == (1, 0)
    assert Call.objects.exists()
    assert not CallText.objects.exists()


@pytest.mark.parametrize(
    "text", ["x", {"messages": "x"}, {"messages": [1]}, {"answer": 1}, {"variables": [1]}, {"x": 1}]
)
def test_what_is_no_text_is_refused(stage: Stage, api_for: ApiFor, version: PromptVersion, text: Any):
    answer = api_for(stage.edith, scopes=["observe"]).post("/api/v1/calls", {"calls": [call(1, text=text)]})

    assert answer.json()["errors"][0]["pointer"] == "/calls/0/text"
