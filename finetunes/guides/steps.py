"""The six steps of a guide: define, benchmark, weigh, prepare, evaluate and deploy, watch for two weeks.

Each step lists what exists and what is missing, from facts; nothing is ticked by hand, and one can stop at any point.
"""

from dataclasses import dataclass, replace
from datetime import timedelta

from django.utils import timezone

from core.references import DEFAULT_ENVIRONMENT
from evaluations.data_quality import reports
from evaluations.models import Run, RunState
from evaluations.statistics import slas
from finetunes.guides.facts import Count, Fact
from finetunes.jobs import tuned_models
from finetunes.models import Guide, StrategyRecommendation, TrainingSet, TrainingSetState, TunedModel
from finetunes.strategy import decision, recommendations
from finetunes.strategy.links import Link
from inference.models import MonitorState
from inference.monitoring import monitors, usage
from registry.models import Release
from registry.promotions import approvals, environments

# The published guide's numbers: cases to test with, examples to learn from, days to watch.
MIN_CASES, RECOMMENDED_CASES = 50, 100
MIN_EXAMPLES = 50
WATCH_PERIOD = timedelta(days=14)


@dataclass(frozen=True)
class GuideStep:
    """A step of a guide; `state` is done, here (the first that is not done), or ahead."""

    title: str
    about: str
    facts: list[Fact]
    state: str = "ahead"

    @property
    def is_done(self) -> bool:
        return all(fact.is_there for fact in self.facts)


def steps_for_guide(guide: Guide) -> list[GuideStep]:
    """Return the six steps with their states."""
    run = _newest_run(guide)
    recommendation = _newest_recommendation(guide)
    steps = [
        _define(guide),
        _benchmark(guide, run),
        _weigh(guide, recommendation),
        _prepare(guide, recommendation),
        _deploy(guide, recommendation),
        _watch(guide),
    ]
    here = next((position for position, step in enumerate(steps) if not step.is_done), len(steps))
    states = ["done" if position < here else "here" if position == here else "ahead" for position in range(len(steps))]
    return [replace(step, state=state) for step, state in zip(steps, states, strict=True)]


def _newest_run(guide: Guide) -> Run | None:
    rows = Run.objects.filter(
        version__prompt=guide.prompt,
        dataset_version__dataset=guide.dataset,
        state=RunState.DONE,
        summary__isnull=False,
        is_without_retrieval=False,
    )
    return rows.filter(split="test").order_by("-id").first() if guide.prompt and guide.dataset else None


def _newest_recommendation(guide: Guide) -> StrategyRecommendation | None:
    return StrategyRecommendation.objects.filter(prompt=guide.prompt).order_by("-id").first() if guide.prompt else None


def _define(guide: Guide) -> GuideStep:
    prompt, dataset = guide.prompt, guide.dataset
    head = prompt.head if prompt else None
    response_format = head.content.get("response", {}).get("format", "text") if head else "text"
    cases = dataset.head.sizes.get("test", 0) if dataset and dataset.head else 0
    prompt_page = Link("registry:prompt-detail", (prompt.name,)) if prompt else Link("registry:prompt-new")
    data_page = Link("evaluations:dataset-detail", (dataset.name,)) if dataset else Link("evaluations:dataset-new")
    targets = [
        *([f"p99 at most {guide.latency_ms:,} ms"] if guide.latency_ms is not None else []),
        *([f"quality at least {guide.quality:g}"] if guide.quality is not None else []),
        *([f"${guide.cost_per_call_usd.normalize():f} a call"] if guide.cost_per_call_usd is not None else []),
    ]
    answers = (
        f"{response_format} answers"
        if response_format != "text"
        else "no schema: answers are free text, so nothing can be parsed"
    )
    return GuideStep(
        "Define the task",
        "What goes in, what comes out, how fast and how good; 50 to 100 cases that stand for it.",
        [
            Fact(
                head is not None,
                f"{prompt} has a version, with {answers}." if head else "No prompt with a version.",
                prompt_page,
            ),
            Fact(
                guide.latency_ms is not None and guide.quality is not None,
                f"Has to reach: {', '.join(targets)}." if targets else "No targets for latency and quality.",
                Link("finetunes:guide-detail", (guide.name,)),
            ),
            Fact(
                cases >= MIN_CASES,
                f"{cases:,} test cases; {MIN_CASES} to {RECOMMENDED_CASES} are recommended."
                if dataset
                else "No dataset.",
                data_page,
            ),
        ],
    )


