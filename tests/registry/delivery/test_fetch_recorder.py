"""Fetches and uses of keys, counted in memory and written in batches."""

from datetime import timedelta

import pytest
from django.utils import timezone

from registry.accounts import api_keys
from registry.accounts.permissions import actor_for_command_line
from registry.delivery import fetch_stats
from registry.models import APIKey, FetchCount, Prompt
from tests.conftest import Stage
from tests.registry.delivery.door import FETCH, Door

pytestmark = pytest.mark.usefixtures("one_connection")


@pytest.mark.django_db(transaction=True)
def test_fetches_are_counted_in_batches_and_unused_prompts_are_known(live_stage: Stage):
    stage = live_stage
    prompt = stage.prompt()
    version = stage.commit(prompt, "one")
    stage.release(version)
    _, token = api_keys.issue(actor_for_command_line(stage.project), name="service", scopes=["read"])
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
    door.recorder.write()
    door.fetched.append((0, (version.pk, -1)))
    door.recorder.write()
    used = APIKey.objects.get(name="service").last_used_at
    assert used is not None, "a key that reads from memory is in use"
    assert timezone.now() - used < timedelta(minutes=1)
    (fetches,) = fetch_stats.fetches_by_version(prompt)
    assert (fetches.hour, fetches.day, fetches.month) == (7, 7, 7)
    assert fetches.last_at is not None
    assert [unused.name for unused in fetch_stats.unused_prompts(Prompt.objects.all(), 30)] == ["never.fetched"]
    FetchCount.objects.update(last_at=timezone.now() - timedelta(days=31), hour=timezone.now() - timedelta(days=500))
    assert fetch_stats.unused_prompts(Prompt.objects.all(), 30).count() == 2
    assert fetch_stats.clear_old() == 1
