"""The editor: writing a draft, seeing what it will do, and committing it."""

import json
from typing import Any, cast

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string

from core.content import ASIDE, RESPONSE_FORMATS, SELECTIONS, VARIABLE_TYPES, empty_content
from core.errors import Fault, Problem
from core.example_selection import DEFAULT_K
from core.json_values import normalise_json
from core.messages import IMAGE_DETAILS, ROLES, as_text
from core.references import Number, Reference
from registry.accounts.permissions import Actor, Right
from registry.content import diff, diff_view
from registry.content.content_hash import content_hash
from registry.content.merge import MergeSource
from registry.content.message_view import MessageSection
from registry.content.model_profiles.facts import current_models
from registry.examples import embedders
from registry.models import (
    Collection,
    Environment,
    ExampleSet,
    ExampleSetVersion,
    Prompt,
    PromptDraft,
    PromptVersion,
    Release,
)
from registry.promotions import approvals
from registry.prompts import drafts, inspection, model_lookup, resolution
from registry.prompts import lifecycle as prompts
from registry.prompts.inspection import Inspection
from registry.retrieval.search import SearchSettings
from registry.views.frame import done, errors_of, in_project, only_post, page, page_url, refused, whole
from registry.views.model_fields import field_states, model_fields

# Numbers that a browser holds exactly.
MAX_SAVES = 2**53
MAX_WINDOW_LENGTH = 64
SELECTION_LABELS = {
    "fixed": "All, in their order",
    "first": "The first few",
    "similar": "The nearest in meaning",
    "balanced": "The nearest, of each label a few",
}
FORMAT_LABELS = {"text": "Text", "json_object": "Any JSON object", "json_schema": "JSON by a schema"}
# Members that have a place of their own in the editor; anything else of a document is carried along untouched.
EDITED_MEMBERS = (
    "kind",
    "messages",
    "text",
    "model",
    "response",
    "variables",
    "tools",
    "examples",
    "retrieval",
    "includes",
    ASIDE,
)


