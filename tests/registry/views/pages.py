"""Helpers of the tests of pages: the browser of a user, and the text of an answer."""

import re
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
    """Return the answer's HTML with each line break and the indentation around it as one space."""
    return re.sub(r"\s*\n\s*", " ", response.content.decode())
