"""The editor: writing a draft, seeing what it will do, and committing it."""

import json
from typing import Any, cast

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.template.loader import render_to_string

from core.content import ASIDE, RESPONSE_FORMATS, ROLES, SELECTIONS, VARIABLE_TYPES, nothing
from core.errors import Fault, Problem
from core.example_selection import DEFAULT_K
from core.json_values import plain
from core.references import Number, Reference
from registry.accounts.permissions import Actor, Right
from registry.content import diff, diff_view, list_prices
from registry.content.merge import Side
from registry.examples import embedders
from registry.models import ExampleSet, ExampleSetVersion, Prompt, PromptDraft, PromptVersion
from registry.prompts import drafts, inspection, resolution
from registry.prompts import lifecycle as prompts
from registry.prompts.inspection import Inspection
from registry.views.frame import done, errors_of, in_project, only_post, page, page_url, refused, whole

# Numbers that a browser holds exactly.
MOST_SAVES = 2**53
LONGEST_WINDOW = 64
# Settings that have a field of their own; any other is kept and edited as JSON.
USUAL_SETTINGS = ("name", "temperature", "top_p", "max_tokens")
# Where the editor keeps "other settings" that are no JSON yet (static/js/document.js); no commit takes the name.
UNREADABLE = "(unreadable)"
# Members that have a place of their own in the editor; anything else of a document is carried along untouched.
EDITED_MEMBERS = ("kind", "messages", "text", "model", "response", "variables", "tools", "examples", "includes", ASIDE)


@in_project
def editor(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    actor.require(Right.EDIT)
    prompt = _writable(actor, name)
    number = whole(request.GET.get("from", ""))
    start = resolution.resolve(actor.project, Reference(name, Number(number))) if number else None
    sheet = drafts.open_sheet(actor, prompt, start)
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
        "other_settings": model.get(UNREADABLE) or _json({k: v for k, v in model.items() if k not in USUAL_SETTINGS}),
        "response": {**aside, **_object(document.get("response"))},
        "schema": _json(_object(document.get("response")).get("schema")) or aside.get("schema", ""),
        "tools": _json(document.get("tools")),
        "state": _state(actor, prompt, sheet),
        "blank_user": {"role": "user", "content": ""},
        "blank_placeholder": {"role": "placeholder", "name": ""},
        "roles": ROLES,
        "formats": RESPONSE_FORMATS,
        "types": VARIABLE_TYPES,
        "models": _models(actor, model),
        **_examples(actor, _object(document.get("examples"))),
    }
    return page(request, actor, "registry/editor/editor.html", context)


def _writable(actor: Actor, name: str) -> Prompt:
    prompt = prompts.named(actor.project, name)
    if prompt.archived_at:
        raise Problem("prompt.archived", f"{name} is archived; restore it to write on it.")
    return prompt


def _examples(actor: Actor, asked: dict[str, Any]) -> dict[str, Any]:
    """What examples can be picked from: the newest version of each set in use, and the one that is pinned now."""
    newest = ExampleSetVersion.objects.filter(
        pk__in=ExampleSet.objects.filter(project=actor.project, archived_at=None, head__isnull=False).values("head")
    )
    pinned = ExampleSetVersion.objects.filter(
        example_set__project=actor.project, content_hash=str(asked.get("set", ""))[:71]
    )
    choices = (newest | pinned).select_related("example_set").order_by("example_set__name", "-number")
    names = embedders.names()
    return {
        "examples": asked,
        "sets": list(choices),
        "selections": SELECTIONS,
        "default_k": DEFAULT_K,
        "embedders": names if asked.get("embedder") in (None, *names) else [str(asked["embedder"]), *names],
    }


