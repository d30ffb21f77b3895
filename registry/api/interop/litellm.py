"""LiteLLM's generic prompt management: its address and its answer, so that its SDK and proxy read from here."""

from rest_framework.request import Request
from rest_framework.response import Response

from core.errors import Problem
from core.references import DEFAULT_ENVIRONMENT, Reference, parse_reference, parse_selector
from registry.api.base import ProjectView
from registry.delivery import caching, request_scope
from registry.interop import litellm
from registry.prompts import includes, resolution


class LiteLLMPrompt(ProjectView):
    # LiteLLM's contract, not ours: it is described in docs/litellm.md and by its own client.
    schema = None
    query_members = ("prompt_id", "environment", "version")

    def get(self, request: Request) -> Response:
        reference = self._reference(request)
        version = resolution.resolve(self.actor.project, reference)
        partials = {pin: partial.content for pin, partial in includes.get_partials([version]).items()}
        answer = {
            "prompt_id": request.query_params["prompt_id"],
            **litellm.litellm_prompt(version.content, partials),
            # Beyond the contract: which version it is.
            "metadata": {"version": version.number, "hash": version.content_hash},
        }
        request_scope.add_versions([version.pk])
        policy = caching.cache_policy(reference.selector)
        if caching.is_fresh(request, version.content_hash):
            return caching.set_cache_headers(Response(status=304), version.content_hash, policy)
        return caching.set_cache_headers(Response(answer), version.content_hash, policy)

    def _reference(self, request: Request) -> Reference:
        """Read `prompt_id`, a name or a whole reference, and what the proxy's settings add to it."""
        name = request.query_params.get("prompt_id", "")
        selectors = [
            request.query_params[member] for member in ("environment", "version") if member in request.query_params
        ]
        if not name:
            raise Problem("request.invalid", "Name a prompt: ?prompt_id=support.triage.")
        if len(selectors) + ("@" in name) > 1:
            raise Problem("request.invalid", "Name a version once: in prompt_id, as environment or as version.")
        if "@" in name:
            return parse_reference(name)
        return Reference(name, parse_selector(selectors[0] if selectors else DEFAULT_ENVIRONMENT))