@in_project
def editor(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    actor.require(Right.EDIT)
    prompt = _writable(actor, name)
    number = whole(request.GET.get("from", ""))
    start = resolution.resolve(actor.project, Reference(name, Number(number))) if number else None
    sheet = drafts.open_editor_document(actor, prompt, start)
    if start and sheet.draft and (sheet.base is None or sheet.base.pk != start.pk):
        context = {"section": "prompts", "prompt": prompt, "sheet": sheet, "start": start}
        return page(request, actor, "registry/editor/draft_in_the_way.html", context)
    document = sheet.document
    model, aside = _object(document.get("model")), _object(document.get(ASIDE))
    context = {
        "section": "prompts",
        "prompt": prompt,
        "sheet": sheet,
        "document": document,
        "messages_shown": _messages(document),
        "model": model,
        **model_fields(model),
        "response": {**aside, **_object(document.get("response"))},
        "schema": _json(_object(document.get("response")).get("schema")) or aside.get("schema", ""),
        "tools": _json(document.get("tools")),
        "state": _state(actor, prompt, sheet),
        "live_elsewhere": _other_live_releases(prompt, sheet),
        "blank_user": {"role": "user", "content": ""},
        "blank_image": MessageSection("image", ""),
        "blank_text": MessageSection("text", ""),
        "blank_call": MessageSection("call", "{}"),
        "image_details": IMAGE_DETAILS,
        "blank_placeholder": {"role": "placeholder", "name": ""},
        "roles": ROLES,
        "formats": [(name, FORMAT_LABELS[name]) for name in RESPONSE_FORMATS],
        "types": VARIABLE_TYPES,
        "models": _models(actor, model),
        **_examples(actor, _object(document.get("examples"))),
        **_retrieval(actor, _object(document.get("retrieval"))),
    }
    return page(request, actor, "registry/editor/editor.html", context)


def _other_live_releases(prompt: Prompt, sheet: drafts.EditorDocument) -> list[Release]:
    """Return the releases that are live with another version than the one that is edited: the prompt's page shows what
    is live, and this page the newest."""
    environments = Environment.objects.filter(project=prompt.project_id)
    releases = [approvals.live_release(environment, prompt) for environment in environments]
    own = sheet.base.pk if sheet.base else None
    return [release for release in releases if release and release.version_id != own]


def _writable(actor: Actor, name: str) -> Prompt:
    prompt = prompts.get_prompt(actor.project, name)
    if prompt.archived_at:
        raise Problem("prompt.archived", f"{name} is archived; restore it to write on it.")
    return prompt


def _examples(actor: Actor, selection: dict[str, Any]) -> dict[str, Any]:
    """Return the sets to pick examples from: the newest version of each set in use, and the one that is pinned now."""
    newest = ExampleSetVersion.objects.filter(
        pk__in=ExampleSet.objects.filter(project=actor.project, archived_at=None, head__isnull=False).values("head")
    )
    pinned = ExampleSetVersion.objects.filter(
        example_set__project=actor.project, content_hash=str(selection.get("set", ""))[:71]
    )
    choices = (newest | pinned).select_related("example_set").order_by("example_set__name", "-number")
    names = embedders.embedder_names()
    return {
        "examples": selection,
        "sets": list(choices),
        "selections": [(name, SELECTION_LABELS[name]) for name in SELECTIONS],
        "default_k": DEFAULT_K,
        "embedders": names if selection.get("embedder") in (None, *names) else [str(selection["embedder"]), *names],
    }


def _retrieval(actor: Actor, retrieval: dict[str, Any]) -> dict[str, Any]:
    """Return the collections to search; the one that a document names stays, also where it is gone."""
    rows = Collection.objects.filter(project=actor.project, archived_at=None)
    names = {*rows.values_list("name", flat=True), *filter(None, [str(retrieval.get("collection") or "")])}
    return {"retrieval": retrieval, "collections": sorted(names), "default_chunks": SearchSettings.k}


def _state(actor: Actor, prompt: Prompt, sheet: drafts.EditorDocument) -> dict[str, Any]:
    """Return the state that the page's script starts from."""
    return {
        "save": page_url("registry:draft-save", actor, prompt.name),
        "revision": sheet.revision,
        "base": sheet.base.number if sheet.base else None,
        "seen": sheet.seen.number if sheet.seen else None,
        "samples": drafts.sample_values(prompt),
        "variables": _object(sheet.document.get("variables")),
        "carried": {k: v for k, v in sheet.document.items() if k not in EDITED_MEMBERS},
        "includes": _object(sheet.document.get("includes")),
        "retrieval": _object(sheet.document.get("retrieval")),
    }


def _object(value: Any) -> dict[str, Any]:
    """A member of a draft, which may be anything, as an object."""
    return value if isinstance(value, dict) else {}


def _json(value: Any) -> str:
    """A member as people edit it; text in place of it is what could not be read as JSON when it was typed."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, indent=2) if value else ""


def _messages(document: dict[str, Any]) -> list[dict[str, Any]]:
    if document.get("kind") == "text":
        return [{"role": "text", "content": document.get("text", "")}]
    messages = document.get("messages")
    return [_object(message) for message in messages] if isinstance(messages, list) else []


def _models(actor: Actor, model: dict[str, Any]) -> list[str]:
    """Return model names to offer: those in use here first, then the listed ones."""
    heads = PromptVersion.objects.filter(prompt__project=actor.project, prompt__head__isnull=False)
    used = heads.filter(content__model__has_key="name").order_by("-id").values_list("content__model__name", flat=True)
    names = [str(model.get("name") or ""), *(str(name) for name in used[:200]), *current_models()]
    return [name for name in dict.fromkeys(names) if name]


@in_project
@only_post
def draft_save(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """Save the draft (unless nothing was typed yet) and inspect it. Called while typing."""
    try:
        actor.require(Right.EDIT)
        prompt = _writable(actor, name)
        body = _read_save(request)
        revision: int = body["revision"]
        if body.get("save"):
            revision = drafts.save(
                actor,
                prompt,
                document=body.get("document"),
                revision=revision,
                window=drafts.BrowserWindow(body["window"], body["serial"]),
                base=body.get("base"),
                seen=body.get("seen"),
            )
            drafts.save_samples(actor, prompt, _object(body.get("sampled")))
        result = inspection.inspect(actor.project, prompt, body.get("document"), _object(body.get("samples")))
    except Problem as problem:
        return JsonResponse(problem.as_document(), status=problem.kind.status)
    newest = prompt.head
    messages = list(zip(result.rendered["messages"], result.message_tokens, strict=True)) if result.rendered else []
    context = {"inspection": result, "messages": messages, "project": actor.project, "prompt": prompt}
    answer = {
        "revision": revision,
        "preview": render_to_string("registry/editor/_preview.html", context, request),
        "is_rendered": result.rendered is not None,
        "newest": {"number": newest.number, "author": newest.author_name} if newest else None,
        "settings": _settings(actor, _object(_object(body.get("document")).get("model"))),
        **_marks(result),
    }
    return JsonResponse(answer)


def _settings(actor: Actor, model: dict[str, Any]) -> dict[str, Any]:
    return field_states(model, model_lookup.profile_in(actor.project, str(model.get("name") or "")))


def _read_save(request: HttpRequest) -> dict[str, Any]:
    """Read the body of a save: a document, samples, and the numbers that identify the save."""
    faults: list[Fault] = []
    try:
        body = normalise_json(json.loads(request.body), faults)
    except (ValueError, RecursionError):
        raise Problem("request.malformed", "The draft cannot be read as JSON.") from None
    body = body if isinstance(body, dict) else {}
    faults += [
        Fault(f"/{name}", "type", f"A save has its {name}, a whole number.")
        for name in ("revision", "serial")
        if type(body.get(name)) is not int or not 0 <= body[name] < MAX_SAVES
    ]
    faults += [
        Fault(f"/{name}", "type", "Must be a version's number or null.")
        for name in ("base", "seen")
        if body.get(name) is not None and (type(body[name]) is not int or not 0 < body[name] < 2**31)
    ]
    if not isinstance(body.get("window"), str) or not 1 <= len(body["window"]) <= MAX_WINDOW_LENGTH:
        faults.append(Fault("/window", "type", "A save names its window."))
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    return body


def _marks(result: Inspection) -> dict[str, Any]:
    """Return the marks that the script puts beside the fields: faults, findings, and the variables in use."""
    return {
        "can_be_committed": result.can_be_committed,
        "marks": [
            {
                "severity": finding.severity,
                "message": finding.message,
                "pointer": finding.pointer,
                "line": finding.line,
                "refused": finding in result.faults,
            }
            for finding in (*result.faults, *result.findings)
        ],
        "variables": [
            {
                "name": variable.name,
                "type": variable.type,
                "inherited": variable.is_inherited,
                "used": variable.is_used,
                "required": variable.is_required,
                "image": variable.is_image,
            }
            for variable in result.variables
        ],
        "stand_ins": list(result.stand_ins),
    }


@in_project
@only_post
def draft_discard(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    try:
        drafts.discard(
            actor, prompts.get_prompt(actor.project, name), revision=whole(request.POST.get("revision", "")) or 0
        )
    except Problem as problem:
        return refused(request, problem, page_url("registry:editor", actor, name))
    number = whole(request.POST.get("from", ""))
    if request.POST.get("next") == "edit" and number:
        return redirect(f"{page_url('registry:editor', actor, name)}?from={number}")
    return done(request, "Draft discarded", page_url("registry:prompt-detail", actor, name))


def _draft_of(actor: Actor, name: str) -> PromptDraft:
    """Return the user's draft of a prompt that can be edited."""
    actor.require(Right.EDIT)
    draft = drafts.get_draft(actor, _writable(actor, name))
    if draft is None:
        raise Problem("draft.not_found", f"You have no draft of {name}; it may have been committed already.")
    return draft


@in_project
def draft_commit(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """Show what the draft changes, with a field for the message; then commit it."""
    message = request.POST.get("message", "")
    problem: Problem | None = None
    if request.method == "POST":
        revision = whole(request.POST.get("revision", "")) or 0
        try:
            committed = drafts.commit(
                actor,
                _writable(actor, name),
                revision=revision,
                message=message.strip(),
                expected_hash=request.POST.get("expected_hash") or None,
            )
        except Problem as refusal:
            problem = refusal
        else:
            number = committed.version.number
            sentence = (
                f"Version {number} committed"
                if committed.created
                else f"Nothing changed: version {number} has this content"
            )
            return done(request, sentence, page_url("registry:version-detail", actor, name, number))
    draft = _draft_of(actor, name)
    result = inspection.inspect(actor.project, draft.prompt, draft.document, drafts.sample_values(draft.prompt))
    context: dict[str, Any] = {
        "section": "prompts",
        "prompt": draft.prompt,
        "draft": draft,
        "inspection": result,
        "is_behind": draft.seen_id != draft.prompt.head_id,
        "message": message,
        "errors": errors_of(problem) if problem else {},
    }
    if result.as_committed:
        before = draft.base.content if draft.base else empty_content(result.as_committed["kind"])
        context["comparison"] = diff_view.compare(before, result.as_committed)
        context["expected_hash"] = content_hash(result.as_committed)
    return page(request, actor, "registry/editor/commit.html", context, status=problem.kind.status if problem else 200)


@in_project
def draft_merge(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """Show what another user committed meanwhile beside what the draft changes; each part can be chosen."""
    draft = _draft_of(actor, name)
    prompt = draft.prompt
    if draft.seen_id == prompt.head_id or prompt.head is None:
        return done(request, "Your draft is up to date", page_url("registry:editor", actor, name))
    if request.method == "POST":
        choices = {k.removeprefix("choose:"): v for k, v in request.POST.items() if k.startswith("choose:")}
        try:
            drafts.rebase(
                actor,
                prompt,
                revision=whole(request.POST.get("revision", "")) or 0,
                newest=whole(request.POST.get("newest", "")) or 0,
                choices={
                    key: cast(MergeSource, source)
                    for key, source in choices.items()
                    if source in ("base", "theirs", "mine")
                },
            )
        except Problem as problem:
            return refused(request, problem, page_url("registry:draft-merge", actor, name))
        sentence = f"Draft merged; it now starts from version {prompt.head.number}"
        return done(request, sentence, page_url("registry:editor", actor, name))
    parts = [part for part in drafts.merge_parts(draft) if part.is_changed]
    budget = diff.Budget()
    rows = [
        {
            "part": part,
            "theirs": diff_view.compare_texts(_as_text(part.base), _as_text(part.theirs), budget),
            "mine": diff_view.compare_texts(_as_text(part.base), _as_text(part.mine), budget),
        }
        for part in parts
    ]
    context = {"section": "prompts", "prompt": prompt, "draft": draft, "rows": rows, "newest": prompt.head}
    return page(request, actor, "registry/editor/merge.html", context)


def _as_text(value: Any) -> str | None:
    """A part as lines: a message's text, anything else as JSON."""
    if value is None:
        return None
    if isinstance(value, dict) and "role" in value:
        return as_text(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
