"""Who calls the API: a service by its key, or a person by the browser's session. `request.auth` is the Actor."""

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
    """`Authorization: Bearer cbk_<id>_<secret>`; the key's project is the request's."""

    def authenticate(self, request: Request) -> tuple[Any, Actor] | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        key = api_keys.authenticate(token.strip())
        api_keys.note_use(key)
        request_scope.by(key)
        return AnonymousUser(), permissions.machine(key)

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="cuebook"'


class BrowserAuthentication(SessionAuthentication):
    """The session of a signed-in person, with CSRF protection.

    The project is named by the header or parameter, else it is the one last opened in the browser, else the only one.
    """

    def authenticate(self, request: Request) -> tuple[User, Actor] | None:
        found = super().authenticate(request)
        if found is None:
            return None
        user: User = found[0]
        return user, self._actor(request, user)

    def _actor(self, request: Request, user: User) -> Actor:
        memberships = Membership.objects.filter(user=user).select_related("project")
        wanted = request.headers.get(PROJECT_HEADER) or request.query_params.get(PROJECT_PARAMETER)
        if wanted:
            membership = memberships.filter(project__slug=wanted).first()
            if membership is None:
                raise Problem("not_found", "There is no such project.")
            return permissions.member(membership, user)
        mine = list(memberships)
        remembered = [one for one in mine if one.project.slug == request.session.get(SESSION_PROJECT)]
        if remembered or len(mine) == 1:
            return permissions.member((remembered or mine)[0], user)
        raise Problem(
            "auth.no_project",
            f"You are in {len(mine)} projects; name one with {PROJECT_HEADER} or ?{PROJECT_PARAMETER}=.",
            projects=[one.project.slug for one in mine],
        )


class HasProject(BasePermission):
    """Somebody is known and acts in a project; what they may do is asked inside each verb."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        return isinstance(request.auth, Actor)


def actor_of(request: Request) -> Actor:
    """The actor of an authenticated request."""
    actor = request.auth
    if not isinstance(actor, Actor):
        raise Problem("auth.required", "Sign in or send an API key.")
    return actor
