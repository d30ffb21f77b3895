"""What comes in from other products: prompts, and promptfoo's tests as a dataset."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from django.db import transaction

from core.errors import Fault, Problem
from evaluations import tasks
from evaluations.datasets import imports, promptfoo
from evaluations.datasets import lifecycle as datasets
from evaluations.models import Dataset, DatasetImport
from registry.accounts.permissions import Actor
from registry.interop import import_prompts
from registry.interop.import_prompts import Brought
from registry.tasks import start

WITH_TESTS = "promptfoo"
MOST_TESTS = 20_000


@dataclass(frozen=True)
class Tests:
    """A document's tests: how many cases they stand for, which of their assertions have no scorer here, and, unless it
    was a dry run, the import that a worker reads them by."""

    dataset: str
    count: int
    left_out: Sequence[str]
    upload: DatasetImport | None = None


def bring(
    actor: Actor,
    source: str,
    document: object,
    *,
    names: Mapping[str, str] | None = None,
    dataset: str = "",
    is_dry_run: bool = False,
) -> tuple[list[Brought], Tests | None]:
    """Bring prompts in (registry.interop.import_prompts) and, where `dataset` names one, the tests of a promptfoo file into it."""
    if not dataset:
        return import_prompts.bring(actor, source, document, names=names, is_dry_run=is_dry_run), None
    if source != WITH_TESTS or not isinstance(document, str):
        fault = Fault("/dataset", "choice", "Only a promptfoo file, as text, has tests for a dataset.")
        raise Problem("request.invalid", fault.message, faults=[fault])
    with transaction.atomic():
        brought = import_prompts.bring(actor, source, document, names=names, is_dry_run=is_dry_run)
        tests = _tests(actor, document, dataset)
        if is_dry_run:
            transaction.set_rollback(True)
    return brought, Tests(tests.dataset, tests.count, tests.left_out, None if is_dry_run else tests.upload)


def _tests(actor: Actor, document: str, name: str) -> Tests:
    """Leave the tests to a worker, into the dataset of that name: a new one where there is none."""
    count = sum(1 for _ in islice(promptfoo.rows(document), MOST_TESTS + 1))
    if count > MOST_TESTS:
        # A short file may stand for millions, and this is asked while somebody waits.
        sentence = f"The tests stand for more than {MOST_TESTS:,} cases; write them out as JSON lines and import those."
        raise Problem(promptfoo.UNREADABLE, sentence)
    left_out = promptfoo.planned(promptfoo.read(document)).left_out
    dataset = Dataset.objects.filter(project=actor.project, name=name).first() or datasets.create(actor, name=name)
    upload = imports.begin(actor, dataset, filename="promptfooconfig.yaml", message="Tests of promptfoo")
    data = document.encode()
    for number, at in enumerate(range(0, len(data), imports.MAX_PART_BYTES), 1):
        imports.put_part(actor, upload, number, data[at : at + imports.MAX_PART_BYTES])
    started = imports.start(actor, upload)
    start(tasks.read_import, started.pk)
    return Tests(name, count, left_out, started)
