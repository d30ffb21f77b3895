"""Authentication of the API: a service by its key, a user by the browser's session. `request.auth` is the Actor."""

from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import AnonymousUser
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from core.errors import Problem
from registry.accounts import api_keys, permissions
from registry.accounts.permissions import Actor
from registry.delivery import request_scope
from registry.models import Membership, User

if TYPE_CHECKING:
    # rest_framework.views imports this module by its settings, so importing it here would be a cycle.
    from rest_framework.views import APIView

PROJECT_HEADER = "X-Cuebook-Project"
PROJECT_PARAMETER = "project"
SESSION_PROJECT = "project"


class KeyAuthentication(BaseAuthentication):
    """Authentication by `Authorization: Bearer cbk_<id>_<secret>`. The key's project is the request's, which names no
    other."""

    def authenticate(self, request: Request) -> tuple[Any, Actor] | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        key = api_keys.authenticate(token.strip())
        if named_project(request) not in ("", key.project.slug):
            raise Problem("not_found", "There is no such project.")
        api_keys.note_use(key)
        request_scope.set_key(key)
        return AnonymousUser(), permissions.actor_for_key(key)

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="cuebook"'


class BrowserAuthentication(SessionAuthentication):
    """Authentication by the session of a signed-in user, with CSRF protection.

    The project is named by the header or parameter, else it is the one last opened in the browser, else the only one.
    """

    def authenticate(self, request: Request) -> tuple[User, Actor] | None:
        credentials = super().authenticate(request)
        if credentials is None:
            return None
        user: User = credentials[0]
        return user, self._actor(request, user)

    def _actor(self, request: Request, user: User) -> Actor:
        memberships = Membership.objects.filter(user=user).select_related("project")
        slug = named_project(request)
        if slug:
            membership = memberships.filter(project__slug=slug).first()
            if membership is None:
                raise Problem("not_found", "There is no such project.")
            return permissions.actor_for_member(membership, user)
        own = list(memberships)
        remembered = [
            membership for membership in own if membership.project.slug == request.session.get(SESSION_PROJECT)
        ]
        if remembered or len(own) == 1:
            return permissions.actor_for_member((remembered or own)[0], user)
        raise Problem(
            "auth.no_project",
            f"You are in {len(own)} projects; name one with {PROJECT_HEADER} or ?{PROJECT_PARAMETER}=.",
            projects=[membership.project.slug for membership in own],
        )


def named_project(request: Request) -> str:
    """Return the slug that the request names its project by; empty where it names none."""
    return request.headers.get(PROJECT_HEADER) or request.query_params.get(PROJECT_PARAMETER) or ""


class HasProject(BasePermission):
    """The request has an actor in a project. The rights of the actor are checked by the views and inside each verb."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        return isinstance(request.auth, Actor)


def actor_of(request: Request) -> Actor:
    """Return the actor of an authenticated request."""
    actor = request.auth
    if not isinstance(actor, Actor):
        raise Problem("auth.required", "Sign in or send an API key.")
    return actor
