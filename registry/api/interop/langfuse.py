"""Langfuse's public read (v2): its address, credentials and answer, so that its clients work unchanged."""

import base64
from typing import Any

from django.contrib.auth.models import AnonymousUser
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request
from rest_framework.response import Response

from core.errors import Problem
from core.references import DEFAULT_ENVIRONMENT, Reference, Selector, parse_selector
from registry.accounts import api_keys, permissions
from registry.accounts.permissions import Actor
from registry.api.base import ProjectView
from registry.delivery import caching, request_scope
from registry.interop import langfuse
from registry.interop.importers.convert import local_name
from registry.models import Prompt, PromptVersion
from registry.prompts import includes, resolution


class PairAuthentication(BaseAuthentication):
    """Basic authentication: the key's id is the public key, the rest of the token the secret key."""

    def authenticate(self, request: Request) -> tuple[Any, Actor] | None:
        scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            public, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
        except ValueError:
            public, secret = "", ""
        key = api_keys.authenticate(f"cbk_{public.removeprefix('cbk_')}_{secret}")
        api_keys.note_use(key)
        request_scope.set_key(key)
        return AnonymousUser(), permissions.actor_for_key(key)

    def authenticate_header(self, request: Request) -> str:
        return 'Basic realm="cuebook"'


class LangfusePrompt(ProjectView):
    authentication_classes = (PairAuthentication,)
    # Langfuse's contract, not ours: it is described in docs/langfuse.md and by its own clients.
    schema = None
    query_members = None

    def get(self, request: Request, name: str) -> Response:
        selector = self._selector(request)
        version = self._version(name, selector)
        partials = {pin: partial.content for pin, partial in includes.get_partials([version]).items()}
        live: list[str] = version.live_in  # type: ignore[attr-defined]  # annotated by resolution
        answer = {
            "name": name,
            "version": version.number,
            "labels": [*live, *(["latest"] if version.pk == version.prompt.head_id else [])],
            "tags": version.prompt.tags,
            "commitMessage": version.message or None,
            "resolutionGraph": None,
            **langfuse.langfuse_prompt(version.content, partials),
        }
        request_scope.add_versions([version.pk])
        policy = caching.cache_policy(selector)
        if caching.is_fresh(request, version.content_hash):
            return caching.set_cache_headers(Response(status=304), version.content_hash, policy)
        return caching.set_cache_headers(Response(answer), version.content_hash, policy)

    def _version(self, name: str, selector: Selector) -> PromptVersion:
        """Return the version; where no prompt has the name, that of the one that an import gave to it."""
        project, imported = self.actor.project, local_name(name)
        is_known = name == imported or Prompt.objects.filter(project=project, name=name).exists()
        return resolution.resolve(project, Reference(name if is_known else imported, selector))

    def _selector(self, request: Request) -> Selector:
        version, label = request.query_params.get("version"), request.query_params.get("label")
        if version and label:
            raise Problem("request.invalid", "Name a version or a label, not both.")
        if version and not (version.isascii() and version.isdigit()):
            raise Problem("request.invalid", "A version is a number.")
        return parse_selector(version or label or DEFAULT_ENVIRONMENT)
