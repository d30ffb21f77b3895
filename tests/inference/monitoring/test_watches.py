"""Watches of releases: they begin by themselves, and end with a sentence."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from inference import tasks
from inference.calls import storage
from inference.models import ReleaseWatch
from inference.monitoring import watches
from registry.models import AuditEntry, PromptVersion, Release
from tests.conftest import ApiFor, Stage


def called(version: PromptVersion, count: int, *, broken: int = 0, ago: timedelta = timedelta()) -> None:
    own = {"project": version.prompt.project_id, "version": version.pk, "environment": "production"}
    at = timezone.now() - ago
    storage.store(
        [
            storage.new_call(
                **own, reference=f"{version.pk}-{ago}-{number}", at=at, format_ok=number >= broken, latency_ms=200.0
            )
            for number in range(count)
        ]
    )


@pytest.fixture
def versions(stage: Stage) -> list[PromptVersion]:
    """Two versions, one released after the other; the second breaks the format more often."""
    first = stage.commit(stage.prompt(), "Sort it.")
    stage.release(first)
    called(first, 400, broken=10, ago=timedelta(minutes=5))
    second = stage.commit(first.prompt, "Sort it well.")
    stage.release(second)
    called(second, 300, broken=90)
    return [first, second]


def test_each_release_is_watched_for_two_weeks_and_ends_with_a_sentence(stage: Stage, versions: list[PromptVersion]):
    tasks.watch_releases()
    tasks.watch_releases()

    # The first was replaced, so its watch is over.
    second, first = watches.watches_of(versions[0].prompt, "production")
    assert first.ended_at
    assert first.sentence == "In 1 day v1 had 0 calls in production: too few to tell anything."
    assert second.ended_at is None
    later = second.ends_at + timedelta(seconds=1)
    assert (watches.end_due(later), watches.end_due(later)) == (1, 0)

    second.refresh_from_db()
    assert second.sentence.startswith(
        "In 1 day v2 had 300 calls in production. Against v1 in the two weeks before, worse:"
    )
    assert "format adherence -0.2" in second.sentence
    assert {figure["title"] for figure in second.figures} >= {"Format adherence", "Latency, p50"}
    assert AuditEntry.objects.filter(action="release.watched").count() == 2


def test_what_is_said_so_far_is_on_the_page_and_over_rest(
    stage: Stage, api_for: ApiFor, client: Client, versions: list[PromptVersion]
):
    watches.begin()
    client.force_login(stage.vera.user)

    listed = api_for(stage.vera).get("/api/v1/prompts/support.triage/watches").json()
    page = client.get(f"/p/{stage.project.slug}/prompts/support.triage/live/").content.decode()

    assert [(watch["version"], watch["ended_at"]) for watch in listed] == [(2, None), (1, None)]
    assert "worse: format adherence" in listed[0]["sentence"]
    assert listed[0]["sentence"] in page


def test_a_first_release_has_nothing_to_be_set_against(stage: Stage):
    version = stage.commit(stage.prompt(), "Sort it.")
    stage.release(version)
    called(version, 50)

    assert "no other version before it" in watches.look(Release.objects.get()).sentence


def test_a_few_calls_before_are_no_reference(stage: Stage):
    first = stage.commit(stage.prompt(), "Sort it.")
    stage.release(first)
    called(first, 5, ago=timedelta(minutes=5))
    second = stage.commit(first.prompt, "Sort it well.")
    stage.release(second)
    called(second, 50)

    assert "v1 before it had 5, too few" in watches.look(Release.objects.latest("pk")).sentence
    assert ReleaseWatch.objects.count() == 0
