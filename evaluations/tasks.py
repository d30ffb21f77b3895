"""Work for the workers; each task loads by id, calls one function, and has its limits. The rows are the messages: see
registry.tasks."""

from evaluations.comparisons import gates
from evaluations.comparisons import lifecycle as comparisons
from evaluations.curation import proposals, synthesis
from evaluations.data_quality import reports
from evaluations.datasets import imports
from evaluations.models import Comparison, Dataset, DatasetImport, DatasetVersion, Provider, Report, Run
from evaluations.playground import lifecycle as playground
from evaluations.providers.connection_test import check_connection
from evaluations.runs import batches
from evaluations.runs import lifecycle as runs
from infra.queues import LONG, PLAYGROUND, SHORT, task
from infra.work import start, start_waiting

HOUR = 3_600
MAX_RECONCILED = 50


@task(name="evaluations.tasks.read_import", queue=SHORT, time_limit=2 * HOUR + 60, soft_time_limit=2 * HOUR)
def read_import(import_id: int) -> None:
    """Read an uploaded file into its dataset."""
    upload = DatasetImport.objects.select_related("dataset__project", "by", "by_key__project").filter(pk=import_id)
    for dataset_import in upload:
        imports.read_file(dataset_import)
        dataset_import.refresh_from_db()
        if dataset_import.version:
            start_reports(dataset_import.version)


@task(name="evaluations.tasks.make_report", queue=LONG, time_limit=2 * HOUR + 60, soft_time_limit=2 * HOUR)
def make_report(report_id: int) -> None:
    """Make one report on a dataset's version."""
    report = Report.objects.select_related("version__dataset").filter(pk=report_id).first()
    if report:
        reports.make_report(report)


@task(name="evaluations.tasks.check_proposals", queue=SHORT, time_limit=HOUR + 60, soft_time_limit=HOUR)
def check_proposals(dataset_id: int) -> None:
    """Compare new proposals with the existing cases."""
    dataset = Dataset.objects.select_related("head").filter(pk=dataset_id).first()
    if dataset and proposals.check(dataset) == proposals.MAX_AT_ONCE:
        start(check_proposals, dataset_id)


@task(name="evaluations.tasks.write_cases", queue=LONG, time_limit=2 * HOUR + 60, soft_time_limit=2 * HOUR)
def write_cases(synthesis_id: int) -> None:
    """Have a model write cases, and compare them with the existing ones."""
    work = synthesis.syntheses_with_related().filter(pk=synthesis_id).first()
    if work:
        synthesis.write_cases(work)
        start(check_proposals, work.dataset_id)


@task(name="evaluations.tasks.try_provider", queue=PLAYGROUND, time_limit=1_260, soft_time_limit=1_230)
def try_provider(provider_id: int, model: str) -> None:
    """Ask a provider for its models, and one of them for a word."""
    provider = Provider.objects.select_related("project").filter(pk=provider_id).first()
    if provider:
        check_connection(provider, model)


@task(name="evaluations.tasks.work_on_run", queue=LONG, time_limit=2 * HOUR + 60, soft_time_limit=2 * HOUR)
def work_on_run(run_id: int) -> None:
    """Work on a run for one tick; the rest is another task, after whatever else waits."""
    # Imported here: a process that only sends tasks needs neither scipy nor the client.
    from evaluations.runs.worker import TickResult, tick  # noqa: PLC0415

    run = runs.runs_with_related().filter(pk=run_id).first()
    if run is None:
        return
    match tick(run):
        case TickResult.AGAIN:
            start(work_on_run, run_id)
        case TickResult.OVER:
            start(sum_up_run, run_id)


@task(name="evaluations.tasks.ask_playground", queue=PLAYGROUND, time_limit=420, soft_time_limit=400)
def ask_playground(playground_run_id: int) -> None:
    """Make the calls of a playground run."""
    from evaluations.playground.worker import ask_models  # noqa: PLC0415

    playground_run = playground.playground_runs_with_related().filter(pk=playground_run_id).first()
    if playground_run:
        ask_models(playground_run)


@task(name="evaluations.tasks.sum_up_run", queue=SHORT, time_limit=HOUR + 60, soft_time_limit=HOUR)
def sum_up_run(run_id: int) -> None:
    """Compute the summary of a run."""
    from evaluations.runs.summaries import sum_up  # noqa: PLC0415

    run = runs.runs_without_summary().filter(pk=run_id).first()
    if run:
        sum_up(run)
        if run.sweep_id:
            start(compare_runs, run.sweep_id)


@task(name="evaluations.tasks.compare_runs", queue=SHORT, time_limit=HOUR + 60, soft_time_limit=HOUR)
def compare_runs(comparison_id: int) -> None:
    """Compare runs, when all of them are over."""
    comparison = Comparison.objects.filter(pk=comparison_id).first()
    if comparison:
        comparisons.run_comparison(comparison)


@task(name="evaluations.tasks.settle_gate", queue=SHORT, time_limit=HOUR + 60, soft_time_limit=HOUR)
def settle_gate(gate_run_id: int) -> None:
    """Decide whether a version passes a gate."""
    gate_run = gates.unsettled_gate_runs().filter(pk=gate_run_id).first()
    if gate_run:
        gates.settle(gate_run)


@task(name="evaluations.tasks.reconcile", queue=SHORT, time_limit=60, soft_time_limit=50)
def reconcile() -> None:
    """Start work that waits because its own task was lost, or its worker died."""
    start_waiting(read_import, imports.claimable_imports().values_list("pk", flat=True)[:MAX_RECONCILED])
    start_waiting(make_report, reports.claimable_reports().values_list("pk", flat=True)[:MAX_RECONCILED])
    for run in gates.start_gate_runs():
        start(work_on_run, run.pk)
    start_waiting(settle_gate, gates.unsettled_gate_runs().values_list("pk", flat=True)[:MAX_RECONCILED])
    start_waiting(work_on_run, runs.claimable_runs().values_list("pk", flat=True)[:MAX_RECONCILED])
    start_waiting(sum_up_run, runs.runs_without_summary().values_list("pk", flat=True)[:MAX_RECONCILED])
    start_waiting(compare_runs, comparisons.claimable_comparisons().values_list("pk", flat=True)[:MAX_RECONCILED])
    start_waiting(write_cases, synthesis.claimable_syntheses().values_list("pk", flat=True)[:MAX_RECONCILED])
    start_waiting(ask_playground, playground.claimable_playground_runs().values_list("pk", flat=True)[:MAX_RECONCILED])
    unchecked = proposals.unchecked_proposals().order_by("dataset").values_list("dataset", flat=True).distinct()
    start_waiting(check_proposals, unchecked[:MAX_RECONCILED])


@task(name="evaluations.tasks.clear_old", queue=SHORT, time_limit=600, soft_time_limit=570)
def clear_old() -> None:
    """Delete old files of imports, old playground runs, and cached answers of months ago."""
    imports.clear_old()
    playground.clear_old()
    batches.clear_old_answers()


def start_run(run: Run) -> None:
    """Start a run that was just created or resumed."""
    start(work_on_run, run.pk)


def start_sweep(sweep: Comparison) -> None:
    """Start the runs of a sweep that was just created."""
    for run in sweep.swept_runs.order_by("id"):
        start_run(run)


def start_reports(version: DatasetVersion) -> None:
    """Start the reports of a new version."""
    start_waiting(make_report, version.reports.filter(state="pending").values_list("pk", flat=True))
