"""`manage.py provider`, and what a provider does not offer."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from core.errors import Problem
from evaluations.models import Capability, Provider, ProviderModel
from evaluations.providers import configuration as providers
from infra import encryption
from tests.conftest import Stage
from tests.http_server import Handler, serve


class Answering(Handler):
    def get(self) -> None:
        self.answer({"data": [{"id": "m-1"}]})

    def post(self) -> None:
        self.answer({"model": "m-1", "choices": [{"finish_reason": "stop", "message": {"content": "Hello"}}]})


def command(*arguments: str) -> str:
    output = StringIO()
    call_command("provider", *arguments, project="paper", stdout=output)
    return output.getvalue()


def test_a_provider_is_set_up_from_the_command_line(stage: Stage, settings: Any, monkeypatch: pytest.MonkeyPatch):
    settings.PROVIDER_PRIVATE_HOSTS = ["127.0.0.1"]
    monkeypatch.setenv("OWN_KEY", "a-key-of-many-letters")
    with serve(Answering) as port:
        address = f"http://127.0.0.1:{port}/v1"
        command("create", "own", "--base-url", address, "--key-env", "OWN_KEY", "--concurrency", "4")
        provider = Provider.objects.get(name="own")
        assert (provider.base_url, provider.max_concurrency) == (address, 4)
        assert encryption.decrypt(provider.encrypted_key) == "a-key-of-many-letters"

        command("change", "own", "--timeout", "7", "--capabilities", "chat,tools")
        provider.refresh_from_db()
        assert (provider.timeout_seconds, provider.capabilities) == (7, ["chat", "tools"])
        assert encryption.decrypt(provider.encrypted_key) == "a-key-of-many-letters"

        assert "m-1 answered" in command("test", "own", "--model", "m-1")
    command("model", "own", "--model", "m-2", "--input", "1.5", "--output", "6")
    price = providers.price_of(ProviderModel.objects.get(name="m-2"))
    assert price is not None
    assert (price.input, price.cached_input, price.output) == (1.5, 1.5, 6)
    assert "own" in command("list")
    command("archive", "own")
    assert "archived" in command("list")
    with pytest.raises(SystemExit):
        command("test", "own")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("create", "own", "--base-url", "http://10.0.0.1/v1"), "Must start with https://"),
        (("create", "own", "--base-url", "https://api.example/v1", "--key-env", "NOT_SET"), "NOT_SET is not set"),
        (("create", "own", "--base-url", "https://api.example/v1", "--capabilities", "magic"), "Must be of"),
        (("change", "nobody"), "There is no provider"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(stage: Stage, arguments: tuple[str, ...], sentence: str):
    with pytest.raises(CommandError, match=sentence):
        command(*arguments)

    assert not Provider.objects.exists()


@pytest.mark.parametrize(
    ("content", "missing"),
    [
        ({"messages": []}, None),
        ({"response": {"format": "json_object"}}, None),
        ({"response": {"format": "json_schema", "schema": {}}}, Capability.JSON_SCHEMA),
        ({"tools": [{"type": "function"}]}, Capability.TOOLS),
    ],
)
def test_what_a_provider_does_not_offer_is_refused(stage: Stage, content: dict[str, Any], missing: Capability | None):
    provider = providers.create(stage.ada, name="plain", base_url="https://api.example/v1")
    model = providers.add_model(stage.ada, provider, "m")
    providers.require_usable(model, content)
    providers.change(stage.ada, provider, capabilities=["chat"])
    model.refresh_from_db()

    if missing is None:
        providers.require_usable(model, content)
        return
    with pytest.raises(Problem) as refused:
        providers.require_usable(model, content)
    assert refused.value.code == "provider.capability"
    assert refused.value.members["capability"] == missing
