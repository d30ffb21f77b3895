"""Pages of imports: choosing a file, and its progress."""

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
from evaluations.models import Dataset, DatasetImport, ImportState
from evaluations.views.datasets import heading
from infra.http.body_limits import accepts_files
from infra.work import start
from registry.accounts.permissions import Actor, Right
from registry.views.frame import errors_of, in_project, only_post, page, page_url, refused

# Without scripts a file comes in one piece.
MAX_IN_ONE_PIECE = 32 * 1024 * 1024
FIELDS = ("expected", "group", "rename", "leave_out", "message", "mode", "skip_bad")


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
    renamed = (pair.partition("=") for pair in values["rename"].split(",") if "=" in pair)
    upload = imports.begin(
        actor,
        dataset,
        filename=file.name,
        columns={
            "expected": values["expected"].strip(),
            "group": values["group"].strip(),
            "renamed": {before.strip(): after.strip() for before, _, after in renamed},
            "left_out": [name.strip() for name in values["leave_out"].split(",") if name.strip()],
        },
        replace=values["mode"] == "replace",
        skip_bad=bool(values["skip_bad"]),
        message=values["message"].strip(),
    )
    for number, part in enumerate(file.chunks(imports.MAX_PART_BYTES), start=1):
        imports.put_part(actor, upload, number, part)
    started = imports.start(actor, upload)
    start(tasks.read_import, started.pk)
    return started


@in_project
def import_detail(request: HttpRequest, actor: Actor, name: str, key: int) -> HttpResponse:
    """Show the progress of an import; its panel loads itself again."""
    context = heading(actor, name, "import")
    upload = imports.get_import(context["dataset"], key)
    context |= {"import": upload, "is_over": upload.state in (ImportState.DONE, ImportState.FAILED)}
    if getattr(request, "htmx", None):
        answer = render(request, "evaluations/datasets/_import.html", {**context, "project": actor.project})
        # Done: the whole page is reloaded, whose heading counts the cases.
        return HttpResponseClientRefresh() if context["is_over"] else answer
    return page(request, actor, "evaluations/datasets/import_detail.html", context)


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
