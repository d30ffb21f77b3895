"""Import of prompts from other products: paste, preview, choose names, import."""

from collections.abc import Sequence
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse

from core.errors import Problem
from evaluations.interop import import_prompts
from registry.accounts.permissions import Actor, Right
from registry.interop.import_prompts import ImportResult
from registry.interop.importers.convert import MAX_CHARACTERS, SOURCES
from registry.views.frame import errors_of, in_project, page

SOURCE_NAMES = {"openai": "OpenAI", "langfuse": "Langfuse", "promptfoo": "promptfoo", "mlflow": "MLflow"}
ABOUT_SOURCES = {
    "openai": "OpenAI has no export, and its prompt objects end on 30 November 2026. Open a prompt in the dashboard, "
    "choose a version, and copy its messages and settings into JSON as below; or paste a request of your code. Several "
    "prompts form a list.",
    "langfuse": "The answers of GET /api/public/v2/prompts/{name}, as a list or one per line.",
    "promptfoo": "promptfooconfig.yaml, with its prompts; its tests too, where you name a dataset.",
    "mlflow": "The answer of GET /api/2.0/mlflow/model-versions/search for your prompts.",
}
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
TEMPLATE = "evaluations/import_prompts.html"
ERROR_FIELDS = {"exchange.unreadable": "document", "dataset.invalid_name": "dataset", "dataset.archived": "dataset"}


@in_project
def prompt_import(request: HttpRequest, actor: Actor) -> HttpResponse:
    actor.require(Right.EDIT)
    form = request.POST if request.method == "POST" else request.GET
    values = {name: form.get(name, "") for name in ("document", "dataset")}
    source = form.get("source", "")
    values["source"] = source if source in SOURCES else SOURCES[0]
    sources = [{"value": name, "name": SOURCE_NAMES[name], "about": ABOUT_SOURCES[name]} for name in SOURCES]
    context: dict[str, Any] = {"section": "prompts", "values": values, "sources": sources, "example": EXAMPLE}
    if request.method != "POST":
        return page(request, actor, TEMPLATE, context)
    is_dry_run = request.POST.get("action") != "import"
    names = dict(
        zip(request.POST.getlist("source_name"), map(str.strip, request.POST.getlist("prompt_name")), strict=False)
    )
    try:
        values["document"] = _document(request)
        results, tests = import_prompts.import_document(
            actor,
            values["source"],
            values["document"],
            names={source_name: name for source_name, name in names.items() if name},
            dataset=values["dataset"].strip(),
            is_dry_run=is_dry_run,
        )
    except Problem as problem:
        context["errors"] = errors_of(problem, ERROR_FIELDS)
        return page(request, actor, TEMPLATE, context, status=problem.kind.status)
    context |= {"results": results, "tests": tests, "is_dry_run": is_dry_run, "counts": _counts(results)}
    return page(request, actor, TEMPLATE, context)


def _document(request: HttpRequest) -> str:
    """Return what was pasted, or the content of the uploaded file."""
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


def _counts(results: Sequence[ImportResult]) -> dict[str, int]:
    return {
        "refused": sum(result.outcome == "refused" for result in results),
        "prompts": sum(result.outcome in ("created", "changed") for result in results),
        "versions": sum(len(result.added) for result in results),
    }
