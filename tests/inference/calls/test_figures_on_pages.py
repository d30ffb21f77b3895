"""A figure of live calls is the same on their page, on the prompt's page, and over REST."""

from datetime import timedelta

from django.test import Client
from django.utils import timezone

from evaluations.templatetags.evaluations_text import amount
from inference.calls import log as call_log
from registry.accounts import permissions
from registry.templatetags.registry_text import dollars
from tests.conftest import ApiFor, Stage
from tests.figures import differing, figures_of_pages
from tests.inference.calls.test_log import call

NAMES = {"number", "median", "p99", "format", "1,000 calls"}


def test_every_figure_of_live_calls_is_the_same_on_all_pages(stage: Stage, api_for: ApiFor, client: Client):
    stage.release(stage.commit(stage.prompt(), "Sort it."))
    service = permissions.actor_for_command_line(stage.project)
    call_log.record(service, [call(number, cost_usd=0.001 + number / 1e5) for number in range(70)])
    earlier = timezone.now() - timedelta(hours=26)
    call_log.record(service, [call(number, at=earlier, latency_ms=900 + number) for number in range(70, 90)])
    assert stage.edith.user
    client.force_login(stage.edith.user)

    shown_on = figures_of_pages(client, ["prompts/support.triage/live/", "prompts/support.triage/usage/panel/"])
    total = api_for(stage.edith).get("/api/v1/prompts/support.triage/live").json()["total"]
    for name, word in {
        "number": str(total["calls"]),
        "median": amount(total["latency_ms"]["p50"]["value"], "ms").split()[0],
        "p99": amount(total["latency_ms"]["p99"]["value"], "ms").split()[0],
        "format": amount(total["format_adherence"]["value"]),
        "1,000 calls": dollars(1_000 * total["cost_per_call_usd"]),
    }.items():
        shown_on[f"calls {name}"]["REST"] = {word}

    assert {f"calls {name}" for name in NAMES} == {name for name, places in shown_on.items() if len(places) == 3}
    assert differing(shown_on) == {}
