"""Base of the API's views: closed by default."""

from collections.abc import Collection, Iterable
from typing import Any, ClassVar, TypeVar

from django.db.models import Model, QuerySet
from rest_framework import generics
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from core.errors import Fault, Problem
from core.references import quoted
from infra.rest import CursorPagination
from registry.accounts.permissions import Actor, Right
from registry.api.authentication import PROJECT_PARAMETER, actor_of

ModelT = TypeVar("ModelT", bound=Model)
PAGE_PARAMETERS = (CursorPagination.cursor_query_param, CursorPagination.page_size_query_param)
MAX_FAULTS = 20


class ProjectView(APIView):
    """A view for an actor in one project. The right that a method needs is checked before its handler runs.

    A view that needs another right says so; None, with the reason beside it, opens it to every actor of the project.
    `write_right` is the least that a change needs: the function that makes the change checks its own right as well.
    """

    read_right: ClassVar[Right | None] = Right.SEE
    write_right: ClassVar[Right | None] = Right.EDIT
    # What its address takes after the question mark; None where anything may stand there. Other parameters are refused:
    # a filter with a typing error would otherwise list everything.
    query_members: ClassVar[tuple[str, ...] | None] = ()
    actor: Actor

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.actor = actor_of(request)
        right = self.read_right if request.method in SAFE_METHODS else self.write_right
        # A method that the view does not have is answered with 405, whoever asks.
        if right is not None and request.method in self.allowed_methods:
            self.actor.require(right)
        if request.method in SAFE_METHODS and self.query_members is not None:
            self._refuse_unknown(request.query_params.keys(), {PROJECT_PARAMETER, *self.query_members})

    def _refuse_unknown(self, names: Iterable[str], allowed: Collection[str]) -> None:
        unknown = sorted(set(names) - set(allowed))
        if unknown:
            listed = f"This address takes: {', '.join(sorted(allowed))}."
            faults = [Fault(f"?{name[:100]}", "unknown", listed) for name in unknown[:MAX_FAULTS]]
            raise Problem(
                "request.invalid", f"There is no parameter {quoted(unknown[0])} here. {listed}", faults=faults
            )


class ProjectListView(ProjectView, generics.GenericAPIView[ModelT]):
    """A view that lists rows of a project in cursor pages."""

    def _refuse_unknown(self, names: Iterable[str], allowed: Collection[str]) -> None:
        filter_set = getattr(self, "filterset_class", None)
        filters = filter_set.base_filters if filter_set else ()
        super()._refuse_unknown(names, {*allowed, *filters, *PAGE_PARAMETERS})

    def page(self, rows: QuerySet[ModelT]) -> Response:
        """Answer with one page of the rows, narrowed by the view's filters."""
        page = self.paginate_queryset(self.filter_queryset(rows))
        return self.get_paginated_response(self.get_serializer(page, many=True).data)
