"""The retirement desk: models that end, and what is on them."""

from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse

from finetunes.presentation import address_of
from finetunes.retirements import desk
from finetunes.retirements.desk import ModelUse
from registry.accounts.permissions import Actor
from registry.views.frame import in_project, page, page_url

SOON_DAYS = 60


@in_project
def retirement_list(request: HttpRequest, actor: Actor) -> HttpResponse:
    rows = [
        (
            each,
            each.days_left(),
            "bad" if each.days_left() <= SOON_DAYS else "warn",
            [(use, address_of(use.link, actor.project.slug), _sweep_address(actor, use)) for use in each.uses],
        )
        for each in desk.retirements(actor.project)
    ]
    context = {"section": "strategy", "rows": rows, "days": desk.CALL_DAYS}
    return page(request, actor, "finetunes/retirements.html", context)


def _sweep_address(actor: Actor, use: ModelUse) -> str:
    if not use.sweep:
        return ""
    return f"{page_url('evaluations:sweep-new', actor)}?{urlencode(use.sweep, doseq=True)}"
