"""Pages of example sets: the list, a new one, its examples, the table editor, files, history and description."""

from collections import Counter
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.core.paginator import Paginator
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase

from core.errors import Problem
from core.examples import Shot, read_example
from infra.http.body_limits import accepts_files
from infra.work import start
from registry import tasks
from registry.accounts.permissions import Actor, Right
from registry.api.example_sets import file_answer
from registry.content import example_file
from registry.examples import embedders, example_sets, few_shot, vector_search
from registry.models import Embedding, EmbeddingState, ExamplePlace, ExampleSet, ExampleSetVersion
from registry.views.frame import PAGE_SIZE, done, errors_of, in_project, only_post, page, page_url, refused, whole

ROWS_EDITED = 25
BLANK_ROWS = 3
MAX_NEAREST = 20
MAX_LABELS_SHOWN = 12
MAX_QUERY_LENGTH = 4_000
FIELDS = ("input", "output", "tags", "note")


@in_project
def example_list(request: HttpRequest, actor: Actor) -> HttpResponse:
    is_archive = request.GET.get("archived") == "1"
    search = request.GET.get("search", "").strip()[:200]
    rows = ExampleSet.objects.filter(project=actor.project, archived_at__isnull=not is_archive)
    rows = rows.filter(name__icontains=search) if search else rows
    sets_page = Paginator(rows.select_related("head").order_by("name"), PAGE_SIZE).get_page(request.GET.get("page"))
    context = {
        "section": "examples",
        "page": sets_page,
        "search": search,
        "is_archive": is_archive,
        "embeddings": _embeddings([example_set.head_id for example_set in sets_page if example_set.head_id]),
        "prompt_counts": _prompt_counts(actor, sets_page.object_list),
    }
    return page(request, actor, "registry/examples/example_list.html", context)


def _embeddings(version_ids: list[int]) -> dict[int, Embedding]:
    """Return the newest embedding of each version."""
    rows = Embedding.objects.filter(version__in=version_ids).order_by("id")
    return {row.version_id: row for row in rows}


def _prompt_counts(actor: Actor, sets: Any) -> dict[int, int]:
    """Count the prompts whose newest version picks from each set."""
    rows = actor.project.prompts.current().filter(
        head__example_set__example_set__in=[example_set.pk for example_set in sets]
    )
    counted = rows.values("head__example_set__example_set").annotate(count=Count("pk"))
    return {row["head__example_set__example_set"]: row["count"] for row in counted}


@in_project
def example_new(request: HttpRequest, actor: Actor) -> HttpResponse:
    actor.require(Right.EDIT)
    values = {name: request.POST.get(name, "") for name in ("name", "description")}
    context: dict[str, Any] = {"section": "examples", "values": values}
    if request.method != "POST":
        return page(request, actor, "registry/examples/example_new.html", context)
    try:
        example_set = example_sets.create(actor, name=values["name"].strip(), description=values["description"])
    except Problem as problem:
        at_name = dict.fromkeys(("example_set.invalid_name", "example_set.name_taken"), "name")
        context["errors"] = errors_of(problem, at_name)
        return page(request, actor, "registry/examples/example_new.html", context, status=problem.kind.status)
    return done(
        request,
        f"Example set {example_set.name} created. Add its first examples.",
        page_url("registry:example-add", actor, example_set.name),
    )


def heading(actor: Actor, name: str, tab: str) -> dict[str, Any]:
    """Return the context of the heading of all pages of a set."""
    return {"section": "examples", "set": example_sets.get_example_set(actor.project, name), "tab": tab}


