"""Import from other products: prompts, and promptfoo's tests as a dataset."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from django.db import transaction

from core.errors import Fault, Problem
from evaluations import tasks
from evaluations.datasets import imports
from evaluations.datasets import lifecycle as datasets
from evaluations.datasets.files import promptfoo
from evaluations.models import Dataset, DatasetImport
from infra.work import start
from registry.accounts.permissions import Actor
from registry.interop import import_prompts
from registry.interop.import_prompts import ImportResult

TESTS_SOURCE = "promptfoo"
MAX_TESTS = 20_000


@dataclass(frozen=True)
class TestsImport:
    """The tests of a document: the number of their cases, the assertions without a scorer here, and, unless it was a
    dry run, the import that a worker carries out."""

    dataset: str
    count: int
    left_out: Sequence[str]
    upload: DatasetImport | None = None


def import_document(
    actor: Actor,
    source: str,
    document: object,
    *,
    names: Mapping[str, str] | None = None,
    dataset: str = "",
    is_dry_run: bool = False,
) -> tuple[list[ImportResult], TestsImport | None]:
    """Import prompts (registry.interop.import_prompts) and, with a `dataset`, a promptfoo file's tests into it."""
    if not dataset:
        return import_prompts.import_prompts(actor, source, document, names=names, is_dry_run=is_dry_run), None
    if source != TESTS_SOURCE or not isinstance(document, str):
        fault = Fault("/dataset", "choice", "Only a promptfoo file, as text, has tests for a dataset.")
        raise Problem("request.invalid", fault.message, faults=[fault])
    with transaction.atomic():
        results = import_prompts.import_prompts(actor, source, document, names=names, is_dry_run=is_dry_run)
        tests = _import_tests(actor, document, dataset)
        if is_dry_run:
            transaction.set_rollback(True)
    return results, TestsImport(tests.dataset, tests.count, tests.left_out, None if is_dry_run else tests.upload)


def _import_tests(actor: Actor, document: str, name: str) -> TestsImport:
    """Have a worker import the tests into the dataset of that name, a new one where there is none."""
    count = sum(1 for _ in islice(promptfoo.rows(document), MAX_TESTS + 1))
    if count > MAX_TESTS:
        # A short file may stand for millions, and a user is waiting for this.
        sentence = f"The tests stand for more than {MAX_TESTS:,} cases; write them out as JSON lines and import those."
        raise Problem(promptfoo.UNREADABLE, sentence)
    left_out = promptfoo.plan_assertions(promptfoo.read_document(document)).left_out
    dataset = Dataset.objects.filter(project=actor.project, name=name).first() or datasets.create(actor, name=name)
    upload = imports.begin(actor, dataset, filename="promptfooconfig.yaml", message="Tests of promptfoo")
    data = document.encode()
    for number, start_byte in enumerate(range(0, len(data), imports.MAX_PART_BYTES), 1):
        imports.put_part(actor, upload, number, data[start_byte : start_byte + imports.MAX_PART_BYTES])
    started = imports.start(actor, upload)
    start(tasks.read_import, started.pk)
    return TestsImport(name, count, left_out, started)
