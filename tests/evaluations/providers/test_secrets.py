"""Keys of providers: encrypted, rotated, and unreadable without the operator's keys."""

from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.management import call_command

from core.errors import Problem
from evaluations.models import Provider
from evaluations.providers import configuration as providers
from infra import encryption
from tests.conftest import Stage


def test_keys_are_rotated_and_the_old_one_can_go(stage: Stage, settings: Any):
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    settings.ENCRYPTION_KEYS = [old]
    providers.create(stage.ada, name="openai", base_url="https://api.openai.com/v1", key="sk-1234567890123")
    settings.ENCRYPTION_KEYS = [new, old]
    call_command("rotate_secrets")
    settings.ENCRYPTION_KEYS = [new]
    assert providers.endpoint(Provider.objects.get()).api_key == "sk-1234567890123"
    settings.ENCRYPTION_KEYS = [old]
    with pytest.raises(Problem) as refused:
        providers.endpoint(Provider.objects.get())
    assert refused.value.code == "secret.unreadable"


def test_nothing_encrypts_to_nothing():
    assert encryption.encrypt("") == encryption.decrypt("") == encryption.rotate("") == ""


def test_archiving_forgets_the_key(stage: Stage):
    provider = providers.create(stage.ada, name="openai", base_url="https://api.openai.com/v1", key="sk-1234567890123")
    providers.archive(stage.ada, provider)
    assert Provider.objects.get().encrypted_key == ""