def _benchmark(guide: Guide, run: Run | None) -> GuideStep:
    about = "The prompt as it is, on the test cases: latency, cost, quality, kept for what comes after."
    if run is None:
        query = {"prompt": f"{guide.prompt.name}@latest"} if guide.prompt else {}
        new_run = Link("evaluations:run-new", query=query)
        missing = Fact(is_there=False, text="No run on the test cases is done.", link=new_run)
        return GuideStep("Benchmark the prompt", about, [missing])
    levels = {
        "p99_latency_ms": None if guide.latency_ms is None else float(guide.latency_ms),
        "quality": guide.quality,
        "cost_per_call_usd": None if guide.cost_per_call_usd is None else float(guide.cost_per_call_usd),
    }
    results = slas.sla_results(run.summary or {}, levels)
    missed = [slas.TITLES[result.name].lower() for result in results if not result.is_met]
    outcome = f"falls short on {', '.join(missed)}" if missed else "reaches what it has to"
    page = Link("evaluations:run-detail", (run.pk,))
    return GuideStep("Benchmark the prompt", about, [Fact(is_there=True, text=f"Run {run.pk} {outcome}.", link=page)])


def _weigh(guide: Guide, recommendation: StrategyRecommendation | None) -> GuideStep:
    about = "Volume times what a call would save against the work: tune only where that pays."
    if guide.prompt is None:
        return GuideStep("Thresholds and costs", about, [Fact(is_there=False, text="Choose a prompt first.")])
    page = Link("finetunes:strategy", (guide.prompt.name,))
    calls = usage.usage_of_prompt(guide.prompt).total.calls
    calls_text = f"{calls:,} live calls say the volume." if calls else "No call is reported: enter the volume."
    return GuideStep(
        "Thresholds and costs",
        about,
        [
            Fact(bool(calls) or recommendation is not None, calls_text, Link("inference:live", (guide.prompt.name,))),
            Fact(
                recommendation is not None,
                _recommendation_text(recommendation),
                Link("finetunes:recommendation-detail", (recommendation.pk,)) if recommendation else page,
            ),
        ],
    )


def _recommendation_text(recommendation: StrategyRecommendation | None) -> str:
    """Write the newest recommendation as a sentence."""
    if recommendation is None:
        return "No recommendation is saved."
    return f"Recommendation {recommendation.pk}: {decision.TITLES[recommendation.strategy].lower()}."


def _prepare(guide: Guide, recommendation: StrategyRecommendation | None) -> GuideStep:
    about = "Where it pays: 50 to 100 examples of high quality, checked for leaks, as training files."
    if recommendation is not None and not recommendations.includes_tuning(recommendation):
        return GuideStep(
            "Prepare data", about, [Fact(is_there=True, text="Not needed: the recommendation does without tuning.")]
        )
    version = guide.dataset.head if guide.dataset else None
    clean = bool(version) and not reports.leakage_status(version).blocks_fine_tuning if version else False
    training_sets = TrainingSet.objects.filter(source__prompt=guide.prompt, state=TrainingSetState.DONE, folds=0)
    newest = training_sets.order_by("-id").defer("lengths").first() if guide.prompt else None
    count = newest.train if newest else 0
    leaks = Link("evaluations:leakage", (guide.dataset.name,)) if guide.dataset else None
    page = Link("finetunes:set-detail", (newest.pk,)) if newest else Link("finetunes:set-new")
    files_text = (
        f"Training set {newest.pk}: {count:,} examples, {newest.errors:,} faults." if newest else "No files are built."
    )
    return GuideStep(
        "Prepare data",
        about,
        [
            Fact(clean, "No leaks block it." if clean else "Leaks are not settled.", leaks),
            Fact(newest is not None and not newest.errors and count >= MIN_EXAMPLES, files_text, page),
        ],
    )