def _state(actor: Actor, prompt: Prompt, sheet: drafts.Sheet) -> dict[str, Any]:
    """What the page's script starts from."""
    return {
        "save": page_url("registry:draft-save", actor, prompt.name),
        "revision": sheet.revision,
        "base": sheet.base.number if sheet.base else None,
        "seen": sheet.seen.number if sheet.seen else None,
        "samples": drafts.samples(prompt),
        "variables": _object(sheet.document.get("variables")),
        "carried": {k: v for k, v in sheet.document.items() if k not in EDITED_MEMBERS},
        "includes": _object(sheet.document.get("includes")),
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
    """Names to offer: those in use here first, then what is listed."""
    heads = PromptVersion.objects.filter(prompt__project=actor.project, prompt__head__isnull=False)
    used = heads.filter(content__model__has_key="name").order_by("-id").values_list("content__model__name", flat=True)
    names = [str(model.get("name") or ""), *(str(one) for one in used[:200]), *list_prices.listed_models()]
    return [one for one in dict.fromkeys(names) if one]


@in_project
@only_post
def draft_save(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """Keep the draft (unless nothing was typed yet) and say what is to be said about it. Called while typing."""
    try:
        actor.require(Right.EDIT)
        prompt = _writable(actor, name)
        asked = _asked(request)
        revision: int = asked["revision"]
        if asked.get("save"):
            revision = drafts.save(
                actor,
                prompt,
                document=asked.get("document"),
                revision=revision,
                window=drafts.Window(asked["window"], asked["serial"]),
                base=asked.get("base"),
                seen=asked.get("seen"),
            )
            drafts.keep_samples(actor, prompt, _object(asked.get("sampled")))
        found = inspection.inspect(actor.project, prompt, asked.get("document"), _object(asked.get("samples")))
    except Problem as problem:
        return JsonResponse(problem.as_document(), status=problem.kind.status)
    newest = prompt.head
    messages = list(zip(found.rendered["messages"], found.message_tokens, strict=True)) if found.rendered else []
    context = {"found": found, "messages": messages, "project": actor.project, "prompt": prompt}
    answer = {
        "revision": revision,
        "preview": render_to_string("registry/editor/_preview.html", context, request),
        "is_rendered": found.rendered is not None,
        "newest": {"number": newest.number, "author": newest.author_name} if newest else None,
        **_marks(found),
    }
    return JsonResponse(answer)


def _asked(request: HttpRequest) -> dict[str, Any]:
    """The body of a save: a document, samples, and what says which save it is."""
    faults: list[Fault] = []
    try:
        asked = plain(json.loads(request.body), faults)
    except (ValueError, RecursionError):
        raise Problem("request.malformed", "The draft cannot be read as JSON.") from None
    asked = asked if isinstance(asked, dict) else {}
    faults += [
        Fault(f"/{name}", "type", f"A save has its {name}, a whole number.")
        for name in ("revision", "serial")
        if type(asked.get(name)) is not int or not 0 <= asked[name] < MOST_SAVES
    ]
    faults += [
        Fault(f"/{name}", "type", "Must be a version's number or null.")
        for name in ("base", "seen")
        if asked.get(name) is not None and (type(asked[name]) is not int or not 0 < asked[name] < 2**31)
    ]
    if not isinstance(asked.get("window"), str) or not 1 <= len(asked["window"]) <= LONGEST_WINDOW:
        faults.append(Fault("/window", "type", "A save names its window."))
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    return asked


def _marks(found: Inspection) -> dict[str, Any]:
    """What the script puts beside the fields: faults, findings, and the variables that there are."""
    return {
        "can_be_committed": found.can_be_committed,
        "marks": [
            {
                "severity": one.severity,
                "message": one.message,
                "pointer": one.pointer,
                "line": one.line,
                "refused": one in found.faults,
            }
            for one in (*found.faults, *found.findings)
        ],
        "variables": [
            {
                "name": one.name,
                "type": one.type,
                "inherited": one.is_inherited,
                "used": one.is_used,
                "required": one.is_required,
            }
            for one in found.variables
        ],
        "stand_ins": list(found.stand_ins),
    }


@in_project
@only_post
def draft_discard(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    try:
        drafts.discard(actor, prompts.named(actor.project, name), revision=whole(request.POST.get("revision", "")) or 0)
    except Problem as problem:
        return refused(request, problem, page_url("registry:editor", actor, name))
    number = whole(request.POST.get("from", ""))
    if request.POST.get("next") == "edit" and number:
        return redirect(f"{page_url('registry:editor', actor, name)}?from={number}")
    return done(request, "The draft is gone.", page_url("registry:prompt-detail", actor, name))


def _draft_of(actor: Actor, name: str) -> PromptDraft:
    """The person's draft of a prompt that can be written on."""
    actor.require(Right.EDIT)
    draft = drafts.of(actor, _writable(actor, name))
    if draft is None:
        raise Problem("draft.not_found", f"You have no draft of {name}; it may have been committed already.")
    return draft


@in_project
def draft_commit(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """What the draft changes, and a message for it; then the commit."""
    message = request.POST.get("message", "")
    problem: Problem | None = None
    if request.method == "POST":
        revision = whole(request.POST.get("revision", "")) or 0
        try:
            committed = drafts.commit(actor, _writable(actor, name), revision=revision, message=message.strip())
        except Problem as refusal:
            problem = refusal
        else:
            number = committed.version.number
            sentence = f"Version {number} is committed." if committed.created else f"That is version {number} already."
            return done(request, sentence, page_url("registry:version-detail", actor, name, number))
    draft = _draft_of(actor, name)
    found = inspection.inspect(actor.project, draft.prompt, draft.document, drafts.samples(draft.prompt))
    context: dict[str, Any] = {
        "section": "prompts",
        "prompt": draft.prompt,
        "draft": draft,
        "found": found,
        "is_behind": draft.seen_id != draft.prompt.head_id,
        "message": message,
        "errors": errors_of(problem) if problem else {},
    }
    if found.as_committed:
        before = draft.base.content if draft.base else nothing(found.as_committed["kind"])
        context["comparison"] = diff_view.compare(before, found.as_committed)
    return page(request, actor, "registry/editor/commit.html", context, status=problem.kind.status if problem else 200)


@in_project
def draft_merge(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """What somebody committed meanwhile, beside what the draft changes; each part can be chosen."""
    draft = _draft_of(actor, name)
    prompt = draft.prompt
    if draft.seen_id == prompt.head_id or prompt.head is None:
        return done(request, "Your draft is up to date.", page_url("registry:editor", actor, name))
    if request.method == "POST":
        choices = {k.removeprefix("choose:"): v for k, v in request.POST.items() if k.startswith("choose:")}
        try:
            drafts.rebase(
                actor,
                prompt,
                revision=whole(request.POST.get("revision", "")) or 0,
                newest=whole(request.POST.get("newest", "")) or 0,
                choices={key: cast(Side, side) for key, side in choices.items() if side in ("base", "theirs", "mine")},
            )
        except Problem as problem:
            return refused(request, problem, page_url("registry:draft-merge", actor, name))
        sentence = f"Your draft now starts from version {prompt.head.number}."
        return done(request, sentence, page_url("registry:editor", actor, name))
    parts = [part for part in drafts.three_way(draft) if part.is_changed]
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
    if isinstance(value, dict) and "content" in value and "role" in value:
        return str(value["content"])
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
