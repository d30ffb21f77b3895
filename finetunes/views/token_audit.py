"""The page of the token audit: a project's tokens by prompt and part, ranked by cost."""

from django.http import HttpRequest, HttpResponse

from core.references import DEFAULT_ENVIRONMENT
from finetunes.strategy import recommendations
from finetunes.strategy import token_audit as audits
from registry.accounts.permissions import Actor
from registry.models import Environment
from registry.views.frame import in_project, page


@in_project
def token_audit(request: HttpRequest, actor: Actor) -> HttpResponse:
    names = list(Environment.objects.filter(project=actor.project).order_by("position").values_list("name", flat=True))
    name = request.GET.get("environment") or DEFAULT_ENVIRONMENT
    environment = name if name in names else names[-1]
    policy, _ = recommendations.current_policy(actor.project)
    rows = audits.audit_project(actor.project, policy, environment)
    context = {
        "section": "strategy",
        "environment": environment,
        "environments": names,
        "rows": rows,
        "parts": audits.PARTS,
        "dollars_a_month": sum(row.dollars_a_month or 0 for row in rows),
        "tokens_a_month": sum(row.tokens_a_month for row in rows),
        "is_simulation": any(row.is_simulation for row in rows),
    }
    return page(request, actor, "finetunes/token_audit.html", context)
