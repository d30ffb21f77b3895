"""Imports of files into a dataset: uploaded in parts, and read by a worker, which reports its progress."""

import json
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

from django.db import transaction
from django.db.models import Max, QuerySet, Sum
from django.db.models.functions import Length
from django.utils import timezone

from core.errors import Fault, Problem
from core.json_values import MAX_FAULTS
from evaluations.datasets import ingest
from evaluations.datasets.files import promptfoo
from evaluations.datasets.files.column_uses import read_uses
from evaluations.datasets.files.file_mapping import FileMapping
from evaluations.datasets.files.file_preview import FilePreview, preview_file
from evaluations.datasets.files.formats import format_of, read_rows
from evaluations.datasets.files.row_mapping import Columns
from evaluations.datasets.ingest import DatasetChange, IngestResult
from evaluations.datasets.row import Row
from evaluations.models import Dataset, DatasetImport, ImportPart, ImportState, PartKind
from infra import work
from infra.work import Lease
from registry.accounts import api_keys, audit
from registry.accounts.permissions import Actor, Right

logger = logging.getLogger(__name__)

# A part is a request's body; the limit on those is 2 MB.
MAX_PART_BYTES = 1024 * 1024
MAX_FILE_BYTES = 2 * 1024 * 1024 * 1024
MAX_PARTS = MAX_FILE_BYTES // MAX_PART_BYTES
MAX_FILENAME_LENGTH = 200
# A preview reads so much of the beginning.
MAX_PREVIEWED_PARTS = 4
MAX_PREVIEWED_TESTS = 256 * 1024
# Unfinished uploads, and the files of finished imports, are deleted after this time.
RETENTION = timedelta(days=7)
# The part of a rejected row that is stored: enough to find and fix it.
MAX_REJECTED_LENGTH = 4_000


def begin(
    actor: Actor,
    dataset: Dataset,
    *,
    filename: str,
    form: str = "",
    columns: Mapping[str, Any] | None = None,
    replace: bool = False,
    skip_bad: bool = False,
    message: str = "",
    size: int | None = None,
) -> DatasetImport:
    """Create an import that waits for the parts of its file; with its `size` in bytes it starts with no fewer."""
    actor.require(Right.EDIT)
    if dataset.archived_at:
        raise Problem("dataset.archived", f"{dataset.name} is archived; restore it to change it.")
    if not 1 <= len(filename) <= MAX_FILENAME_LENGTH:
        fault = Fault("/filename", "length", f"Must have 1 to {MAX_FILENAME_LENGTH} characters.")
        raise Problem("request.invalid", fault.message, faults=[fault])
    if len(message) > ingest.MAX_MESSAGE:
        fault = Fault("/message", "too_long", f"Must have at most {ingest.MAX_MESSAGE} characters.")
        raise Problem("request.invalid", fault.message, faults=[fault])
    settings, own_form = dict(columns or {}), form or format_of(filename)
    read_uses(settings.get("uses") or {}, own_form)
    return DatasetImport.objects.create(
        dataset=dataset,
        filename=Path(filename).name or filename,
        format=own_form,
        columns=settings,
        bytes=size or 0,
        replace=replace,
        skip_bad=skip_bad,
        message=message,
        by=actor.user,
        by_key=actor.key,
        by_name=actor.name,
    )


def get_import(dataset: Dataset, key: int) -> DatasetImport:
    upload = DatasetImport.objects.filter(dataset=dataset, pk=key).select_related("version").first()
    if upload is None:
        raise Problem("import.not_found", f"{dataset.name} has no import {key}.")
    upload.dataset = dataset
    return upload


@transaction.atomic
def put_part(actor: Actor, upload: DatasetImport, number: int, data: bytes) -> DatasetImport:
    """Save a part of the file (1, 2, 3); sending one again replaces it."""
    actor.require(Right.EDIT)
    if number < 1:
        raise Problem("request.invalid", "A file's parts are numbered from 1.")
    if number > MAX_PARTS:
        raise Problem("import.too_large", f"A file has at most {MAX_FILE_BYTES // 2**30} GB.")
    if not 0 < len(data) <= MAX_PART_BYTES:
        raise Problem("import.too_large", f"A part has 1 to {MAX_PART_BYTES:,} bytes.")
    locked = _in_state(upload, ImportState.UPLOADING)
    ImportPart.objects.update_or_create(of=locked, kind=PartKind.FILE, number=number, defaults={"data": data})
    return locked


