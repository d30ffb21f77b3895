"""The page of the playground, its panel in the editor, and its answers as they are streamed."""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone

from core.content import has_type
from core.errors import Fault, Problem
from core.references import Number, Reference
from evaluations import tasks
from evaluations.datasets import lifecycle as datasets
from evaluations.models import Dataset, PlaygroundAnswer, PlaygroundRun, Split
from evaluations.playground import lifecycle as playground
from evaluations.playground.lifecycle import Input, PlaygroundSettings
from evaluations.providers import configuration as providers
from infra.work import start
from registry.accounts.permissions import Actor, Right
from registry.examples import example_sets
from registry.models import ExampleSet, Prompt, PromptVersion
from registry.prompts import drafts, inspection, resolution
from registry.prompts import lifecycle as prompts
from registry.prompts.inspection import Variable
from registry.views.frame import done, in_project, only_post, page, page_url, refused, whole
from registry.views.prompts import heading

MAX_OFFERED = 200
MAX_EARLIER_SHOWN = 8
COLUMNS = 3
# An answer that was written during a request may have been missed; sending it twice does no harm.
SLACK = timedelta(seconds=1)
MAX_VALUE_LENGTH = 256 * 1024
WITH_CASES = "cases"
DRAFT = "draft"
# In the session: values that another page has for the playground.
HANDED_OVER = "playground_values"