def _deploy(guide: Guide, recommendation: StrategyRecommendation | None) -> GuideStep:
    about = "Against the baseline on the same cases; promoted when it is better and pays, reviewed like anything else."
    release = _live_release(guide)
    released = Fact(
        release is not None,
        f"{release.version} is live in {DEFAULT_ENVIRONMENT}."
        if release
        else f"Nothing is live in {DEFAULT_ENVIRONMENT}.",
        Link("registry:prompt-detail", (guide.prompt.name,)) if guide.prompt else None,
    )
    if recommendation is None or not recommendations.includes_tuning(recommendation):
        return GuideStep("Evaluate and deploy", about, [released])
    model = _newest_tuned_model(guide)
    measured = tuned_models.evaluations_of(model).filter(comparison__result__isnull=False).exists() if model else False
    page = Link("finetunes:job-detail", (model.job_id,)) if model else Link("finetunes:job-list")
    return GuideStep(
        "Evaluate and deploy",
        about,
        [
            Fact(
                measured, f"{model} is compared." if measured else "No tuned model is compared with the prompt.", page
            ),
            Fact(
                model is not None and model.published_id is not None,
                f"{model.published} asks the tuned model." if model and model.published else "It is not published.",
                page,
            ),
            released,
        ],
    )


def _newest_tuned_model(guide: Guide) -> TunedModel | None:
    rows = tuned_models.tuned_models_with_related().filter(
        job__training_set__source__prompt=guide.prompt, job__cross_validation=None
    )
    return rows.order_by("-id").first() if guide.prompt else None


def _live_release(guide: Guide) -> Release | None:
    if guide.prompt is None:
        return None
    release = approvals.live_release(environments.get_environment(guide.project, DEFAULT_ENVIRONMENT), guide.prompt)
    if release:
        release.version.prompt = guide.prompt
    return release


def _watch(guide: Guide) -> GuideStep:
    about = "Two weeks of live calls: monitors quiet, no drift, rollback one click away."
    if guide.prompt is None:
        return GuideStep("Watch for two weeks", about, [Fact(is_there=False, text="Choose a prompt first.")])
    page = Link("inference:live", (guide.prompt.name,))
    release = _live_release(guide)
    watched = list(monitors.active_monitors().filter(prompt=guide.prompt))
    alerts = [monitor for monitor in watched if monitor.state == MonitorState.ALERT]
    drifts = [drift for drift in usage.usage_of_prompt(guide.prompt).drifts if drift.size == "much"]
    elapsed = timezone.now() - release.created_at if release else timedelta(0)
    days_left = max(0, (WATCH_PERIOD - elapsed).days + 1) if elapsed < WATCH_PERIOD else 0
    if release is None:
        time_left = Fact(is_there=False, text="Nothing is live.", link=page)
    elif days_left:
        time_left = Fact(is_there=False, text=" left.", link=page, count=Count(days_left, "day"))
    else:
        time_left = Fact(is_there=True, text="Two weeks are over.", link=page)
    return GuideStep(
        "Watch for two weeks",
        about,
        [
            Fact(bool(watched), ".", page, Count(len(watched), "monitor")),
            Fact(
                bool(watched) and not alerts,
                f"{len(alerts)} out of bounds." if alerts else "Nothing is out of bounds.",
                page,
            ),
            Fact(not drifts, drifts[0].sentence if drifts else "No drift is shown.", page),
            time_left,
        ],
    )
