"""Base of the API's views: closed by default."""

from typing import Any, ClassVar, TypeVar

from django.db.models import Model, QuerySet
from rest_framework import generics
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from registry.accounts.permissions import Actor, Right
from registry.api.authentication import actor_of

ModelT = TypeVar("ModelT", bound=Model)


class ProjectView(APIView):
    """A view for an actor in one project. The right that a method needs is checked before its handler runs.

    A view that needs another right says so; None, with the reason beside it, opens it to every actor of the project.
    `write_right` is the least that a change needs: the function that makes the change checks its own right as well.
    """

    read_right: ClassVar[Right | None] = Right.SEE
    write_right: ClassVar[Right | None] = Right.EDIT
    actor: Actor

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.actor = actor_of(request)
        right = self.read_right if request.method in SAFE_METHODS else self.write_right
        # A method that the view does not have is answered with 405, whoever asks.
        if right is not None and request.method in self.allowed_methods:
            self.actor.require(right)


class ProjectListView(ProjectView, generics.GenericAPIView[ModelT]):
    """A view that lists rows of a project in cursor pages."""

    def page(self, rows: QuerySet[ModelT]) -> Response:
        """Answer with one page of the rows, narrowed by the view's filters."""
        page = self.paginate_queryset(self.filter_queryset(rows))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)
