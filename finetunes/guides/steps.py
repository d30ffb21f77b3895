"""The guided path of a task: define, benchmark, weigh, prepare, evaluate and deploy, watch for two weeks. Each step
says what is there and what is missing, from facts; nothing is ticked by hand, and it can be left at any point."""

from dataclasses import dataclass
from datetime import timedelta

from django.urls import reverse
from django.utils import timezone

from core.references import DEFAULT_ENVIRONMENT
from evaluations.data_quality import reports
from evaluations.models import Run, RunState
from evaluations.statistics import service_levels
from finetunes.jobs import tuned_models
from finetunes.models import Guide, StrategyRecommendation, TrainingSet, TrainingSetState, TunedModel
from finetunes.strategy import decision, recommendations
from inference.monitoring import usage
from inference.models import MonitorState
from inference.monitoring import monitors
from registry.models import Release
from registry.promotions import approvals, environments

# The published guide's numbers: cases to test with, examples to learn from, days to watch.
FEWEST_CASES, USUAL_CASES = 50, 100
FEWEST_EXAMPLES = 50
WATCHED = timedelta(days=14)


@dataclass(frozen=True)
class Fact:
    """Something that a step needs: whether it is there, in words, and where it is done."""

    is_there: bool
    text: str
    address: str = ""


@dataclass(frozen=True)
class GuideStep:
    """`state` is done, here (the first that is not), or ahead."""

    title: str
    about: str
    facts: list[Fact]
    state: str = "ahead"

    @property
    def is_done(self) -> bool:
        return all(fact.is_there for fact in self.facts)


def steps(guide: Guide) -> list[GuideStep]:
    """The six steps, as far as the task has come."""
    run = _run(guide)
    kept = _recommendation(guide)
    made = [_define(guide), _benchmark(guide, run), _weigh(guide, kept), _prepare(guide, kept)]
    made += [_deploy(guide, kept), _watch(guide)]
    here = next((place for place, step in enumerate(made) if not step.is_done), len(made))
    states = ["done" if place < here else "here" if place == here else "ahead" for place in range(len(made))]
    return [GuideStep(one.title, one.about, one.facts, state) for one, state in zip(made, states, strict=True)]


def _to(guide: Guide, name: str, *args: object) -> str:
    return reverse(name, args=[guide.project.slug, *args])


def _run(guide: Guide) -> Run | None:
    rows = Run.objects.filter(
        version__prompt=guide.prompt, dataset_version__dataset=guide.dataset, state=RunState.DONE, summary__isnull=False
    )
    return rows.filter(split="test").order_by("-id").first() if guide.prompt and guide.dataset else None


def _recommendation(guide: Guide) -> StrategyRecommendation | None:
    return StrategyRecommendation.objects.filter(prompt=guide.prompt).order_by("-id").first() if guide.prompt else None


def _define(guide: Guide) -> GuideStep:
    prompt, dataset = guide.prompt, guide.dataset
    head = prompt.head if prompt else None
    form = head.content.get("response", {}).get("format", "text") if head else "text"
    cases = dataset.head.sizes.get("test", 0) if dataset and dataset.head else 0
    prompt_page = _to(guide, "registry:prompt-detail", prompt.name) if prompt else _to(guide, "registry:prompt-new")
    data_page = (
        _to(guide, "evaluations:dataset-detail", dataset.name) if dataset else _to(guide, "evaluations:dataset-new")
    )
    wanted = [
        *([f"p99 at most {guide.latency_ms:,} ms"] if guide.latency_ms is not None else []),
        *([f"quality at least {guide.quality:g}"] if guide.quality is not None else []),
        *([f"${guide.cost_per_call_usd.normalize():f} a call"] if guide.cost_per_call_usd is not None else []),
    ]
    said = f"{form} answers" if form != "text" else "no schema: answers are free text, so nothing can be parsed"
    return GuideStep(
        "Define the task",
        "What goes in, what comes out, how fast and how good; 50 to 100 cases that stand for it.",
        [
            Fact(
                head is not None,
                f"{prompt} has a version, with {said}." if head else "No prompt with a version.",
                prompt_page,
            ),
            Fact(
                guide.latency_ms is not None and guide.quality is not None,
                f"Has to reach: {', '.join(wanted)}." if wanted else "Nobody has said how fast and how good.",
                _to(guide, "finetunes:guide-detail", guide.name),
            ),
            Fact(
                cases >= FEWEST_CASES,
                f"{cases:,} test cases; {FEWEST_CASES} to {USUAL_CASES} are wanted." if dataset else "No dataset.",
                data_page,
            ),
        ],
    )


def _benchmark(guide: Guide, run: Run | None) -> GuideStep:
    about = "The prompt as it is, on the test cases: latency, cost, quality, kept for what comes after."
    new = _to(guide, "evaluations:run-new")
    if run is None:
        query = f"?prompt={guide.prompt.name}@latest" if guide.prompt else ""
        return GuideStep(
            "Benchmark the prompt", about, [Fact(False, "No run on the test cases is done.", f"{new}{query}")]
        )
    levels = {
        "p99_latency_ms": None if guide.latency_ms is None else float(guide.latency_ms),
        "quality": guide.quality,
        "cost_per_call_usd": None if guide.cost_per_call_usd is None else float(guide.cost_per_call_usd),
    }
    found = service_levels.findings(run.summary or {}, levels)
    missed = [service_levels.TITLES[one.name].lower() for one in found if not one.is_met]
    told = f"falls short on {', '.join(missed)}" if missed else "reaches what it has to"
    page = _to(guide, "evaluations:run-detail", run.pk)
    return GuideStep("Benchmark the prompt", about, [Fact(is_there=True, text=f"Run {run.pk} {told}.", address=page)])