@in_project
def example_detail(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """Show a version's examples, or those nearest to a text."""
    context = heading(actor, name, "examples")
    example_set: ExampleSet = context["set"]
    number = whole(request.GET.get("version", ""))
    version = example_sets.get_version(actor.project, name, str(number)) if number else example_set.head
    context["version"] = version
    if version is not None:
        context |= _examples_context(request, version)
        context["used_by"] = example_sets.prompts_using(example_set)
    return page(request, actor, "registry/examples/example_detail.html", context)


def _examples_context(request: HttpRequest, version: ExampleSetVersion) -> dict[str, Any]:
    near = request.GET.get("near", "").strip()[:MAX_QUERY_LENGTH]
    embedder = request.GET.get("by", "")
    embedder = embedder if embedder in embedders.embedder_names() else embedders.default_embedder()
    context: dict[str, Any] = {
        "near": near,
        "embedder": embedder,
        "embedders": embedders.embedder_names(),
        "work": version.embeddings.filter(embedder=embedders.default_embedder()).first(),
        "labels": _labels(version),
        "page": Paginator(example_sets.version_places(version), PAGE_SIZE).get_page(request.GET.get("page")),
    }
    if near:
        try:
            choice = few_shot.choose_by_similarity(version, {"select": "similar", "k": MAX_NEAREST}, near, embedder)
            context["picked"] = choice.picked
        except Problem as problem:
            context["refusal"] = problem.detail
    return context


def _labels(version: ExampleSetVersion) -> list[dict[str, Any]]:
    """Count the examples of each label; the rarest together."""
    rows: QuerySet[Any] = version.places.values("example__label").annotate(count=Count("pk"))
    counted = Counter({row["example__label"]: row["count"] for row in rows})
    commonest = [{"label": label, "count": count} for label, count in counted.most_common(MAX_LABELS_SHOWN)]
    rest = version.size - sum(row["count"] for row in commonest)
    return [*commonest, {"label": f"{len(counted) - MAX_LABELS_SHOWN:,} others", "count": rest}] if rest else commonest


@in_project
def example_edit(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """Edit examples in a table: a page of rows, and blank ones below."""
    actor.require(Right.EDIT)
    context = heading(actor, name, "edit")
    example_set: ExampleSet = context["set"]
    rows = example_sets.version_places(example_set.head) if example_set.head else ExamplePlace.objects.none()
    places = Paginator(rows, ROWS_EDITED).get_page(request.GET.get("page"))
    stored = [{"key": str(place.example_id), **_fields(example_sets.stored_shot(place.example))} for place in places]
    blank = [{"key": f"new{index}", **dict.fromkeys(FIELDS, "")} for index in range(1, BLANK_ROWS + 1)]
    context |= {"page": places, "rows": stored, "blank": blank, "message": request.POST.get("message", "")}
    if request.method == "POST":
        typed = _typed(request)
        try:
            committed = _revise(actor, example_set, typed, stored, context["message"])
        except Problem as problem:
            context |= {"rows": [row for row in typed if not row["key"].startswith("new")], "problem": problem}
            context["blank"] = [row for row in typed if row["key"].startswith("new")] or blank
            context["errors"] = _by_row(problem, typed)
            return page(request, actor, "registry/examples/example_edit.html", context, status=problem.kind.status)
        return _committed(request, actor, name, committed)
    return page(request, actor, "registry/examples/example_edit.html", context)


def _fields(shot: Shot) -> dict[str, str]:
    """Return an example as the fields of the editor."""
    return {"input": shot.input, "output": shot.output, "tags": ", ".join(shot.tags), "note": shot.note}


def _typed(request: HttpRequest) -> list[dict[str, Any]]:
    """Return every row of the form, as it was typed."""
    keys = [name.removeprefix("input:") for name in request.POST if name.startswith("input:")]
    return [
        {
            "key": key,
            **{field: request.POST.get(f"{field}:{key}", "").replace("\r\n", "\n") for field in FIELDS},
            "removed": f"remove:{key}" in request.POST,
        }
        for key in keys
    ]


def _document(row: dict[str, Any]) -> dict[str, Any]:
    tags = example_file.split_tags(row["tags"])
    return {"input": row["input"], "output": row["output"], "note": row["note"], "tags": tags}


def _revise(
    actor: Actor, example_set: ExampleSet, typed: list[dict[str, Any]], stored: list[dict[str, Any]], message: str
) -> example_sets.CommitResult:
    before = {row["key"]: row for row in stored}
    changed = {
        key: _document(row)
        for row in typed
        if (key := whole(row["key"])) is not None
        and not row["removed"]
        and any(row[field] != before.get(row["key"], {}).get(field) for field in FIELDS)
    }
    removed = [key for row in typed if row["removed"] and (key := whole(row["key"])) is not None]
    added = [
        _document(row) for row in typed if row["key"].startswith("new") and (row["input"] or row["output"].strip())
    ]
    return example_sets.revise(
        actor, example_set, changed=changed, removed=removed, added=added, message=message.strip()
    )


def _by_row(problem: Problem, typed: list[dict[str, Any]]) -> dict[str, str]:
    """Return faults by row: each row is checked alone to find its own."""
    errors: dict[str, str] = {}
    if problem.code == "examples.invalid":
        for row in typed:
            if row["removed"] or (row["key"].startswith("new") and not row["input"] and not row["output"]):
                continue
            faults: list[Any] = []
            read_example(_document(row), faults)
            if faults:
                errors[row["key"]] = " ".join(fault.message for fault in faults)
    return errors


def _committed(request: HttpRequest, actor: Actor, name: str, committed: example_sets.CommitResult) -> HttpResponse:
    tasks.start_embeddings(committed.version)
    number = committed.version.number
    sentence = (
        f"Version {number} saved, with {committed.version.size:,} examples"
        if committed.created
        else f"Nothing changed: version {number} has these examples"
    )
    return done(request, sentence, page_url("registry:example-detail", actor, name))


@accepts_files(example_file.MAX_BYTES)
@in_project
def example_add(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """Add many examples at once: pasted, or from a file."""
    actor.require(Right.EDIT)
    context = heading(actor, name, "add")
    values = {key: request.POST.get(key, "") for key in ("pasted", "message", "mode")}
    context["values"] = values
    if request.method != "POST":
        return page(request, actor, "registry/examples/example_add.html", context)
    try:
        added = _uploaded_shots(request, values["pasted"])
        committed = example_sets.add(
            actor, context["set"], added=added, replace=values["mode"] == "replace", message=values["message"].strip()
        )
    except Problem as problem:
        context |= {"problem": problem, "errors": {"": problem.detail}, "faults": problem.faults[1:]}
        return page(request, actor, "registry/examples/example_add.html", context, status=problem.kind.status)
    return _committed(request, actor, name, committed)


def _uploaded_shots(request: HttpRequest, pasted: str) -> list[Shot]:
    upload = request.FILES.get("file")
    if isinstance(upload, UploadedFile) and upload.name:
        if (upload.size or 0) > example_file.MAX_BYTES:
            raise Problem("examples.too_large", f"A file has at most {example_file.MAX_BYTES // 2**20} MB.")
        return example_file.read_file(upload.read(), upload.name)
    if not pasted.strip():
        raise Problem("examples.unreadable", "Paste examples, or choose a file.")
    return example_file.read_pasted(pasted)


@in_project
def example_history(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    context = heading(actor, name, "history")
    rows = context["set"].versions.order_by("-number")
    context["page"] = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    return page(request, actor, "registry/examples/example_history.html", context)


@in_project
def example_file_of(request: HttpRequest, actor: Actor, name: str, number: int) -> HttpResponseBase:
    version = example_sets.get_version(actor.project, name, str(number))
    return file_answer(version, as_csv=request.GET.get("as") == "csv")


@in_project
def example_about(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    actor.require(Right.EDIT)
    context = heading(actor, name, "about")
    description = request.POST.get("description", context["set"].description)
    context["values"] = {"description": description}
    if request.method == "POST":
        try:
            example_sets.describe(actor, context["set"], description=description.replace("\r\n", "\n"))
        except Problem as problem:
            context["errors"] = errors_of(problem)
            return page(request, actor, "registry/examples/example_about.html", context, status=problem.kind.status)
        return done(request, "Example set saved", page_url("registry:example-detail", actor, name))
    return page(request, actor, "registry/examples/example_about.html", context)


@in_project
@only_post
def example_archive(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    try:
        example_sets.archive(actor, example_sets.get_example_set(actor.project, name))
    except Problem as problem:
        return refused(request, problem, page_url("registry:example-about", actor, name))
    return done(request, f"Example set {name} archived", page_url("registry:example-list", actor))


@in_project
@only_post
def example_restore(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    example_sets.restore(actor, example_sets.get_example_set(actor.project, name))
    return done(request, f"Example set {name} restored", page_url("registry:example-detail", actor, name))


@in_project
@only_post
def example_embed(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """Embed again what failed."""
    actor.require(Right.EDIT)
    head = example_sets.get_example_set(actor.project, name).head
    for work in head.embeddings.filter(state=EmbeddingState.FAILED) if head else ():
        vector_search.retry(work)
        start(tasks.embed, work.pk)
    return done(request, "Embedding restarted", page_url("registry:example-detail", actor, name))
