"""A change counts at once: releases, keys, owners, providers and models."""

import time
from typing import Any

import psycopg
import pytest

from core.errors import Problem
from evaluations.models import Provider, ProviderModel
from evaluations.providers import configuration as providers
from registry.accounts import api_keys, permissions
from registry.models import APIKey, Membership, Role
from registry.prompts import versions
from tests.conftest import Stage
from tests.evaluations.conftest import make_model, routing
from tests.inference.gateway.conftest import TICKET, GatewayProcess, code_of, database_url, recorded, until


def test_a_release_is_what_the_next_call_gets(live_stage: Stage, live: Any, gateway: GatewayProcess):
    def ask() -> str:
        answer = gateway.client.chat.completions.with_raw_response.create(
            model="prompt:support.route", messages=[{"role": "user", "content": TICKET}]
        )
        return answer.headers["X-Cuebook-Version"]

    assert ask() == "support.route@1"
    second = versions.commit(
        live_stage.edith, live.prompt, content=routing(model={"name": "sandbox-small", "temperature": 0.5}), message=""
    ).version
    live_stage.release(second)

    deadline = time.monotonic() + 10
    while ask() != "support.route@2":
        assert time.monotonic() < deadline


def test_a_key_has_its_own_environment(live_stage: Stage, live: Any, gateway: GatewayProcess):
    actor = permissions.actor_for_command_line(live_stage.project)
    with pytest.raises(Problem, match="no environment"):
        api_keys.issue(actor, name="x", scopes=["infer"], environment="nowhere")
    _, token = api_keys.issue(actor, name="staging", scopes=["infer"], environment="staging")
    client = gateway.client_of(token)

    def version_of(model: str) -> str:
        answer = client.chat.completions.with_raw_response.create(
            model=model, messages=[{"role": "user", "content": TICKET}]
        )
        return answer.headers["X-Cuebook-Version"]

    assert version_of("prompt:support.route@production") == "support.route@1"
    assert code_of(lambda: version_of("prompt:support.route")) == "prompt.unknown_selector"
    second = versions.commit(
        live_stage.edith, live.prompt, content=routing(model={"name": "sandbox-small", "temperature": 0.5}), message=""
    ).version
    live_stage.release(second, "staging")
    assert version_of("prompt:support.route") == second.prompt.name + f"@{second.number}"
    assert {call.environment for call in recorded(2)} == {"production", "staging"}


def test_a_revoked_key_is_refused_at_once(live_stage: Stage, live: Any, gateway: GatewayProcess, token: str):
    gateway.client.models.list()
    actor = permissions.actor_for_command_line(live_stage.project)
    api_keys.revoke(actor, APIKey.objects.get(key_id=token.split("_")[1]))

    assert until(lambda: code_of(gateway.client.models.list), "auth.invalid_key")


def test_what_the_admin_changes_of_a_provider_counts_at_once(
    live_stage: Stage, live: Any, gateway: GatewayProcess, token: str
):
    def ask() -> str:
        question: Any = {"model": "prompt:support.route", "messages": [{"role": "user", "content": TICKET}]}
        return code_of(lambda: gateway.client.chat.completions.create(**question))

    assert ask() == ""
    model = ProviderModel.objects.get(name="sandbox-small")
    providers.archive_model(live_stage.ada, model)
    assert until(ask, "gateway.no_model")
    providers.restore_model(live_stage.ada, model)
    assert until(ask, "")
    providers.archive(live_stage.ada, model.provider)
    assert until(ask, "gateway.no_model")


def test_a_keys_owner_gives_it_no_more_than_they_have(live_stage: Stage, live: Any, gateway: GatewayProcess):
    actor = permissions.actor_for_command_line(live_stage.project)
    _, owned = api_keys.issue(actor, name="ediths", scopes=["infer"], owner=live_stage.edith.user)
    client = gateway.client_of(owned)
    client.models.list()

    Membership.objects.filter(user=live_stage.edith.user).update(role=Role.VIEWER)

    assert until(lambda: code_of(client.models.list), "access.denied")


@pytest.mark.parametrize(
    ("model", "change"),
    [(APIKey, {"environment": "staging"}), (Provider, {"max_concurrency": 3})],
    ids=["key", "provider"],
)
def test_the_service_hears_of_what_it_keeps(
    live_stage: Stage, token: str, model: type[APIKey] | type[Provider], change: dict[str, Any]
):
    make_model(live_stage)
    with psycopg.connect(database_url(), autocommit=True) as listening:
        listening.execute("LISTEN cuebook_delivery")
        assert model.objects.update(**change)

        (heard,) = {notice.payload for notice in listening.notifies(timeout=10, stop_after=1)}
    assert str(live_stage.project.pk) in heard