def _weigh(guide: Guide, kept: StrategyRecommendation | None) -> GuideStep:
    about = "Volume times what a call would save against the work: tune only where that pays."
    if guide.prompt is None:
        return GuideStep("Thresholds and money", about, [Fact(is_there=False, text="Choose a prompt first.")])
    page = _to(guide, "finetunes:strategy", guide.prompt.name)
    calls = usage.of_prompt(guide.prompt).total.calls
    told = f"{calls:,} live calls say the volume." if calls else "No call is reported: type the volume in."
    return GuideStep(
        "Thresholds and money",
        about,
        [
            Fact(bool(calls) or kept is not None, told, _to(guide, "inference:live", guide.prompt.name)),
            Fact(
                kept is not None,
                f"Recommendation {kept.pk}: {decision.TITLES[kept.strategy].lower()}."
                if kept
                else "No recommendation is kept.",
                _to(guide, "finetunes:recommendation-detail", kept.pk) if kept else page,
            ),
        ],
    )


def _said(kept: StrategyRecommendation | None) -> str:
    if kept is None:
        return "No recommendation is kept."
    return f"Recommendation {kept.pk}: {decision.TITLES[kept.strategy].lower()}."


def _prepare(guide: Guide, kept: StrategyRecommendation | None) -> GuideStep:
    about = "Where it pays: 50 to 100 examples of high quality, looked through for leaks, as training files."
    if kept is not None and not recommendations.tunes(kept):
        return GuideStep(
            "Prepare data", about, [Fact(is_there=True, text="Not needed: the recommendation does without tuning.")]
        )
    version = guide.dataset.head if guide.dataset else None
    clean = bool(version) and not reports.standing(version).blocks_fine_tuning if version else False
    built = TrainingSet.objects.filter(source__prompt=guide.prompt, state=TrainingSetState.READY, folds=0)
    newest = built.order_by("-id").defer("lengths").first() if guide.prompt else None
    count = newest.train if newest else 0
    leaks = _to(guide, "evaluations:leakage", guide.dataset.name) if guide.dataset else ""
    page = _to(guide, "finetunes:set-detail", newest.pk) if newest else _to(guide, "finetunes:set-new")
    told = (
        f"Training set {newest.pk}: {count:,} examples, {newest.errors:,} faults." if newest else "No files are built."
    )
    return GuideStep(
        "Prepare data",
        about,
        [
            Fact(clean, "No leaks block it." if clean else "Leaks are not settled.", leaks),
            Fact(newest is not None and not newest.errors and count >= FEWEST_EXAMPLES, told, page),
        ],
    )


def _deploy(guide: Guide, kept: StrategyRecommendation | None) -> GuideStep:
    about = "Against the baseline on the same cases; promoted when it is better and pays, reviewed like anything else."
    release = _release(guide)
    released = Fact(
        release is not None,
        f"{release.version} is live in {DEFAULT_ENVIRONMENT}."
        if release
        else f"Nothing is live in {DEFAULT_ENVIRONMENT}.",
        _to(guide, "registry:prompt-detail", guide.prompt.name) if guide.prompt else "",
    )
    if kept is None or not recommendations.tunes(kept):
        return GuideStep("Evaluate and deploy", about, [released])
    model = _tuned(guide)
    measured = tuned_models.evaluations_of(model).filter(comparison__result__isnull=False).exists() if model else False
    page = _to(guide, "finetunes:job-detail", model.job_id) if model else _to(guide, "finetunes:job-list")
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


def _tuned(guide: Guide) -> TunedModel | None:
    rows = tuned_models.loaded().filter(job__training_set__source__prompt=guide.prompt, job__cross_validation=None)
    return rows.order_by("-id").first() if guide.prompt else None


def _release(guide: Guide) -> Release | None:
    if guide.prompt is None:
        return None
    found = approvals.live_release(environments.named(guide.project, DEFAULT_ENVIRONMENT), guide.prompt)
    if found:
        found.version.prompt = guide.prompt
    return found


def _watch(guide: Guide) -> GuideStep:
    about = "Two weeks of live calls: monitors quiet, no drift, rollback one click away."
    if guide.prompt is None:
        return GuideStep("Watch for two weeks", about, [Fact(is_there=False, text="Choose a prompt first.")])
    page = _to(guide, "inference:live", guide.prompt.name)
    release = _release(guide)
    watched = list(monitors.in_use().filter(prompt=guide.prompt))
    alerts = [one for one in watched if one.state == MonitorState.ALERT]
    found = usage.of_prompt(guide.prompt)
    drifts = [one for one in found.drifts if one.size == "much"]
    gone = timezone.now() - release.created_at if release else timedelta(0)
    left = max(0, (WATCHED - gone).days + 1) if gone < WATCHED else 0
    told = f"{left} day{'s' * (left != 1)} left." if left else "Two weeks are over."
    return GuideStep(
        "Watch for two weeks",
        about,
        [
            Fact(bool(watched), f"{len(watched)} monitor{'s' * (len(watched) != 1)}.", page),
            Fact(
                bool(watched) and not alerts,
                f"{len(alerts)} out of bounds." if alerts else "Nothing is out of bounds.",
                page,
            ),
            Fact(not drifts, drifts[0].sentence if drifts else "No drift is shown.", page),
            Fact(release is not None and not left, told if release else "Nothing is live.", page),
        ],
    )
