"""What a project's models take: preflight of runs and playground, corrections, and what was learned from a refusal."""

import re
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from core.errors import Problem
from evaluations.models import Dataset, Provider, ProviderModel, Run
from evaluations.playground import lifecycle as playground
from evaluations.playground.lifecycle import Input, PlaygroundSettings
from evaluations.providers import configuration as providers
from evaluations.providers import profiles
from evaluations.providers.chat import CallError, Remedy
from evaluations.providers.connection_test import check_connection
from evaluations.providers.protocols import protocol_names
from evaluations.runs import lifecycle as runs
from registry.models import AuditEntry, PromptVersion
from registry.promotions import workflow
from registry.prompts.inspection import inspect
from tests.conftest import ApiFor, Stage
from tests.evaluations.conftest import make_run
from tests.evaluations.playground.test_playground import work
from tests.evaluations.providers.strict_wires import strict_server
from tests.evaluations.runs.test_pages import client_of, finish, text
from tests.http_server import serve

PAGE = "/p/paper/settings/providers/openai/model/?model=gpt-6-luna"


@pytest.fixture
def luna(stage: Stage) -> ProviderModel:
    """A current model at its maker's address, which no test calls."""
    provider = providers.create(stage.ada, name="openai", preset="openai", key="sk-x")
    return providers.add_model(stage.ada, provider, "gpt-6-luna")


def committed(stage: Stage, **model: Any) -> PromptVersion:
    return stage.commit(stage.prompt("support.cold"), "Sort {{ ticket }}.", model=model)


def test_a_run_of_what_the_model_refuses_is_refused_before_it_costs_anything(
    stage: Stage, tickets: Dataset, luna: ProviderModel
):
    version = committed(stage, temperature=0)
    providers.set_price(stage.ada, luna, {"input": "1", "output": "4"})

    with pytest.raises(Problem) as refused:
        make_run(stage, version, tickets, luna)

    assert refused.value.code == "model.refuses"
    assert refused.value.detail.startswith("gpt-6-luna takes no temperature; leave it out, or set reasoning.effort")
    assert [fault.pointer for fault in refused.value.faults] == ["/content/model/temperature"]
    assert not Run.objects.exists()
    # The run's own settings count like the version's.
    assert make_run(stage, version, tickets, luna, parameters={"reasoning": {"effort": "none"}})
    with pytest.raises(Problem, match="has no seed"):
        make_run(stage, version, tickets, luna, parameters={"reasoning": {"effort": "none"}, "seed": 7})


def test_the_playground_refuses_the_same(stage: Stage, luna: ProviderModel):
    version = committed(stage, temperature=0)
    with pytest.raises(Problem, match="takes no temperature"):
        playground.start(stage.edith, version.prompt, PlaygroundSettings(version, [Input({"ticket": "x"})], [luna]))


@pytest.mark.parametrize("protocol", protocol_names())
def test_a_version_without_anything_odd_is_taken_over_every_protocol(stage: Stage, tickets: Dataset, protocol: str):
    addresses = {
        "anthropic_messages": "https://api.anthropic.com/v1",
        "gemini": "https://generativelanguage.googleapis.com/v1beta",
    }
    provider = providers.create(
        stage.ada, name="any", base_url=addresses.get(protocol, "https://api.openai.com/v1"), protocol=protocol, key="k"
    )
    model = providers.add_model(stage.ada, provider, "any-model")
    version = stage.commit(stage.prompt("support.cold"), "Sort {{ ticket }}.")

    assert make_run(stage, version, tickets, model)
    playground.start(stage.edith, version.prompt, PlaygroundSettings(version, [Input({"ticket": "x"})], [model]))


