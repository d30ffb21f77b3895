"""The page that prompts of other products come in by: paste, see what would come in, name it, bring it in."""

from collections.abc import Sequence
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse

from core.errors import Problem
from evaluations.interop import import_prompts
from registry.accounts.permissions import Actor, Right
from registry.interop.import_prompts import Brought
from registry.interop.importers.convert import MAX_CHARACTERS, SOURCES
from registry.views.frame import errors_of, in_project, page

SOURCE_NAMES = {"openai": "OpenAI", "langfuse": "Langfuse", "promptfoo": "promptfoo", "mlflow": "MLflow"}
# In a template its braces and quotes would be the template's own.
EXAMPLE = """{
  "id": "pmpt_68ab",
  "name": "Support triage",
  "version": "3",
  "model": "gpt-5-mini",
  "input": [
    {"role": "system", "content": "You sort tickets."},
    {"role": "user", "content": "{{ticket}}"}
  ]
}"""
TEMPLATE = "evaluations/bring.html"
PLACES = {"exchange.unreadable": "document", "dataset.invalid_name": "dataset", "dataset.archived": "dataset"}


@in_project
def bring(request: HttpRequest, actor: Actor) -> HttpResponse:
    actor.require(Right.EDIT)
    asked = request.POST if request.method == "POST" else request.GET
    values = {name: asked.get(name, "") for name in ("document", "dataset")}
    source = asked.get("source", "")
    values["source"] = source if source in SOURCES else SOURCES[0]
    sources = [{"value": one, "name": SOURCE_NAMES[one]} for one in SOURCES]
    context: dict[str, Any] = {"section": "prompts", "values": values, "sources": sources, "example": EXAMPLE}
    if request.method != "POST":
        return page(request, actor, TEMPLATE, context)
    is_dry_run = request.POST.get("action") != "bring"
    names = dict(zip(request.POST.getlist("foreign"), map(str.strip, request.POST.getlist("own")), strict=False))
    try:
        values["document"] = _document(request)
        brought, tests = import_prompts.bring(
            actor,
            values["source"],
            values["document"],
            names={foreign: own for foreign, own in names.items() if own},
            dataset=values["dataset"].strip(),
            is_dry_run=is_dry_run,
        )
    except Problem as problem:
        context["errors"] = errors_of(problem, PLACES)
        return page(request, actor, TEMPLATE, context, status=problem.kind.status)
    context |= {"brought": brought, "tests": tests, "is_dry_run": is_dry_run, "counts": _counts(brought)}
    return page(request, actor, TEMPLATE, context)


def _document(request: HttpRequest) -> str:
    """What was pasted, or the file that was chosen instead."""
    file = request.FILES.get("file")
    if not isinstance(file, UploadedFile):
        pasted = request.POST.get("document", "")
        if not pasted.strip():
            raise Problem("exchange.unreadable", "Paste the prompts, or choose a file that has them.")
        return pasted
    if (file.size or 0) > MAX_CHARACTERS:
        raise Problem("exchange.unreadable", f"A document has at most {MAX_CHARACTERS // 2**20} MB.")
    try:
        text: str = file.read().decode("utf-8-sig")
        return text
    except UnicodeDecodeError:
        raise Problem("exchange.unreadable", f"{file.name} is not text in UTF-8.") from None


def _counts(brought: Sequence[Brought]) -> dict[str, int]:
    return {
        "refused": sum(one.outcome == "refused" for one in brought),
        "prompts": sum(one.outcome in ("created", "changed") for one in brought),
        "versions": sum(len(one.added) for one in brought),
    }
