"""What the tests of pages share: somebody's browser, and the text of an answer."""

from typing import Any

from django.test import Client

from registry.accounts.permissions import Actor

TRIAGE = "/p/paper/prompts/support.triage"


def signed_in(actor: Actor) -> Client:
    client = Client()
    assert actor.user
    client.force_login(actor.user)
    return client


def text(response: Any) -> str:
    return str(response.content.decode())
