"""Models that end, over REST."""

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from finetunes.api import serializers
from finetunes.presentation import address_of
from finetunes.retirements import desk
from registry.api.base import ProjectView


class RetirementList(ProjectView):
    @extend_schema(operation_id="retirements_list", responses=serializers.RetirementListSerializer)
    def get(self, request: Request) -> Response:
        """List the models in use that end, the soonest first, then by traffic: what is live, configured, gated, tuned
        or under way on each, and the successor that its maker names."""
        rows = [
            {
                **{"model": each.model, "ends": each.ends, "days_left": each.days_left()},
                **{"successor": each.successor or None, "offers": each.offers, "calls": each.calls},
                "uses": [
                    {
                        **{"kind": use.kind, "title": use.title, "environment": use.environment or None},
                        **{"calls": use.calls, "page": address_of(use.link, self.actor.project.slug)},
                    }
                    for use in each.uses
                ],
            }
            for each in desk.retirements(self.actor.project)
        ]
        return Response(serializers.RetirementListSerializer({"results": rows}).data)
