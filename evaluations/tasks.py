"""Work for the workers; each task loads by id, calls one function, and has its limits. The rows are the messages: see
registry.tasks."""

from celery import shared_task

from evaluations.comparisons import gates, pairwise, sweeps
from evaluations.curation import proposals, synthesis
from evaluations.data_quality import reports
from evaluations.datasets import imports
from evaluations.models import Dataset, DatasetImport, DatasetVersion, Provider, Report, Run
from evaluations.playground import lifecycle as playground
from evaluations.providers import configuration as providers
from evaluations.runs import batches
from evaluations.runs import lifecycle as runs
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


@shared_task(name="evaluations.tasks.write_cases", time_limit=2 * HOUR + 60, soft_time_limit=2 * HOUR)
def write_cases(synthesis_id: int) -> None:
    """Have a model make up cases, and hold them against those that are there."""
    work = synthesis.loaded().filter(pk=synthesis_id).first()
    if work:
        synthesis.perform(work)
        start(check_proposals, work.dataset_id)


@shared_task(name="evaluations.tasks.try_provider", time_limit=120, soft_time_limit=110)
def try_provider(provider_id: int, model: str) -> None:
    """Ask a provider for its models, and one of them for a word."""
    provider = Provider.objects.select_related("project").filter(pk=provider_id).first()
    if provider:
        providers.try_out(provider, model)


@shared_task(name="evaluations.tasks.drive_run", time_limit=2 * HOUR + 60, soft_time_limit=2 * HOUR)
def drive_run(run_id: int) -> None:
    """Take a turn at a run; what is left over is another turn, after whatever else waits."""
    # Imported here: who only sends tasks needs neither scipy nor the client.
    from evaluations.runs.worker import Turn, drive  # noqa: PLC0415

    run = runs.loaded().filter(pk=run_id).first()
    if run is None:
        return
    match drive(run):
        case Turn.AGAIN:
            start(drive_run, run_id)
        case Turn.OVER:
            start(sum_up_run, run_id)


@shared_task(name="evaluations.tasks.try_prompt", time_limit=420, soft_time_limit=400)
def try_prompt(trial_id: int) -> None:
    """Ask what somebody in the playground waits for."""
    from evaluations.playground.worker import perform  # noqa: PLC0415

    trial = playground.loaded().filter(pk=trial_id).first()
    if trial:
        perform(trial)


@shared_task(name="evaluations.tasks.sum_up_run", time_limit=HOUR + 60, soft_time_limit=HOUR)
def sum_up_run(run_id: int) -> None:
    """Work out what a run came to."""
    from evaluations.runs.summaries import sum_up  # noqa: PLC0415

    run = runs.unsummed().filter(pk=run_id).first()
    if run:
        sum_up(run)
        if run.sweep_id:
            start(line_up, run.sweep_id)


@shared_task(name="evaluations.tasks.compare_runs", time_limit=HOUR + 60, soft_time_limit=HOUR)
def compare_runs(comparison_id: int) -> None:
    """Hold two runs against each other."""
    comparison = pairwise.loaded().filter(pk=comparison_id).first()
    if comparison:
        pairwise.perform(comparison)


@shared_task(name="evaluations.tasks.line_up", time_limit=HOUR + 60, soft_time_limit=HOUR)
def line_up(lineup_id: int) -> None:
    """Put runs side by side, when all of them are over."""
    lineup = sweeps.loaded().filter(pk=lineup_id).first()
    if lineup:
        sweeps.perform(lineup)


@shared_task(name="evaluations.tasks.settle_gate", time_limit=HOUR + 60, soft_time_limit=HOUR)
def settle_gate(gate_run_id: int) -> None:
    """Say whether a version passes a gate."""
    found = gates.unsettled().filter(pk=gate_run_id).first()
    if found:
        gates.settle(found)


@shared_task(name="evaluations.tasks.sweep", time_limit=60, soft_time_limit=50)
def sweep() -> None:
    """Start what waits: its own task was lost, or its worker died."""
    for key in imports.open_work().values_list("pk", flat=True)[:MOST_SWEPT]:
        start(read_import, key)
    for key in reports.open_work().values_list("pk", flat=True)[:MOST_SWEPT]:
        start(make_report, key)
    for run in gates.look():
        start(drive_run, run.pk)
    for key in gates.unsettled().values_list("pk", flat=True)[:MOST_SWEPT]:
        start(settle_gate, key)
    for key in runs.open_work().values_list("pk", flat=True)[:MOST_SWEPT]:
        start(drive_run, key)
    for key in runs.unsummed().values_list("pk", flat=True)[:MOST_SWEPT]:
        start(sum_up_run, key)
    for key in pairwise.open_work().values_list("pk", flat=True)[:MOST_SWEPT]:
        start(compare_runs, key)
    for key in synthesis.open_work().values_list("pk", flat=True)[:MOST_SWEPT]:
        start(write_cases, key)
    for key in sweeps.open_work().values_list("pk", flat=True)[:MOST_SWEPT]:
        start(line_up, key)
    playground.give_up_silent()
    for key in playground.unheard().values_list("pk", flat=True)[:MOST_SWEPT]:
        start(try_prompt, key)
    for key in proposals.unchecked().order_by("dataset").values_list("dataset", flat=True).distinct()[:MOST_SWEPT]:
        start(check_proposals, key)


@shared_task(name="evaluations.tasks.clear_old", time_limit=600, soft_time_limit=570)
def clear_old() -> None:
    """Remove files of imports and trials that are over for days, and answers that were kept for months."""
    imports.clear_old()
    playground.clear_old()
    batches.forget_old_answers()


def drive_soon(run: Run) -> None:
    """Start a run that was just created or taken up again."""
    start(drive_run, run.pk)


def report_soon(version: DatasetVersion) -> None:
    """Start the reports that a new version waits for."""
    for key in version.reports.filter(state="pending").values_list("pk", flat=True):
        start(make_report, key)