def preview(actor: Actor, upload: DatasetImport, uses: Mapping[str, Any] | None = None) -> FilePreview:
    """Show how the first rows of an uploaded file would be imported, with `uses` in place of what the import says of
    columns. Nothing is written. Parquet and promptfoo's tests are read as a whole, so only small files have one."""
    actor.require(Right.EDIT)
    if upload.state != ImportState.UPLOADING:
        raise Problem("import.wrong_state", f"This import is {ImportState(upload.state).label.lower()}.")
    settings = {**upload.columns, **({} if uses is None else {"uses": read_uses(uses, upload.format)})}
    parts = list(upload.parts.filter(kind=PartKind.FILE).order_by("number")[: MAX_PREVIEWED_PARTS + 1])
    if [part.number for part in parts] != list(range(1, len(parts) + 1)) or not parts:
        raise Problem("import.incomplete", "The beginning of the file has not arrived.")
    data = b"".join(bytes(part.data) for part in parts[:MAX_PREVIEWED_PARTS])
    is_cut = len(parts) > MAX_PREVIEWED_PARTS
    if (upload.format == "parquet" and is_cut) or (upload.format == "promptfoo" and len(data) > MAX_PREVIEWED_TESTS):
        raise Problem("import.no_preview", f"A preview of {upload.format} needs the whole file; this one is too large.")
    with tempfile.NamedTemporaryFile(prefix="cuebook-preview-") as file:
        file.write(data)
        file.flush()
        path, columns = Path(file.name), read_columns(settings)
        return preview_file(path, upload.format, columns, name=upload.filename, is_cut=is_cut)


@transaction.atomic
def start(actor: Actor, upload: DatasetImport, *, uses: Mapping[str, Any] | None = None) -> DatasetImport:
    """Start an import whose file is complete; a worker reads it. `uses` replaces what the import says of columns."""
    actor.require(Right.EDIT)
    locked = _in_state(upload, ImportState.UPLOADING)
    if uses is not None:
        locked.columns = {**locked.columns, "uses": read_uses(uses, locked.format)}
    parts = locked.parts.filter(kind=PartKind.FILE)
    totals = parts.aggregate(last=Max("number"), bytes=Sum(Length("data")))
    if not totals["last"]:
        raise Problem("import.incomplete", "No part of the file has arrived.")
    if parts.count() != totals["last"]:
        raise Problem("import.incomplete", f"Of {totals['last']} parts, {totals['last'] - parts.count()} are missing.")
    if locked.bytes and totals["bytes"] != locked.bytes:
        sentence = f"{totals['bytes']:,} of {locked.bytes:,} bytes have arrived."
        raise Problem("import.incomplete", sentence)
    locked.state, locked.bytes = ImportState.PENDING, totals["bytes"]
    locked.save(update_fields=["state", "bytes", "columns"])
    audit.record(actor, "import.started", locked, after={"bytes": locked.bytes, "replace": locked.replace})
    return locked


@transaction.atomic
def retry(actor: Actor, upload: DatasetImport, *, skip_bad: bool) -> DatasetImport:
    """Read a refused file again, for example without its bad rows; it need not be uploaded again."""
    actor.require(Right.EDIT)
    locked = _in_state(upload, ImportState.FAILED)
    if not locked.parts.filter(kind=PartKind.FILE).exists():
        raise Problem("import.incomplete", "The file has been deleted; upload it again.")
    work.put_back(DatasetImport.objects.filter(pk=locked.pk), skip_bad=skip_bad, faults=[])
    locked.refresh_from_db()
    locked.dataset = upload.dataset
    audit.record(actor, "import.started", locked, after={"bytes": locked.bytes, "skip_bad": skip_bad})
    return locked


def claimable_imports() -> QuerySet[DatasetImport]:
    """Return what waits for a worker, or was left by one that went silent."""
    return DatasetImport.objects.filter(DatasetImport.claimable()).order_by("id")


def read_file(upload: DatasetImport) -> None:
    """Read the file into the dataset; does nothing where another worker holds the import."""
    lease = work.claim(upload, rows_read=0, rows_bad=0)
    if lease is None:
        return
    upload.parts.filter(kind=PartKind.REJECTED).delete()
    rejects = _Rejects(upload)
    work.run(lease, lambda: _read_file(lease, rejects), fail=lambda problem: _fail(lease, rejects, problem))
    if upload.state == ImportState.DONE:
        upload.parts.filter(kind=PartKind.FILE).delete()


def _read_file(lease: Lease[DatasetImport], rejects: "_Rejects") -> None:
    upload = lease.item
    with tempfile.NamedTemporaryFile(prefix="cuebook-import-") as file:
        _write(upload, file)
        path = Path(file.name)
        actor = api_keys.actor_for_work(upload, upload.dataset.project)
        mapping = FileMapping()
        loaded = _load(actor, lease, path, rejects, mapping)
        plan = promptfoo.plan_file_assertions(path) if upload.format == "promptfoo" else None
    rejects.close()
    lease.finish(
        ImportState.DONE,
        version=loaded.version,
        rows_read=loaded.read,
        rows_added=loaded.added,
        rows_known=loaded.unchanged,
        rows_bad=loaded.bad,
        faults=rejects.first,
        mapping={
            use: {printable(name): rows for name, rows in counts.items()} for use, counts in mapping.as_dict().items()
        },
        scorers=list(plan.scorers) if plan else [],
        left_out=[printable(sentence) for sentence in plan.left_out] if plan else [],
    )


