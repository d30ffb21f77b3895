"""Adding cases to a dataset: many at once, all of them or none, each in its split.

Rows are staged first (evaluations.datasets.staging). Then one transaction: the dataset is locked, existing cases are
left out, new groups are assigned to splits (evaluations.datasets.splits), and the cases and the new version are
written.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.db import connection, transaction

from core.errors import Fault, Problem
from core.image_data import UPLOADED_IN_JSON
from evaluations.datasets.cases import SPLITS
from evaluations.datasets.row import Row
from evaluations.datasets.row_images import RowImages
from evaluations.datasets.splits import plan_splits
from evaluations.datasets.staging import MAX_CASES, STAGED, STAGED_COLUMNS, Reject, execute, stage, staging_table
from evaluations.models import Case as StoredCase
from evaluations.models import Dataset, DatasetVersion, Report, ReportKind, ReportState
from infra.bulk_copy import copy_into
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right

MAX_MESSAGE = 500
CASE_COLUMNS = ", ".join(name for name in STAGED_COLUMNS if name not in ("number", "split"))
# The cases of %(dataset)s up to version %(number)s.
EXISTING = """
FROM evaluations_case existing WHERE existing.dataset_id = %(dataset)s AND existing.added_in <= %(number)s
AND NOT EXISTS (
    SELECT FROM evaluations_caseremoval gone WHERE gone.case_id = existing.id AND gone.removed_in <= %(number)s
)
"""
HASH = f"""
SELECT encode(sha256(convert_to('cuebook-dataset-1' || chr(10), 'UTF8') || coalesce(string_agg(
    existing.digest || convert_to(existing.split || chr(10), 'UTF8'), ''::bytea ORDER BY existing.digest, existing.split
), ''::bytea)), 'hex') {EXISTING}
"""
ASSIGN = """
INSERT INTO assigned SELECT placed.group_hash, CASE
    WHEN placed.middle < placed.ends[1] THEN 'train' WHEN placed.middle < placed.ends[2] THEN 'validation'
    WHEN placed.middle < placed.ends[3] THEN 'test' WHEN placed.middle < placed.ends[4] THEN 'general' ELSE 'train' END
