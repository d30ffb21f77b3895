"""The read of Langfuse's public API (v2): its address, credentials and answer, so that its clients work unchanged."""

import base64
from typing import Any

from django.contrib.auth.models import AnonymousUser
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from registry import access, includes, keys, langfuse, resolution, served
from registry.access import Actor, Right
from registry.api import conditional
from registry.api.authentication import actor_of
from registry.problems import Problem
from registry.references import DEFAULT_ENVIRONMENT, Reference, Selector, parse_selector


class PairAuthentication(BaseAuthentication):
    """Basic: the key's id is the public key, the rest of the token the secret one."""

    def authenticate(self, request: Request) -> tuple[Any, Actor] | None:
        scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return None
        try:
            public, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
        except ValueError:
            public, secret = "", ""
        key = keys.authenticate(f"cbk_{public.removeprefix('cbk_')}_{secret}")
        keys.note_use(key)
        served.by(key)
        return AnonymousUser(), access.machine(key)

    def authenticate_header(self, request: Request) -> str:
        return 'Basic realm="cuebook"'


class LangfusePrompt(APIView):
    authentication_classes = (PairAuthentication,)
    # Langfuse's contract, not ours: it is described in docs/langfuse.md and by its own clients.
    schema = None

    def get(self, request: Request, name: str) -> Response:
        actor = actor_of(request)
        actor.require(Right.SEE)
        selector = self._selector(request)
        version = resolution.resolve(actor.project, Reference(name, selector))
        partials = {pin: partial.content for pin, partial in includes.partials_of([version]).items()}
        live: list[str] = version.live_in  # type: ignore[attr-defined]  # annotated by resolution
        answer = {
            "name": name,
            "version": version.number,
            "labels": [*live, *(["latest"] if version.pk == version.prompt.head_id else [])],
            "tags": version.prompt.tags,
            "commitMessage": version.message or None,
            "resolutionGraph": None,
            **langfuse.prompt(version.content, partials),
        }
        served.versions([version.pk])
        policy = conditional.cache_policy(selector)
        if conditional.is_fresh(request, version.content_hash):
            return conditional.with_headers(Response(status=304), version.content_hash, policy)
        return conditional.with_headers(Response(answer), version.content_hash, policy)

    def _selector(self, request: Request) -> Selector:
        version, label = request.query_params.get("version"), request.query_params.get("label")
        if version and label:
            raise Problem("request.invalid", "Name a version or a label, not both.")
        if version and not (version.isascii() and version.isdigit()):
            raise Problem("request.invalid", "A version is a number.")
        return parse_selector(version or label or DEFAULT_ENVIRONMENT)
