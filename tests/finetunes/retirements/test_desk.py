"""The retirement desk: what is on models that end, in which order, and the way to their successors."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from core.errors import Problem
from evaluations.comparisons import gates, sweeps
from evaluations.comparisons import lifecycle as comparisons
from evaluations.models import Dataset, ProviderModel, Run
from evaluations.providers import configuration as providers
from evaluations.providers import profiles
from evaluations.runs import lifecycle as runs
from finetunes.retirements import desk
from inference.configs import lifecycle as configs
from inference.models import UsageRollup
from registry.models import PromptVersion, Release
from registry.prompts import drafts, versions
from registry.prompts import lifecycle as prompts
from tests.conftest import ApiFor, Stage
from tests.evaluations.conftest import make_run, routing
from tests.evaluations.runs.test_pages import client_of, finish, text
from tests.finetunes.strategy.test_recommendations import of_day, some_usage
from tests.sandbox import Running

ENDS = "2027-01-14"


@pytest.fixture
def ending(stage: Stage, base: ProviderModel, sandbox: Running) -> ProviderModel:
    """The sandbox's model, which ends like gpt-4o-mini and is followed by another one there."""
    providers.add_model(stage.ada, base.provider, "sandbox-large")
    return profiles.correct(stage.ada, base, {"shutdown_date": ENDS, "successor": "sandbox-large"})


def live(stage: Stage, name: str, model: str, environment: str = "production") -> PromptVersion:
    version = stage.commit(stage.prompt(name), "Sort it.", model={"name": model})
    stage.release(version, environment)
    return version


def called(version: PromptVersion, calls: int) -> None:
    usage = {**some_usage(), "calls": calls}
    UsageRollup.objects.create(**of_day(version, 1), is_simulation=False, usage=usage)


def test_everything_on_a_model_that_ends_is_listed_the_soonest_and_busiest_first(
    stage: Stage, ending: ProviderModel, tickets: Dataset, version: PromptVersion
):
    quiet, busy = live(stage, "a.quiet", "sandbox-small"), live(stage, "b.busy", "sandbox-small")
    called(quiet, 5)
    called(busy, 900)
    live(stage, "c.sooner", "gpt-5-mini", "staging")
    live(stage, "d.stays", "gpt-6-luna")
    _, config = configs.commit(stage.edith, "triage", {"strategy": "prompt", "model": "gpt-4o", "prompt": "a.quiet@1"})
    stage.release(config.version, "staging")
    assert tickets.head
    rules = {"dataset_version": tickets.head, "model": ending, "scorers": ["label"], "min_quality": 0.5}
    gates.create(stage.ada, stage.environment("production"), name="good-enough", **rules)
    run = make_run(stage, version, tickets, ending)

    listed = desk.retirements(stage.project)

    assert [each.model for each in listed] == ["gpt-5-mini", "sandbox-small", "gpt-4o"]
    own = listed[1]
    assert (str(own.ends), own.successor, own.offers) == (ENDS, "sandbox-large", ["sandbox/sandbox-large"])
    assert [(use.kind, use.title, use.calls) for use in own.uses] == [
        ("live", "b.busy@1", 900),
        ("live", "a.quiet@1", 5),
        ("gate", "good-enough", 0),
        ("run", f"run {run.pk}", 0),
    ]
    assert [(use.kind, use.title, use.environment) for use in listed[2].uses] == [("config", "triage", "staging")]
    assert (listed[0].successor, listed[0].offers) == ("gpt-5.6-terra", [])


def test_what_cannot_be_read_or_lives_on_ones_own_server_does_not_spoil_the_list(
    stage: Stage, ending: ProviderModel, settings: Any
):
    live(stage, "a.quiet", "sandbox-small")
    _, config = configs.commit(stage.edith, "triage", {"strategy": "prompt", "model": "gpt-4o", "prompt": "a.quiet@1"})
    first = stage.release(config.version, "staging")
    broken = versions.commit(
        stage.edith, config.version.prompt, content={"kind": "text", "text": "not a record"}, message="by hand"
    ).version
    origin = {"kind": "rollback", "restores": first, "by_name": "x"}
    Release.objects.create(environment=first.environment, prompt=broken.prompt, version=broken, number=2, **origin)
    settings.PROVIDER_PRIVATE_HOSTS = ["127.0.0.1"]
    own = providers.create(stage.ada, name="own", base_url="http://127.0.0.1:9/v1")
    providers.add_model(stage.ada, own, "gpt-4o-mini")
    live(stage, "b.own", "gpt-4o-mini")

    assert [each.model for each in desk.retirements(stage.project)] == ["sandbox-small"]


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("sandbox-small", ["sandbox-small"]),
        ("sandbox/sandbox-small", ["sandbox-small"]),
        ("sandbox/gpt-4o", ["gpt-4o"]),
        ("gpt-4o", ["gpt-4o"]),
        # Another provider's, whose end nobody has announced.
        ("gpt-4o/gpt-4o", []),
    ],
)
def test_a_config_names_a_model_or_a_providers_model(
    stage: Stage, ending: ProviderModel, reference: str, expected: list[str]
):
    live(stage, "a.quiet", "gpt-6-luna")
    record = {"strategy": "prompt", "model": reference, "prompt": "a.quiet@1"}
    stage.release(configs.commit(stage.edith, "triage", record)[1].version, "staging")

    assert [each.model for each in desk.retirements(stage.project)] == expected