def test_people_correct_what_is_known(stage: Stage, tickets: Dataset, luna: ProviderModel):
    version = committed(stage, temperature=0)

    corrected = profiles.correct(
        stage.ada, luna, {"sampling": "always", "efforts": None, "shutdown_date": "2027-05-01"}
    )

    assert profiles.end_of(corrected) == date(2027, 5, 1)
    assert make_run(stage, version, tickets, corrected)
    entry = AuditEntry.objects.filter(action="model.corrected").get()
    assert entry.after == {"sampling": "always", "shutdown_date": "2027-05-01"}
    with pytest.raises(Problem, match="Must be one of"):
        profiles.correct(stage.ada, luna, {"sampling": "sometimes"})
    with pytest.raises(Problem, match="Nothing is published of no-such-model"):
        profiles.correct(stage.ada, luna, {"is_like": "no-such-model"})
    with pytest.raises(Problem, match="names of settings"):
        profiles.correct(stage.ada, luna, {"refuses": ["top_p;"]})
    with pytest.raises(Problem, match="as versions write them"):
        profiles.correct(stage.ada, luna, {"refuses": ["maxOutputTokens"]})
    with pytest.raises(Problem, match="from 1 to 2,147,483,647"):
        profiles.correct(stage.ada, luna, {"max_output_tokens": 2**31})
    with pytest.raises(Problem, match="not a fact"):
        profiles.correct(stage.ada, luna, {"colour": "red"})
    with pytest.raises(Problem, match="may not administer"):
        profiles.correct(stage.edith, luna, {})


def test_a_server_of_ones_own_has_no_facts_until_somebody_says_which_model_it_is(stage: Stage, settings: Any):
    settings.PROVIDER_PRIVATE_HOSTS = ["127.0.0.1"]
    provider = providers.create(stage.ada, name="own", base_url="http://127.0.0.1:9/v1")
    model = providers.add_model(stage.ada, provider, "gpt-6-luna")
    cold = {"model": {"temperature": 0}, "messages": []}
    assert profiles.refusals_of(model, cold) == []

    model = profiles.correct(stage.ada, model, {"is_like": "claude-sonnet-5-5"})

    assert [refusal.setting for refusal in profiles.refusals_of(model, cold)] == ["temperature"]


def test_the_editor_knows_what_people_said_of_the_projects_model(stage: Stage, luna: ProviderModel):
    prompt = stage.prompt("support.cold")
    document = {"messages": [{"role": "user", "content": "x"}], "model": {"name": "gpt-6-luna", "seed": 7}}
    assert not [each for each in inspect(stage.project, prompt, document, {}).findings if each.code == "model.refuses"]

    profiles.correct(stage.ada, luna, {"refuses": ["seed"]})

    found_hints = [each.message for each in inspect(stage.project, prompt, document, {}).findings]
    assert "gpt-6-luna refuses seed; leave it out." in found_hints


def test_of_several_models_of_a_name_the_one_that_people_know_counts(stage: Stage, settings: Any):
    settings.PROVIDER_PRIVATE_HOSTS = ["127.0.0.1"]
    first, second = [
        providers.add_model(stage.ada, providers.create(stage.ada, name=name, base_url="http://127.0.0.1:9/v1"), "mine")
        for name in ("a", "b")
    ]
    second = profiles.correct(stage.ada, second, {"is_like": "claude-sonnet-5-5"})

    for name in ("mine", "b/mine"):
        profile = profiles.profile_in_project(stage.project, name)
        assert profile
        assert profile.sampling == profiles.profile_of(second).sampling != profiles.profile_of(first).sampling


def test_a_day_that_people_entered_comes_before_the_providers_list(stage: Stage, luna: ProviderModel):
    ProviderModel.objects.filter(pk=luna.pk).update(shutdown_date="2026-01-01")
    luna.refresh_from_db()
    with pytest.raises(Problem, match="was shut down"):
        providers.require_usable(luna)

    corrected = profiles.correct(stage.ada, luna, {"shutdown_date": "2027-05-01"})

    providers.require_usable(corrected)


def test_a_model_that_was_shut_down_by_what_is_published_is_refused(stage: Stage, luna: ProviderModel):
    ended = providers.add_model(stage.ada, luna.provider, "gpt-3.5-turbo")
    with pytest.raises(Problem) as refused:
        providers.require_usable(ended)
    assert (refused.value.code, refused.value.members["shutdown_date"]) == ("model.shut_down", "2026-10-23")


@pytest.fixture
def strict(stage: Stage, settings: Any) -> Iterator[Provider]:
    """A server that refuses what current models refuse, at an address of which nothing is published."""
    settings.PROVIDER_PRIVATE_HOSTS = ["127.0.0.1"]
    with serve(strict_server()) as port:
        yield providers.create(
            stage.ada, name="strict", base_url=f"http://127.0.0.1:{port}/v1", key="right", preset="openai"
        )


