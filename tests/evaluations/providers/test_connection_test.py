"""Testing a provider: with whatever limit the model takes, and with a look at who answered."""

from collections.abc import Iterator
from typing import Any

import pytest

from evaluations.models import Provider
from evaluations.providers import configuration as providers
from evaluations.providers.connection_test import check_connection
from tests.conftest import Stage
from tests.http_server import Handler, serve


class Newer(Handler):
    """A server whose models take max_completion_tokens alone, and which answers to any name with one model."""

    def get(self) -> None:
        self.answer({"data": [{"id": "newer-1"}]})

    def post(self) -> None:
        if "max_tokens" in self.read_json():
            message = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
            self.answer({"error": {"message": message, "type": "invalid_request_error"}}, status=400)
        else:
            choice = {"finish_reason": "stop", "message": {"content": "Hello"}}
            self.answer({"model": "newer-1-2026-10-01", "choices": [choice]})


@pytest.fixture
def provider(stage: Stage, settings: Any) -> Iterator[Provider]:
    settings.PROVIDER_PRIVATE_HOSTS = ["127.0.0.1"]
    with serve(Newer) as port:
        yield providers.create(stage.ada, name="newer", base_url=f"http://127.0.0.1:{port}/v1", key="k")


def test_a_model_is_asked_by_the_limit_that_it_takes(provider: Provider):
    tested = check_connection(provider, "newer-1")

    assert tested.test_passed, tested.test_result
    assert "newer-1 answered" in tested.test_result
    assert "says that it was" not in tested.test_result
    assert [model.name for model in provider.models.all()] == ["newer-1"]


def test_a_server_that_answers_to_any_name_is_noticed(provider: Provider):
    tested = check_connection(provider, "older-9")

    assert "The server says that it was newer-1-2026-10-01" in tested.test_result


@pytest.mark.parametrize(
    ("requested", "answered", "is_same"),
    [
        ("gpt-4o", "gpt-4o-2024-08-06", True),
        ("meta/llama-3", "llama-3", True),
        ("Qwen2.5", "qwen2.5-7b.gguf", True),
        ("no-such-model", "llama-3", False),
    ],
)
def test_dated_names_are_the_same_model(requested: str, answered: str, is_same: bool):
    assert providers.is_same_model(requested, answered) is is_same