def test_a_judge_that_ends_is_listed_with_what_it_judges(
    stage: Stage, ending: ProviderModel, tickets: Dataset, version: PromptVersion
):
    rubric = live(stage, "judges.tone", "sandbox-large")
    judge = {"prompt": str(rubric), "model": str(ending)}
    asked_model = ProviderModel.objects.get(name="sandbox-large")
    run = make_run(stage, version, tickets, asked_model, scorers=["label", {"scorer": "judge", "parameters": judge}])

    (listed,) = desk.retirements(stage.project)

    uses = [(use.kind, use.title) for use in listed.uses]
    assert (listed.model, uses) == ("sandbox-small", [("run", f"run {run.pk}, as its judge")])


def test_many_prompts_take_no_more_queries(stage: Stage, ending: ProviderModel):
    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            desk.retirements(stage.project)
        return len(captured)

    live(stage, "a.first", "sandbox-small")
    few = queries()
    for number in range(5):
        live(stage, f"b.number-{number}", "sandbox-small")
    assert queries() == few


def test_over_rest_and_on_its_page(stage: Stage, ending: ProviderModel, api_for: ApiFor):
    live(stage, "a.quiet", "sandbox-small")

    document: dict[str, Any] = api_for(stage.vera).get("/api/v1/retirements").json()["results"][0]

    assert (document["model"], document["ends"], document["successor"]) == ("sandbox-small", ENDS, "sandbox-large")
    assert document["uses"] == [
        {
            **{"kind": "live", "title": "a.quiet@1", "environment": "production", "calls": 0},
            "page": "/p/paper/prompts/a.quiet/versions/1/",
        }
    ]
    page = text(client_of(stage.vera).get("/p/paper/strategy/retirements/"))
    assert "followed by <b>sandbox-large</b>" in page
    assert "Try the successor" not in page


def test_the_successor_is_tried_on_the_usual_cases_and_the_winner_opens_a_draft(
    stage: Stage, ending: ProviderModel, tickets: Dataset
):
    version = stage.commit(stage.prompt("support.route"), "x")
    prompts_version = _routed(stage, version)
    finish(make_run(stage, prompts_version, tickets, ending, scorers=["label"], split="test").pk)
    edith = client_of(stage.edith)

    page = text(edith.get("/p/paper/strategy/retirements/"))

    address = page.split('class="btn small" href="')[1].split('"')[0].replace("&amp;", "&")
    query = parse_qs(urlsplit(address).query)
    assert query["models"] == ["sandbox/sandbox-small", "sandbox/sandbox-large"]
    assert (query["dataset"], query["scorers"], query["split"]) == (["support.tickets"], ["label"], ["test"])
    form = text(edith.get(address))
    assert form.count("checked") == 3
    started = edith.post(
        "/p/paper/new-sweep/", {**query, "do": "start", "repetitions": "1", "leaked": "mark", "margin": "0.02"}
    )
    assert started.status_code == 302, text(started)
    for run in Run.objects.filter(sweep__isnull=False):
        finish(run.pk)
    sweep = comparisons.get_comparison(stage.project, Run.objects.filter(sweep__isnull=False)[0].sweep_id)
    large = Run.objects.get(sweep=sweep, model__name="sandbox-large")

    opened = edith.post(f"/p/paper/comparisons/{sweep.pk}/draft/", {"run": large.pk})

    assert opened["Location"] == "/p/paper/prompts/support.route/edit/"
    draft = drafts.get_draft(stage.edith, prompts_version.prompt)
    assert draft
    assert draft.document["model"] == {**prompts_version.content["model"], "name": "sandbox-large"}
    assert draft.document["messages"] == prompts_version.content["messages"]
    with pytest.raises(Problem, match="You have a draft"):
        sweeps.open_draft(stage.edith, sweep, runs.get_run(stage.project, large.pk))
    with pytest.raises(Problem, match="may not"):
        sweeps.open_draft(stage.vera, sweep, large)


def _routed(stage: Stage, first: PromptVersion) -> PromptVersion:
    """The prompt's version that asks the model which ends, live in production."""
    content = {**routing(), "model": {"name": "sandbox-small", "temperature": 0}}
    version = versions.commit(stage.edith, first.prompt, content=content, message="route").version
    stage.release(version)
    return prompts.get_prompt(stage.project, "support.route").versions.select_related("prompt").get(pk=version.pk)


def test_a_successor_that_reasons_is_tried_without_reasoning(stage: Stage, ending: ProviderModel, tickets: Dataset):
    large = ProviderModel.objects.get(name="sandbox-large")
    profiles.correct(stage.ada, large, {"is_like": "gpt-6-luna"})
    version = _routed(stage, stage.commit(stage.prompt("support.route"), "x"))
    finish(make_run(stage, version, tickets, ending, scorers=["label"], split="test").pk)

    (use,) = desk.retirements(stage.project)[0].uses

    assert use.sweep
    assert use.sweep["effort"] == "none"