def test_a_refused_setting_ends_the_run_and_is_told_once(
    stage: Stage, tickets: Dataset, strict: Provider, api_for: ApiFor
):
    model = providers.add_model(stage.ada, strict, "gpt-6-luna")
    version = committed(stage, temperature=0)

    run = make_run(stage, version, tickets, model)
    finish(run.pk)

    run = runs.get_run(stage.project, run.pk)
    assert run.state == "failed"
    assert "'temperature' does not support this value" in run.error
    model.refresh_from_db()
    assert list(model.refused_settings) == ["temperature"]
    page = client_of(stage.ada).get("/p/paper/settings/providers/strict/model/?model=gpt-6-luna")
    assert "The model never takes it" in text(page)

    body = {"model": "gpt-6-luna", "setting": "temperature", "is_confirmed": True}
    settled = api_for(stage.ada).post("/api/v1/providers/strict/refusals", body)

    assert (settled.json()["refused_settings"], settled.json()["profile"]["refuses"]) == ({}, ["temperature"])
    with pytest.raises(Problem, match="gpt-6-luna refuses temperature; leave it out"):
        make_run(stage, version, tickets, ProviderModel.objects.get(pk=model.pk))
    assert api_for(stage.ada).post("/api/v1/providers/strict/refusals", body).status_code == 404
    profiles.note_refusal(model, CallError("call.setting_refused", "again", Remedy.CONFIGURE, setting="temperature"))
    model.refresh_from_db()
    assert model.refused_settings == {}


@pytest.mark.django_db(transaction=True)
def test_the_playground_learns_what_is_refused_as_well(stage: Stage, strict: Provider):
    model = providers.add_model(stage.ada, strict, "gpt-6-luna")
    version = committed(stage, temperature=0)
    settings = PlaygroundSettings(version, [Input({"ticket": "x"})], [model])

    started = playground.start(stage.edith, version.prompt, settings)
    work(started.pk)

    assert started.answers.get().error == "call.setting_refused"
    model.refresh_from_db()
    assert list(model.refused_settings) == ["temperature"]


def test_a_refusal_that_was_about_something_else_is_forgotten(stage: Stage, luna: ProviderModel):
    profiles.note_refusal(luna, CallError("call.setting_refused", "no", Remedy.CONFIGURE, setting="seed"))

    ada = client_of(stage.ada)
    ada.post(
        "/p/paper/settings/providers/openai/refusals/", {"model": "gpt-6-luna", "setting": "seed", "is_confirmed": "0"}
    )

    luna.refresh_from_db()
    assert (luna.refused_settings, luna.corrections) == ({}, {})


def test_a_test_tells_what_a_model_does_with_each_thing(stage: Stage, strict: Provider):
    providers.add_model(stage.ada, strict, "gpt-6-luna")

    tested = check_connection(strict, "gpt-6-luna")

    checks = {check["name"]: (check["passed"], check["detail"]) for check in tested.test_checks}
    assert tested.test_passed
    assert list(checks) == ["reached", "listed", "asked", "usage told", "streamed", "structured output", "tools"]
    assert checks["usage told"] == (True, "100 tokens in, 50 out")
    assert checks["streamed"][1].startswith("2 pieces")
    # The server answers "billing" to everything, which keeps no schema and calls no tool.
    assert checks["structured output"] == (False, "It took the schema and answered no JSON: 'billing'")
    assert checks["tools"][0] is False


def test_a_page_says_where_a_test_contradicts_the_settings(stage: Stage, strict: Provider):
    providers.add_model(stage.ada, strict, "gpt-6-luna")
    check_connection(strict, "gpt-6-luna")
    address, sentence = "/p/paper/settings/providers/strict/", "The settings say that it can"

    assert text(client_of(stage.ada).get(address)).count(sentence) == 2
    providers.change(stage.ada, strict, capabilities=["chat", "tools"])
    assert text(client_of(stage.ada).get(address)).count(sentence) == 1


