"""The published action checklist of a prompt, ticked by facts and not by hand."""

from dataclasses import dataclass

from django.urls import reverse

from evaluations.comparisons import gates
from evaluations.data_quality.reports import done, standing
from evaluations.models import Gate, ReportKind
from finetunes.jobs import tuned_models
from finetunes.models import StrategyRecommendation
from finetunes.strategy import recommendations
from finetunes.strategy.evidence_collector import Known
from inference.monitoring import monitors


@dataclass(frozen=True)
class Item:
    """`fact` is what is there, or what is missing; `address` is where that is done."""

    title: str
    is_done: bool
    fact: str
    address: str


def of_prompt(known: Known) -> list[Item]:
    """All seven, in their order."""
    prompt, slug = known.prompt, known.prompt.project.slug
    run = known.run

    def to(name: str, *args: object) -> str:
        return reverse(name, args=[slug, *args])

    counted = known.live.total.counted
    levels = {name: value for name, value in gates.told(gates.levels_of(prompt.project)).items() if value is not None}
    version = run.dataset_version if run else None
    report = done(version, ReportKind.READINESS) if version else None
    clean = bool(version) and not standing(version).blocks_fine_tuning if version else False
    kept = StrategyRecommendation.objects.filter(prompt=prompt).order_by("-id").first()
    model = tuned_models.loaded().filter(job__training_set__source__prompt=prompt, job__cross_validation=None)
    newest = model.order_by("-id").first()
    watched = monitors.in_use().filter(prompt=prompt).count()
    gated = Gate.objects.filter(environment__project=prompt.project, removed_at=None).exists()
    data = to("evaluations:readiness", version.dataset.name) if version else to("evaluations:dataset-list")
    return [
        Item(
            "Audit token usage",
            bool(counted),
            f"{counted:,} live calls have their tokens." if counted else "No call has reported its tokens yet.",
            to("finetunes:token-audit"),
        ),
        Item(
            "Benchmark the baseline",
            run is not None,
            f"Run {run.pk} measured {run.version}." if run else "The version has no run that is done.",
            to("evaluations:run-detail", run.pk) if run else f"{to('evaluations:run-new')}?prompt={prompt.name}@latest",
        ),
        Item(
            "Define service levels",
            bool(levels),
            f"{len(levels)} level{'s' * (len(levels) != 1)} set." if levels else "No level is set.",
            to("evaluations:gate-list"),
        ),
        Item(
            "Evaluate data readiness",
            report is not None and clean,
            _data(report.result["score"] if report else None, clean=clean),
            data,
        ),
        Item(
            "Calculate the return",
            kept is not None,
            f"Recommendation {kept.pk}: {kept.strategy}." if kept else "No recommendation has been kept.",
            to("finetunes:recommendation-detail", kept.pk) if kept else to("finetunes:strategy", prompt.name),
        ),
        Item(
            "Carry it out",
            _is_followed(kept, has_model=newest is not None and newest.published_id is not None),
            "A tuned model is published." if newest and newest.published_id else "No tuned model is published.",
            to("finetunes:job-detail", newest.job_id) if newest else to("finetunes:set-new"),
        ),
        Item(
            "Set up monitoring",
            bool(watched) and gated,
            f"{watched} monitor{'s' * (watched != 1)}; {'a' if gated else 'no'} gate measures new versions.",
            to("inference:live", prompt.name),
        ),
    ]


def _data(score: int | None, *, clean: bool) -> str:
    if score is None:
        return "Nobody has looked through the data."
    return f"Readiness {score} of 100; {'no leaks block it' if clean else 'leaks are not settled'}."


def _is_followed(kept: StrategyRecommendation | None, *, has_model: bool) -> bool:
    """Staying with a prompt is carried out by leaving it as it is."""
    if kept is None:
        return False
    return has_model or not recommendations.tunes(kept)