def _fail(lease: Lease[DatasetImport], rejects: "_Rejects", problem: Problem) -> None:
    """End a failed import with its reason, whatever the file did to the reader, and without endless retries."""
    rejects.close()
    faults = [_fault_as_dict(fault) for fault in problem.faults[:MAX_FAULTS]] or rejects.first
    lease.finish(ImportState.FAILED, error=printable(problem.detail)[: work.MAX_ERROR_LENGTH], faults=faults)


def rejected_rows(upload: DatasetImport) -> Iterator[bytes]:
    """Stream the file of rows that were left out: `{"line": 7, "faults": [...], "row": ...}` a line."""
    for part in upload.parts.filter(kind=PartKind.REJECTED).order_by("number").iterator(chunk_size=4):
        yield bytes(part.data)


def clear_old() -> int:
    """Delete the files of imports that are over or were never finished; their results stay."""
    old = DatasetImport.objects.filter(created_at__lt=timezone.now() - RETENTION).exclude(
        state__in=("pending", "running")
    )
    return ImportPart.objects.filter(of__in=old).delete()[0]


def read_columns(settings: Mapping[str, Any]) -> Columns:
    """Read the column names that an import has stored."""
    renamed = settings.get("renamed") or {}
    return Columns(
        str(settings.get("expected") or ""),
        str(settings.get("group") or ""),
        tuple(sorted(renamed.items())),
        tuple(settings.get("left_out") or ()),
        dict(settings.get("uses") or {}),
    )


def rejected_line(row: Row, faults: Sequence[Fault]) -> str:
    """Write a line of the file of rejected rows."""
    try:
        row_text = json.dumps(row.raw, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        # A file can have values that JSON has not: dates as names, lists within themselves, infinite numbers.
        row_text = "null"
    if len(row_text) > MAX_REJECTED_LENGTH:
        row_text = json.dumps(row_text[:MAX_REJECTED_LENGTH], ensure_ascii=False)
    fault_list = [{"pointer": printable(fault.pointer), "message": printable(fault.message)} for fault in faults]
    head = json.dumps({"line": row.line, "faults": fault_list}, ensure_ascii=False)
    return f'{head[:-1]}, "row": {printable(row_text)}}}\n'


def printable(text: str) -> str:
    """Escape a text for the database and UTF-8: no NUL, and no half of a surrogate pair."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


class _Rejects:
    """Rejected rows, written into parts of a file as they come."""

    def __init__(self, upload: DatasetImport) -> None:
        self._upload = upload
        self._lines: list[str] = []
        self._size = self._parts = 0
        self.first: list[dict[str, Any]] = []

    def __call__(self, row: Row, faults: Sequence[Fault]) -> None:
        if len(self.first) < MAX_FAULTS:
            self.first += [
                _fault_as_dict(Fault(f"/lines/{row.line}{fault.pointer}", fault.code, fault.message))
                for fault in faults
            ]
        self._lines.append(rejected_line(row, faults))
        self._size += len(self._lines[-1])

    def flush(self) -> None:
        """Write a full part; called between two copies, because no other statement may run within one."""
        if self._size >= MAX_PART_BYTES:
            self.close()

    def close(self) -> None:
        if self._lines:
            self._parts += 1
            data = "".join(self._lines).encode("utf-8", "replace")
            ImportPart.objects.create(of=self._upload, kind=PartKind.REJECTED, number=self._parts, data=data)
        self._lines, self._size = [], 0


def _load(
    actor: Actor, lease: Lease[DatasetImport], path: Path, rejects: _Rejects, mapping: FileMapping
) -> IngestResult:
    upload = lease.item

    def report_progress(read: int, bad: int) -> None:
        lease.save(rows_read=read, rows_bad=bad)
        rejects.flush()

    columns = read_columns(upload.columns)
    rows = read_rows(path, upload.format, columns, name=upload.filename, mapping=mapping)
    change = DatasetChange(replace=upload.replace, message=upload.message or f"From {upload.filename}")
    return ingest.load(
        actor,
        upload.dataset,
        rows,
        change,
        reject=rejects if upload.skip_bad else None,
        report_progress=report_progress,
    )


def _write(upload: DatasetImport, file: IO[bytes]) -> None:
    for part in upload.parts.filter(kind=PartKind.FILE).order_by("number").iterator(chunk_size=4):
        file.write(part.data)
    file.flush()


def _in_state(upload: DatasetImport, state: ImportState) -> DatasetImport:
    locked = DatasetImport.objects.select_for_update().get(pk=upload.pk)
    locked.dataset = upload.dataset
    if locked.state != state:
        raise Problem("import.wrong_state", f"This import is {ImportState(locked.state).label.lower()}.")
    return locked


def _fault_as_dict(fault: Fault) -> dict[str, Any]:
    _, _, line, *members = [*fault.pointer.split("/"), "", ""][: max(3, fault.pointer.count("/") + 1)]
    return {
        "line": int(line) if line.isdigit() else None,
        "pointer": printable("".join(f"/{member}" for member in members if member)),
        "code": fault.code,
        "message": printable(fault.message),
    }