FROM (
    SELECT fresh.group_hash, stratum.ends, sum(fresh.size) OVER (
        PARTITION BY stratum.name ORDER BY sha256(convert_to(%(seed)s || ':' || fresh.group_hash, 'UTF8'))
    ) - fresh.size / 2.0 AS middle
    FROM fresh JOIN stratum ON stratum.label = fresh.label
) placed
"""

# The images that the cases name which were just added.
NAMED_IMAGES = f"""
CREATE TEMPORARY TABLE named_image ON COMMIT DROP AS
SELECT DISTINCT named.case_id, 'image:' || named.parts[1] || ':' || named.parts[2] AS address, named.parts[2] AS sha256
FROM (
    SELECT fresh.id AS case_id, regexp_matches(fresh.variables::text, '{UPLOADED_IN_JSON}', 'g') AS parts
    FROM evaluations_case fresh WHERE fresh.dataset_id = %(dataset)s AND fresh.added_in = %(next)s
    AND fresh.variables::text LIKE '%%image:%%'
) named
"""
LINK_IMAGES = """
INSERT INTO evaluations_caseimage (case_id, image_id)
SELECT DISTINCT named.case_id, image.id FROM named_image named
JOIN registry_uploadedimage image ON image.project_id = %(project)s AND image.sha256 = named.sha256
"""


@dataclass
class IngestResult:
    """Counts of a load. `unchanged` rows were in the dataset already, `bad` rows were left out."""

    version: DatasetVersion
    created: bool
    read: int = 0
    added: int = 0
    unchanged: int = 0
    bad: int = 0


@dataclass
class DatasetChange:
    """Changes to a dataset beside the added rows: cases to remove, or (`replace`) all that the rows do not repeat.
    `split_of_row` has the split of rows that replace a case, by the number of the row."""

    removed: Sequence[int] = ()
    replace: bool = False
    split_of_row: Mapping[int, str] = field(default_factory=dict)
    message: str = ""
    expected_latest: str | None = None
    # True to assign even those groups again that had a split.
    is_resplit: bool = False
    # False where no row names an uploaded image.
    names_images: bool = True


def load(
    actor: Actor,
    dataset: Dataset,
    rows: Iterable[Row],
    change: DatasetChange | None = None,
    *,
    reject: Reject | None = None,
    report_progress: Callable[[int, int], None] | None = None,
) -> IngestResult:
    """Create the dataset's next version from its newest and these rows.

    A bad row refuses them all with `cases.invalid`, which names the lines (the first MAX_FAULTS of them); with `reject`
    it is passed to that instead. `report_progress` gets (read, bad) from time to time. A row that the newest version
    has already adds nothing; where nothing is added or removed, that version is returned.
    """
    actor.require(Right.EDIT)
    change = change or DatasetChange()
    if len(change.message) > MAX_MESSAGE:
        fault = Fault("/message", "too_long", f"Must have at most {MAX_MESSAGE} characters.")
        raise Problem("request.invalid", fault.message, faults=[fault])
    with staging_table():
        images = RowImages(actor)
        read, bad = stage(rows, images, change.split_of_row, reject, report_progress)
        loaded = apply(actor, dataset, replace(change, names_images=images.has_any), added=read - bad)
    loaded.read, loaded.bad = read, bad
    return loaded


def apply(actor: Actor, dataset: Dataset, change: DatasetChange, *, added: int) -> IngestResult:
    """Create the next version from the staged rows."""
    if added:
        execute(f"ANALYZE {STAGED} (group_hash, digest)")
    with transaction.atomic():
        # A hundred thousand rows are sorted and joined in memory, not on disk.
        execute("SET LOCAL work_mem = '128MB'")
        locked = _lock(dataset, change)
        return _VersionBuilder(actor, locked, change).build()


def lock(dataset: Dataset) -> Dataset:
    """Lock the dataset's row until the transaction ends.

    Its head is read afterwards: joined to the locked row it would be as it was before the wait.
    """
    locked = Dataset.objects.select_for_update(no_key=True).get(pk=dataset.pk)
    locked.project = dataset.project
    return locked


def _lock(dataset: Dataset, change: DatasetChange) -> Dataset:
    locked = lock(dataset)
    latest = locked.head
    if change.expected_latest is not None and change.expected_latest != (latest.content_hash if latest else ""):
        sentence = f"{locked.name} has been changed in the meantime."
        raise Problem("request.precondition", sentence, latest=latest and latest.number)
    if locked.archived_at:
        raise Problem("dataset.archived", f"{locked.name} is archived; restore it to change it.")
    return locked


class _VersionBuilder:
    """Builder of the next version of a locked dataset from the staged rows."""

    def __init__(self, actor: Actor, dataset: Dataset, change: DatasetChange) -> None:
        self._actor = actor
        self._dataset = dataset
        self._change = change
        self._before = dataset.head.number if dataset.head else 0
        self._values: dict[str, Any] = {
            "dataset": dataset.pk,
            "project": dataset.project_id,
            "number": self._before,
            "next": self._before + 1,
            "seed": str(dataset.seed),
        }

    def build(self) -> IngestResult:
        removed = self._remove()
        unchanged = self._drop_unchanged()
        self._assign_splits()
        added = self._insert()
        head = self._dataset.head
        if head is not None and not added and not removed:
            head.dataset = self._dataset
            return IngestResult(head, created=False, unchanged=unchanged)
        return IngestResult(self._version(), created=True, added=added, unchanged=unchanged)

    def _remove(self) -> int:
        """Remove cases; they are gone from the next version on."""
        if self._change.replace and self._before:
            return self._execute(
                f"""INSERT INTO evaluations_caseremoval (case_id, removed_in) SELECT existing.id, %(next)s {EXISTING}
                AND NOT EXISTS (SELECT FROM {STAGED} staged WHERE staged.digest = existing.digest)"""
            )
        removed_keys = sorted(set(self._change.removed))
        if not removed_keys:
            return 0
        present = StoredCase.objects.at(self._dataset.pk, self._before).filter(pk__in=removed_keys)
        if present.count() != len(removed_keys):
            missing = len(removed_keys) - present.count()
            raise Problem("cases.not_found", f"{missing:,} of these cases are no longer in the newest version.")
        self._values["removed"] = removed_keys
        return self._execute(
            f"""INSERT INTO evaluations_caseremoval (case_id, removed_in)
            SELECT existing.id, %(next)s {EXISTING} AND existing.id = ANY(%(removed)s)"""
        )

    def _drop_unchanged(self) -> int:
        if not self._before:
            return 0
        # A case that this very step removes is gone already: an edited case may come back as it was.
        self._values["number"] = self._before + 1
        return self._execute(
            f"""DELETE FROM {STAGED} staged USING (SELECT existing.digest {EXISTING}) present
            WHERE present.digest = staged.digest"""
        )

    def _assign_splits(self) -> None:
        """Assign every group without a split to one. A group that ever had one comes back to it, removed or not: cases
        that were tested once must not be trained on later."""
        self._values["resplit"] = self._change.is_resplit
        self._execute("CREATE TEMPORARY TABLE assigned (group_hash bigint, split varchar) ON COMMIT DROP")
        self._execute(
            f"""INSERT INTO assigned SELECT DISTINCT ON (ever.group_hash) ever.group_hash, ever.split
            FROM evaluations_case ever WHERE ever.dataset_id = %(dataset)s AND NOT %(resplit)s
            AND ever.group_hash IN (SELECT group_hash FROM {STAGED}) ORDER BY ever.group_hash, ever.id DESC"""
        )
        self._execute(
            f"""INSERT INTO assigned SELECT DISTINCT ON (group_hash) group_hash, split FROM {STAGED}
            staged WHERE split <> '' AND NOT EXISTS (
                SELECT FROM assigned WHERE assigned.group_hash = staged.group_hash
            ) ORDER BY group_hash, number"""
        )
        self._execute(
            f"""CREATE TEMPORARY TABLE fresh ON COMMIT DROP AS
            SELECT group_hash, min(label COLLATE "C") AS label, count(*) AS size FROM {STAGED} staged
            WHERE NOT EXISTS (SELECT FROM assigned WHERE assigned.group_hash = staged.group_hash) GROUP BY group_hash"""
        )
        planned = plan_splits(self._fresh_by_label(), self._existing_by_label(), self._dataset.split_ratios)
        self._execute(
            "CREATE TEMPORARY TABLE stratum (label varchar, name varchar, ends double precision[]) ON COMMIT DROP"
        )
        copy_into(
            "stratum",
            ["label", "name", "ends"],
            ((label, name, list(planned.ends[name])) for label, name in planned.stratum_of.items()),
        )
        self._execute(ASSIGN)
        self._execute("DROP TABLE fresh, stratum")

    def _insert(self) -> int:
        added = self._execute(
            f"""INSERT INTO evaluations_case (dataset_id, added_in, split, {CASE_COLUMNS})
            SELECT %(dataset)s, %(next)s, coalesce(nullif(staged.split, ''), assigned.split), {CASE_COLUMNS_OF_STAGED}
            FROM {STAGED} staged LEFT JOIN assigned ON assigned.group_hash = staged.group_hash ORDER BY staged.number"""
        )
        self._execute("DROP TABLE assigned")
        if self._change.names_images:
            self._link_images()
        return added

    def _link_images(self) -> None:
        """Note which images the new cases have, and keep them from being deleted until that is committed."""
        self._execute(NAMED_IMAGES)
        self._execute(
            """SELECT FROM registry_uploadedimage image WHERE image.project_id = %(project)s
            AND image.sha256 IN (SELECT sha256 FROM named_image) ORDER BY image.id FOR KEY SHARE"""
        )
        self._execute(LINK_IMAGES)
        gone = self._rows(
            """SELECT named.address FROM named_image named WHERE NOT EXISTS (
                SELECT FROM registry_uploadedimage image WHERE image.project_id = %(project)s
                AND image.sha256 = named.sha256
            ) LIMIT 1"""
        )
        if gone:
            raise Problem("image.unknown", f"{gone[0][0]} was deleted in the meantime. Upload it again.")
        self._execute("DROP TABLE named_image")

    def _version(self) -> DatasetVersion:
        self._values["number"] = self._before + 1
        sizes = dict.fromkeys(SPLITS, 0) | dict(self._rows(f"SELECT existing.split, count(*) {EXISTING} GROUP BY 1"))
        if sum(sizes.values()) > MAX_CASES:
            raise Problem("cases.too_many", f"A dataset has at most {MAX_CASES:,} cases.")
        if not sum(sizes.values()):
            raise Problem("dataset.no_cases", "No case would be left in it.")
        version = DatasetVersion.objects.create(
            dataset=self._dataset,
            number=self._before + 1,
            content_hash=f"sha256:{self._rows(HASH)[0][0]}",
            size=sum(sizes.values()),
            sizes=sizes,
            seed=self._dataset.seed,
            split_ratios=self._dataset.split_ratios,
            message=self._change.message,
            author=self._actor.user,
            author_key=self._actor.key,
            author_name=self._actor.name,
        )
        Dataset.objects.filter(pk=self._dataset.pk).update(head=version)
        # Pending reports on the version before are obsolete; users can still request them.
        Report.objects.filter(version__dataset=self._dataset, state=ReportState.PENDING).update(
            state=ReportState.FAILED, error=f"Version {version.number} was created before this report was made."
        )
        Report.objects.bulk_create(Report(version=version, kind=kind) for kind in ReportKind.values)
        after = {"hash": version.content_hash, "sizes": sizes, "message": version.message}
        audit.record(self._actor, "dataset.committed", version, after=after)
        return version

    def _fresh_by_label(self) -> dict[str, int]:
        return dict(self._rows("SELECT label, sum(size)::bigint FROM fresh GROUP BY label"))

    def _existing_by_label(self) -> dict[str, dict[str, int]]:
        counts: dict[str, dict[str, int]] = defaultdict(dict)
        for label, split, count in self._rows(
            f"SELECT existing.label, existing.split, count(*) {EXISTING} GROUP BY 1, 2"
        ):
            counts[label][split] = count
        return counts

    def _execute(self, statement: str) -> int:
        return execute(statement, self._values)

    def _rows(self, statement: str) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(statement, self._values)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


CASE_COLUMNS_OF_STAGED = ", ".join(f"staged.{name}" for name in CASE_COLUMNS.split(", "))


def stage_for_resplit(dataset: Dataset) -> int:
    """Stage every case of the newest version without its split, to assign it again; cases that name theirs keep it."""
    columns = [name for name in STAGED_COLUMNS if name not in ("number", "split")]
    values = {"dataset": dataset.pk, "number": dataset.head.number if dataset.head else 0}
    return execute(
        f"""INSERT INTO {STAGED} (number, split, {", ".join(columns)})
        SELECT row_number() OVER (ORDER BY existing.id), CASE WHEN existing.is_placed THEN existing.split ELSE '' END,
        {", ".join(f"existing.{name}" for name in columns)} {EXISTING}""",
        values,
    )
