"""Pages of imports: choosing a file, and its progress."""

from contextlib import suppress
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.text import Truncator
from django_htmx.http import HttpResponseClientRefresh

from core.errors import Problem
from evaluations import tasks
from evaluations.api.imports import rejected_answer
from evaluations.datasets import imports
from evaluations.datasets import lifecycle as datasets
from evaluations.datasets.column_uses import (
    EXPECTED,
    GROUP,
    INPUT,
    LEAVE_OUT,
    MAX_COLUMNS,
    NAMED_VARIABLE,
    TAG,
    VARIABLE,
)
from evaluations.datasets.file_preview import PreviewedColumn
from evaluations.models import Dataset, DatasetImport, ImportState
from evaluations.views.datasets import heading
from infra.http.body_limits import accepts_files
from infra.work import start
from registry.accounts.permissions import Actor, Right
from registry.templatetags.registry_text import plain
from registry.views.frame import errors_of, in_project, only_post, page, page_url, refused

# Without scripts a file comes in one piece.
USE_TITLES = (
    ("", "By its name"),
    (VARIABLE, "Variable"),
    (INPUT, "Input (the variable “input”)"),
    (EXPECTED, "Expected output"),
    (TAG, "Tag"),
    (GROUP, "Group"),
    (LEAVE_OUT, "Leave out"),
)
MAX_SAMPLE_LENGTH = 80
MAX_IN_ONE_PIECE = 32 * 1024 * 1024
FIELDS = ("message", "mode", "skip_bad")


@accepts_files(MAX_IN_ONE_PIECE)
@in_project
def import_new(request: HttpRequest, actor: Actor, name: str) -> HttpResponse:
    """Choose a file. With scripts it is uploaded in parts over the API, with a progress bar; without, in one piece."""
    actor.require(Right.EDIT)
    context = heading(actor, name, "import")
    values = {key: request.POST.get(key, "") for key in FIELDS}
    context |= {"values": values, "part_size": imports.MAX_PART_BYTES}
    if request.method != "POST":
        return page(request, actor, "evaluations/datasets/import_new.html", context)
    try:
        upload = _receive(request, actor, context["dataset"], values)
    except Problem as problem:
        context["errors"] = errors_of(problem, {"dataset.unreadable": "file", "import.too_large": "file"})
        return page(request, actor, "evaluations/datasets/import_new.html", context, status=problem.kind.status)
    return redirect(page_url("evaluations:import-detail", actor, name, upload.pk))


def _receive(request: HttpRequest, actor: Actor, dataset: Dataset, values: dict[str, str]) -> DatasetImport:
    file = request.FILES.get("file")
    if not isinstance(file, UploadedFile) or not file.name:
        raise Problem("dataset.unreadable", "Choose a file.")
    if (file.size or 0) > MAX_IN_ONE_PIECE:
        limit = MAX_IN_ONE_PIECE // 2**20
        sentence = f"Without scripts a file has at most {limit} MB; enable them, or use the command."
        raise Problem("import.too_large", sentence)
    if not file.size:
        raise Problem("dataset.unreadable", f"{file.name} is empty. Choose a file with rows.")
    upload = imports.begin(
        actor,
        dataset,
        filename=file.name,
        replace=values["mode"] == "replace",
        skip_bad=bool(values["skip_bad"]),
        message=values["message"].strip(),
    )
    for number, part in enumerate(file.chunks(imports.MAX_PART_BYTES), start=1):
        imports.put_part(actor, upload, number, part)
    return upload


@in_project
def import_detail(request: HttpRequest, actor: Actor, name: str, key: int) -> HttpResponse:
    """Show the progress of an import; its panel loads itself again."""
    context = heading(actor, name, "import")
    upload = imports.get_import(context["dataset"], key)
    if upload.state == ImportState.UPLOADING:
        return _preview(request, actor, context, upload)
    context |= {"import": upload, "is_over": upload.state in (ImportState.DONE, ImportState.FAILED)}
    if getattr(request, "htmx", None):
        answer = render(request, "evaluations/datasets/_import.html", {**context, "project": actor.project})
        # Done: the whole page is reloaded, whose heading counts the cases.
        return HttpResponseClientRefresh() if context["is_over"] else answer
    return page(request, actor, "evaluations/datasets/import_detail.html", context)


def _preview(request: HttpRequest, actor: Actor, context: dict[str, Any], upload: DatasetImport) -> HttpResponse:
    """Show how the first rows are read, with a use to choose for each column; then start the import."""
    actor.require(Right.EDIT)
    uses = _posted_uses(request) if request.method == "POST" else None
    problem: Problem | None = None
    preview = None
    try:
        if uses is not None and request.POST.get("do") == "import":
            started = imports.start(actor, upload, uses=uses)
            start(tasks.read_import, started.pk)
            return redirect(page_url("evaluations:import-detail", actor, upload.dataset.name, upload.pk))
        preview = imports.preview(actor, upload, uses)
    except Problem as refusal:
        problem = refusal
        with suppress(Problem):
            preview = imports.preview(actor, upload)
    context |= {
        "import": upload,
        "preview": preview,
        "problem": problem,
        "rows": [_column_row(column) for column in preview.columns] if preview else [],
        "uses": USE_TITLES,
    }
    status = problem.kind.status if problem else 200
    return page(request, actor, "evaluations/datasets/import_preview.html", context, status=status)


def _column_row(column: PreviewedColumn) -> dict[str, Any]:
    renamed = column.use.removeprefix(NAMED_VARIABLE) if column.use.startswith(NAMED_VARIABLE) else column.name
    samples = " · ".join(Truncator(plain(sample)).chars(MAX_SAMPLE_LENGTH) for sample in column.samples)
    use = VARIABLE if renamed != column.name else column.use
    return {"column": column, "use": use, "variable": renamed, "samples": samples}


def _posted_uses(request: HttpRequest) -> dict[str, str]:
    """Return what was chosen for the columns; a variable of another name has that beside it."""
    uses: dict[str, str] = {}
    for column in request.POST.getlist("column")[:MAX_COLUMNS]:
        use = request.POST.get(f"use:{column}", "")
        name = request.POST.get(f"name:{column}", "").strip()
        if use == VARIABLE and name not in ("", column):
            use = f"{NAMED_VARIABLE}{name}"
        if use:
            uses[column] = use
    return uses


@in_project
@only_post
def import_again(request: HttpRequest, actor: Actor, name: str, key: int) -> HttpResponse:
    """Read a refused file again, without its invalid rows."""
    upload = imports.get_import(datasets.get_dataset(actor.project, name), key)
    try:
        imports.retry(actor, upload, skip_bad=True)
    except Problem as problem:
        return refused(request, problem, page_url("evaluations:import-new", actor, name))
    start(tasks.read_import, upload.pk)
    return redirect(page_url("evaluations:import-detail", actor, name, key))


@in_project
def import_rejected(request: HttpRequest, actor: Actor, name: str, key: int) -> HttpResponseBase:
    upload: Any = imports.get_import(datasets.get_dataset(actor.project, name), key)
    return rejected_answer(upload)