@in_project
def playground_page(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """Run a version, or the user's draft, on typed values or on cases."""
    actor.require(Right.EDIT)
    prompt = prompts.get_prompt(actor.project, name)
    playground_run = None
    if number := whole(request.GET.get("playground_run", "")):
        playground_run = playground.get_playground_run(actor, number)
    at = request.POST.get("at") or request.GET.get("at") or (_origin(playground_run.version) if playground_run else "")
    source, document = _source(actor, prompt, at)
    context = {
        **heading(actor, prompt, "playground"),
        "source": source,
        "numbers": prompt.versions.order_by("-number").values_list("number", flat=True)[:MAX_OFFERED],
        "earlier": _earlier(actor, prompt),
        **_form(actor, prompt, document),
    }
    typed = _typed_before(playground_run) if playground_run else _handed_over(request, prompt)
    context["fields"] = _fields(actor, prompt, document, {**drafts.sample_values(prompt), **typed})
    if request.method == "POST":
        return _start(request, actor, prompt, source, context)
    if playground_run:
        context |= answers_context(playground_run)
    return page(request, actor, "evaluations/playground/playground.html", context)


@in_project
def panel(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """Show the playground inside the editor: the saved draft, with the sample values of the editor."""
    actor.require(Right.EDIT)
    prompt = prompts.get_prompt(actor.project, name)
    source, document = _source(actor, prompt, DRAFT)
    context = {"project": actor.project, "prompt": prompt, "source": source, **_form(actor, prompt, document)}
    return render(request, "evaluations/playground/_panel.html", context)


def _source(actor: Actor, prompt: Prompt, at: str) -> tuple[PromptVersion | None, Mapping[str, Any]]:
    """Return what to run: a version, or None and the user's draft (the newest version where there is neither)."""
    draft = drafts.get_draft(actor, prompt)
    if at == DRAFT or (not at and prompt.head is None):
        return None, draft.document if draft else drafts.open_editor_document(actor, prompt).document
    number = whole(at) or (prompt.head.number if prompt.head else 0)
    version = resolution.resolve(actor.project, Reference(prompt.name, Number(number)))
    return version, version.content


def _form(actor: Actor, prompt: Prompt, document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the choices of the form."""
    offered = list(providers.offered_models(actor.project)[:MAX_OFFERED])
    settings = document.get("model")
    own = str(settings.get("name") or "") if isinstance(settings, dict) else ""
    default_model = next((model for model in offered if model.name == own), offered[0] if offered else None)
    return {
        "models": offered,
        "default_model": default_model,
        "columns": range(COLUMNS),
        "datasets": _datasets(actor),
        "splits": [("", "Any split"), *Split.choices],
        "example_sets": ExampleSet.objects.filter(project=actor.project, archived_at=None)[:MAX_OFFERED],
        "most_inputs": playground.MAX_INPUTS,
        "last": _last_dataset(prompt),
        "errors": {},
    }


def _datasets(actor: Actor) -> list[Dataset]:
    return list(Dataset.objects.filter(project=actor.project, archived_at=None)[:MAX_OFFERED])


def _last_dataset(prompt: Prompt) -> str:
    """Return the dataset of the prompt's last run, as the default."""
    names = prompt.versions.filter(runs__isnull=False).order_by("-runs__id")
    return names.values_list("runs__dataset_version__dataset__name", flat=True).first() or ""


def _fields(
    actor: Actor, prompt: Prompt, document: Mapping[str, Any], values: Mapping[str, Any]
) -> list[dict[str, Any]]:
    result = inspection.inspect(actor.project, prompt, document, values)
    return [
        {"variable": variable, "name": variable.name, "value": _as_text(values.get(variable.name)), "error": ""}
        for variable in result.variables
        if variable.is_used
    ]


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def hand_over(request: HttpRequest, prompt: Prompt, values: Mapping[str, Any]) -> None:
    """Hand values over to the playground of a prompt: its page shows them next."""
    request.session[HANDED_OVER] = {"prompt": prompt.pk, "values": dict(values)}


def _handed_over(request: HttpRequest, prompt: Prompt) -> Mapping[str, Any]:
    # Once: what a call was about is not to stay in a session.
    handed = request.session.pop(HANDED_OVER, None) if request.GET.get("values") else None
    return handed["values"] if handed and handed["prompt"] == prompt.pk else {}


def _typed_before(playground_run: PlaygroundRun) -> Mapping[str, Any]:
    """Return the values of a playground run whose input was typed."""
    first = next(iter(playground_run.answers.all()), None)
    return first.variables if first and first.case_id is None else {}


def _earlier(actor: Actor, prompt: Prompt) -> list[PlaygroundRun]:
    rows = PlaygroundRun.objects.filter(prompt=prompt, by=actor.user).annotate(count=Count("answers"))
    return list(rows.select_related("version").defer("version__content", "content")[:MAX_EARLIER_SHOWN])


def _start(
    request: HttpRequest, actor: Actor, prompt: Prompt, source: PromptVersion | None, context: dict[str, Any]
) -> HttpResponse:
    is_part = "HX-Request" in request.headers
    try:
        playground_run = playground.start(
            actor, prompt, _read_settings(request, actor, prompt, source, context["fields"])
        )
    except Problem as problem:
        if is_part:
            refusal = {"project": actor.project, "prompt": prompt, "problem": problem}
            return render(request, "evaluations/playground/_refused.html", refusal)
        context["problem"] = problem
        return page(request, actor, "evaluations/playground/playground.html", context, status=problem.kind.status)
    start(tasks.ask_playground, playground_run.pk)
    if not is_part:
        address = page_url("evaluations:playground", actor, prompt.name)
        return redirect(f"{address}?playground_run={playground_run.pk}&at={_origin(source)}")
    context = part_context(prompt, playground.get_playground_run(actor, playground_run.pk))
    return render(
        request,
        "evaluations/playground/_playground_run.html",
        {**_form(actor, prompt, playground_run.content), **context},
    )


def _origin(version: PromptVersion | None) -> str:
    """Return what was run, as the page's address has it."""
    return str(version.number) if version else DRAFT


def _read_settings(
    request: HttpRequest,
    actor: Actor,
    prompt: Prompt,
    source: PromptVersion | None,
    fields: list[dict[str, Any]],
) -> PlaygroundSettings:
    names = dict.fromkeys(name for name in request.POST.getlist("models") if name)
    models = [providers.get_model(actor.project, name[:300]) for name in names]
    if request.POST.get("on") == WITH_CASES:
        version = datasets.get_version(actor.project, request.POST.get("dataset", ""), "latest")
        count = whole(request.POST.get("count", "")) or 1
        inputs = playground.inputs_from_cases(version, split=request.POST.get("split", ""), count=count)
    elif request.POST.get("values") == "samples":
        inputs = [Input(drafts.sample_values(prompt))]
    else:
        inputs = [Input(_values(request, fields))]
    if source is None:
        draft = drafts.get_draft(actor, prompt)
        content = drafts.committable_content(draft.document if draft else {}, owner=actor.project.pk)
        return PlaygroundSettings(content, inputs, models)
    return PlaygroundSettings(source, inputs, models)


def _values(request: HttpRequest, fields: list[dict[str, Any]]) -> dict[str, Any]:
    """Read the value of each variable by its type; an empty field gives none."""
    faults: list[Fault] = []
    values: dict[str, Any] = {}
    for field in fields:
        field["value"] = request.POST.get(f"variable:{field['name']}", "")[:MAX_VALUE_LENGTH]
        try:
            value = typed_value(field["value"], field["variable"])
        except ValueError as error:
            field["error"] = str(error)
            faults.append(Fault(f"/variables/{field['name']}", "type", f"{field['name']}: {error}"))
        else:
            if value is not None:
                values[field["name"]] = value
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    return values


def typed_value(text: str, variable: Variable) -> Any:
    """Parse a typed text by the variable's type: None where nothing was typed; raises ValueError."""
    if not text.strip():
        return None
    if variable.type == "string":
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    if not has_type(value, variable.type):
        raise ValueError(f"Must be a JSON value of type {variable.type}.")
    return value


def part_context(prompt: Prompt, playground_run: PlaygroundRun) -> dict[str, Any]:
    """Return the context of a part of the page that is loaded by itself."""
    return {"project": playground_run.project, "prompt": prompt, **answers_context(playground_run)}


def answers_context(playground_run: PlaygroundRun) -> dict[str, Any]:
    """Return the context of the answers: by input, one model beside the other."""
    answers = list(playground_run.answers.all())
    groups = [list(group) for _, group in groupby(answers, key=lambda answer: answer.place)]
    return {
        "playground_run": playground_run,
        "groups": groups,
        "is_simulation": any(answer.model.provider.is_simulation for answer in answers),
        "is_local": any(answer.model.provider.is_local for answer in answers),
        "open_count": sum(answer.is_open for answer in answers),
        "seen": timezone.now().timestamp(),
    }


@in_project
def playground_run_wait(request: HttpRequest, actor: Actor, name: str, key: int) -> HttpResponse:
    """Show the answers that changed since the page's last request."""
    prompt = prompts.get_prompt(actor.project, name)
    playground_run = playground.get_playground_run(actor, key)
    changed = [answer for answer in playground_run.answers.all() if answer.changed_at >= _since(request)]
    return render(
        request,
        "evaluations/playground/_playground_run_wait.html",
        {**part_context(prompt, playground_run), "changed": changed},
    )


def _since(request: HttpRequest) -> datetime:
    try:
        return datetime.fromtimestamp(float(request.GET.get("seen", "")), tz=timezone.get_current_timezone()) - SLACK
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, tz=timezone.get_current_timezone())


@in_project
@only_post
def playground_run_cancel(request: HttpRequest, actor: Actor, name: str, key: int) -> HttpResponse:
    playground_run = playground.cancel(actor, playground.get_playground_run(actor, key))
    if "HX-Request" not in request.headers:
        return done(
            request,
            "Playground run cancelled",
            f"{page_url('evaluations:playground', actor, name)}?playground_run={key}",
        )
    context = {**part_context(playground_run.prompt, playground_run), "changed": playground_run.answers.all()}
    return render(request, "evaluations/playground/_playground_run_wait.html", context)


@in_project
@only_post
def answer_save(request: HttpRequest, actor: Actor, name: str, key: int, answer: int) -> HttpResponse:
    """Save an answer as a case or as an example, in the set that the form names."""
    playground_run = playground.get_playground_run(actor, key)
    back = f"{page_url('evaluations:playground', actor, name)}?playground_run={key}"
    problem: Problem | None = None
    try:
        _save(request, actor, playground.get_answer(playground_run, answer))
    except Problem as refusal:
        problem = refusal
    if "HX-Request" not in request.headers:
        return refused(request, problem, back) if problem else done(request, "Answer saved", back)
    saved_answer = playground.get_answer(playground.get_playground_run(actor, key), answer)
    context = {
        "project": actor.project,
        "prompt": playground_run.prompt,
        "playground_run": playground_run,
        "answer": saved_answer,
        "refusal": problem,
    }
    return render(request, "evaluations/playground/_answer.html", context)


def _save(request: HttpRequest, actor: Actor, answer: PlaygroundAnswer) -> None:
    if request.POST.get("as") == "example":
        playground.save_as_example(
            actor, answer, example_sets.get_example_set(actor.project, request.POST.get("example_set", ""))
        )
    else:
        dataset = datasets.get_dataset(actor.project, request.POST.get("keep_in", ""))
        playground.save_as_case(actor, answer, dataset)
        start(tasks.check_proposals, dataset.pk)