def test_a_model_with_a_typing_error_is_archived_and_can_come_back(
    stage: Stage, tickets: Dataset, luna: ProviderModel, api_for: ApiFor
):
    version = committed(stage)
    ada, api = client_of(stage.ada), api_for(stage.ada)
    provider_page = "/p/paper/settings/providers/openai/"
    assert "gpt-6-luna is there already" in text(
        ada.post(f"{provider_page}models/", {"name": " gpt-6-luna"}, follow=True)
    )

    archived = ada.post(f"{provider_page}model/archive/", {"model": "gpt-6-luna", "do": "archive"}, follow=True)

    assert "archived: nothing offers it any more" in text(archived)
    assert ">archived<" in text(archived)
    assert "openai/gpt-6-luna" not in text(client_of(stage.edith).get("/p/paper/new-evaluation/"))
    with pytest.raises(Problem) as refused:
        make_run(stage, version, tickets, ProviderModel.objects.get(pk=luna.pk))
    assert refused.value.code == "model.archived"
    restored = api.post("/api/v1/providers/openai/models/archive", {"model": "gpt-6-luna", "is_archived": False})
    assert restored.json()["archived"] is False
    assert make_run(stage, version, tickets, ProviderModel.objects.get(pk=luna.pk))
    call_command("provider", "archive-model", "openai", project="paper", model="gpt-6-luna", verbosity=0)
    assert api.post("/api/v1/providers/openai/models", {"name": "gpt-6-luna"}).json()["archived"] is False
    assert list(
        AuditEntry.objects.filter(action__startswith="model.").order_by("id").values_list("action", flat=True)
    ) == [*("model.added", "model.archived", "model.restored", "model.archived", "model.restored")]
    body = {"model": "gpt-6-luna"}
    assert api_for(stage.edith).post("/api/v1/providers/openai/models/archive", body).status_code == 403


def test_a_promotion_says_what_its_model_refuses_and_that_it_ends(stage: Stage, luna: ProviderModel):
    profiles.correct(stage.ada, luna, {"shutdown_date": "2030-05-01", "successor": "gpt-7"})
    version = stage.commit(
        stage.prompt("support.cold"), "Sort {{ ticket }}.", model={"name": "gpt-6-luna", "temperature": 0}
    )
    promotion = workflow.request(stage.edith, version.prompt, version, stage.environment("production"))

    review = text(client_of(stage.rhea).get(f"/p/paper/promotions/{promotion.pk}/"))

    assert "gpt-6-luna is shut down on 2030-05-01. Its maker names gpt-7 as its successor." in review
    assert "gpt-6-luna takes no temperature" in review


def test_a_provider_starts_from_a_preset(stage: Stage, api_for: ApiFor):
    ada: Client = client_of(stage.ada)
    page = text(ada.get("/p/paper/settings/providers/?preset=anthropic"))
    assert 'value="https://api.anthropic.com/v1"' in page
    assert "Newer models take no temperature." in page
    azure = ada.post(
        "/p/paper/settings/providers/?preset=azure",
        {"name": "azure", "base_url": "https://{resource}.openai.azure.com/openai/v1", "key": "k"},
    )
    assert azure.status_code == 400
    assert "Fill in what stands in braces" in text(azure)

    created = api_for(stage.ada).post("/api/v1/providers", {"name": "claude", "preset": "anthropic", "key": "k"})

    assert created.status_code == 201, created.json()
    assert (created.json()["base_url"], created.json()["protocol"]) == (
        "https://api.anthropic.com/v1",
        "anthropic_messages",
    )
    wrong = api_for(stage.ada).post("/api/v1/providers", {"name": "x", "preset": "nobody"})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (400, "/preset")
    changed = api_for(stage.ada).patch("/api/v1/providers/claude", {"protocol": "openai_chat"})
    assert changed.json()["protocol"] == "openai_chat"
    assert api_for(stage.ada).patch("/api/v1/providers/claude", {"protocol": "telex"}).status_code == 400


def test_the_models_page_shows_its_facts_and_takes_corrections(stage: Stage, luna: ProviderModel):
    ada, vera = client_of(stage.ada), client_of(stage.vera)
    page = text(ada.get(PAGE))
    assert "128,000 tokens" in page
    assert "It takes them while it does not reason" in page
    assert "Corrections" not in text(vera.get(PAGE))
    form = {"max_output_tokens": "many", "efforts": ["low"], "supports_images": "0", "refuses": "seed logit_bias"}
    refused_page = text(ada.post(PAGE, form))
    assert "Must be a whole number of tokens, from 1 to" in refused_page
    # The form has what was typed and chosen.
    assert 'value="many"' in refused_page
    assert re.search(r'name="supports_images".*?value="0"\s+selected', refused_page, re.DOTALL)

    ada.post(PAGE, {**form, "max_output_tokens": "4096"})

    luna.refresh_from_db()
    assert luna.corrections == {
        **{"max_output_tokens": 4096, "efforts": ["low"], "supports_images": False},
        "refuses": ["seed", "logit_bias"],
    }
    page = text(ada.get(PAGE))
    assert page.count(">corrected<") == 4
    assert vera.post(PAGE, form).status_code == 403
