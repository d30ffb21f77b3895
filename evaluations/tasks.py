"""Work for the workers; each task loads by id, calls one function, and has its limits. The rows are the messages: see
registry.tasks."""

from celery import shared_task

from evaluations import imports, proposals, reports
from evaluations.models import Dataset, DatasetImport, DatasetVersion, Report
from registry.tasks import start

HOUR = 3_600
MOST_SWEPT = 50


@shared_task(name="evaluations.tasks.read_import", time_limit=2 * HOUR + 60, soft_time_limit=2 * HOUR)
def read_import(import_id: int) -> None:
    """Read an uploaded file into its dataset."""
    upload = DatasetImport.objects.select_related("dataset__project", "by", "by_key__project").filter(pk=import_id)
    for one in upload:
        imports.perform(one)
        one.refresh_from_db()
        if one.version:
            report_soon(one.version)


@shared_task(name="evaluations.tasks.make_report", time_limit=2 * HOUR + 60, soft_time_limit=2 * HOUR)
def make_report(report_id: int) -> None:
    """Make one report on a dataset's version."""
    report = Report.objects.select_related("version__dataset").filter(pk=report_id).first()
    if report:
        reports.perform(report)


@shared_task(name="evaluations.tasks.check_proposals", time_limit=HOUR + 60, soft_time_limit=HOUR)
def check_proposals(dataset_id: int) -> None:
    """Hold new proposals against the cases that are there."""
    dataset = Dataset.objects.select_related("head").filter(pk=dataset_id).first()
    if dataset and proposals.check(dataset) == proposals.MOST_AT_ONCE:
        start(check_proposals, dataset_id)


@shared_task(name="evaluations.tasks.sweep", time_limit=60, soft_time_limit=50)
def sweep() -> None:
    """Start what waits: its own task was lost, or its worker died."""
    for key in imports.open_work().values_list("pk", flat=True)[:MOST_SWEPT]:
        start(read_import, key)
    for key in reports.open_work().values_list("pk", flat=True)[:MOST_SWEPT]:
        start(make_report, key)
    for key in proposals.unchecked().order_by("dataset").values_list("dataset", flat=True).distinct()[:MOST_SWEPT]:
        start(check_proposals, key)


@shared_task(name="evaluations.tasks.clear_old_files", time_limit=600, soft_time_limit=570)
def clear_old_files() -> None:
    """Remove files of imports that are over for days."""
    imports.clear_old()


def report_soon(version: DatasetVersion) -> None:
    """Start the reports that a new version waits for."""
    for key in version.reports.filter(state="pending").values_list("pk", flat=True):
        start(make_report, key)
