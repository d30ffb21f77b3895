"""Pages of imports: choosing a file, and its progress."""

from collections.abc import Mapping
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django_htmx.http import HttpResponseClientRefresh

from core.errors import Problem
from evaluations import tasks
from evaluations.api.imports import rejected_answer
from evaluations.datasets import imports
from evaluations.datasets import lifecycle as datasets
from evaluations.datasets.files.column_uses import (
    EXPECTED,
    GROUP,
    INPUT,
    LABEL,
    LEAVE_OUT,
    NAMED_VARIABLE,
    TAG,
    VARIABLE,
)
from evaluations.datasets.files.file_preview import FilePreview, PreviewedColumn
from evaluations.models import Dataset, DatasetImport, ImportState
from evaluations.views.data.datasets import heading
from infra.http.body_limits import accepts_files
from infra.work import start
from registry.accounts.permissions import Actor, Right
from registry.views.frame import errors_of, in_project, only_post, page, page_url, refused

# Without scripts a file comes in one piece.
USE_TITLES = (
    (VARIABLE, "Variable"),
    (INPUT, "Input (the variable “input”)"),
    (EXPECTED, "Expected output"),
    (LABEL, "Label"),
    (TAG, "Tag"),
    (GROUP, "Group"),
    (LEAVE_OUT, "Leave out"),
)
# What a column is where nobody says anything of it.
NAME_TITLES = {
    "variables": "as named: variable",
    "expected": "as named: expected output",
    "left_out": "as named: left out",
}
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
        size=file.size,
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
    problem: Problem | None = None
    preview: FilePreview | None = None
    try:
        preview = imports.preview(actor, upload)
        if request.method == "POST":
            uses = _posted_uses(request, preview, upload.columns.get("uses") or {})
            if request.POST.get("do") == "import":
                return _start(actor, upload, uses)
            preview = imports.preview(actor, upload, uses)
    except Problem as refusal:
        problem = refusal
        if request.method == "POST" and refusal.code == "import.no_preview":
            return _start(actor, upload, None)
    context |= {
        "import": upload,
        "preview": preview,
        "problem": problem,
        "rows": [_column_row(column) for column in preview.columns] if preview else [],
        "uses": USE_TITLES,
    }
    # Without a preview a file can be imported as well.
    status = problem.kind.status if problem and request.method == "POST" else 200
    return page(request, actor, "evaluations/datasets/import_preview.html", context, status=status)


def _start(actor: Actor, upload: DatasetImport, uses: dict[str, str] | None) -> HttpResponse:
    started = imports.start(actor, upload, uses=uses)
    start(tasks.read_import, started.pk)
    return redirect(page_url("evaluations:import-detail", actor, upload.dataset.name, upload.pk))


def _column_row(column: PreviewedColumn) -> dict[str, Any]:
    is_named = column.use.startswith(NAMED_VARIABLE)
    read_as = NAME_TITLES.get(column.read_as) or (f"as named: {column.read_as}" if column.read_as else "as named")
    return {
        "column": column,
        "use": VARIABLE if is_named else column.use,
        "variable": column.use.removeprefix(NAMED_VARIABLE) if is_named else column.name,
        "read_as": read_as,
        "is_variable": column.read_as == "variables",
        "samples": " · ".join(column.samples),
    }


def _posted_uses(request: HttpRequest, preview: FilePreview, stored: Mapping[str, str]) -> dict[str, str]:
    """Return what was chosen for the columns that are shown, by their place (browsers change line ends in names), over
    what the import said of others; a variable of another name has that beside it."""
    uses = dict(stored)
    for place, column in enumerate(preview.columns):
        use = request.POST.get(f"use:{place}", column.use)
        name = request.POST.get(f"name:{place}", "").strip()
        is_variable = use == VARIABLE or (not use and column.read_as == "variables")
        if is_variable and name not in ("", column.name):
            use = f"{NAMED_VARIABLE}{name}"
        uses[column.name] = use
    return {name: use for name, use in uses.items() if use}


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
