"""The published action checklist of a prompt, ticked by facts and not by users."""

from dataclasses import dataclass

from evaluations.comparisons import slas
from evaluations.data_quality.reports import leakage_status, newest_done_report
from evaluations.models import Gate, ReportKind
from evaluations.statistics.slas import set_targets
from finetunes.guides.facts import Count, Fact
from finetunes.jobs import tuned_models
from finetunes.models import StrategyRecommendation
from finetunes.strategy import recommendations
from finetunes.strategy.evidence_collector import PromptEvidence
from finetunes.strategy.links import Link
from inference.monitoring import monitors


@dataclass(frozen=True)
class ChecklistItem:
    """One line of the checklist; it is done where its fact is there."""

    title: str
    fact: Fact


def checklist_for(prompt_evidence: PromptEvidence) -> list[ChecklistItem]:
    """Return all seven items, in their order."""
    prompt, run = prompt_evidence.prompt, prompt_evidence.run
    counted = prompt_evidence.live.total.counted
    levels = set_targets(slas.slas_as_dict(slas.get_slas(prompt.project)))
    version = run.dataset_version if run else None
    report = newest_done_report(version, ReportKind.READINESS) if version else None
    clean = bool(version) and not leakage_status(version).blocks_fine_tuning if version else False
    recommendation = StrategyRecommendation.objects.filter(prompt=prompt).order_by("-id").first()
    models = tuned_models.tuned_models_with_related().filter(
        job__training_set__source__prompt=prompt, job__cross_validation=None
    )
    newest = models.order_by("-id").first()
    watched = monitors.active_monitors().filter(prompt=prompt).count()
    gated = Gate.objects.filter(environment__project=prompt.project, removed_at=None).exists()
    data_page = Link("evaluations:readiness", (version.dataset.name,)) if version else Link("evaluations:dataset-list")
    return [
        ChecklistItem(
            "Audit token usage",
            Fact(
                bool(counted),
                f"{counted:,} live calls have their tokens." if counted else "No call has reported its tokens yet.",
                Link("finetunes:token-audit"),
            ),
        ),
        ChecklistItem(
            "Benchmark the baseline",
            Fact(
                run is not None,
                f"Run {run.pk} measured {run.version}." if run else "The version has no run that is done.",
                Link("evaluations:run-detail", (run.pk,))
                if run
                else Link("evaluations:run-new", query={"prompt": f"{prompt.name}@latest"}),
            ),
        ),
        ChecklistItem(
            "Define service levels",
            Fact(
                bool(levels),
                " set." if levels else "No level is set.",
                Link("evaluations:gate-list"),
                Count(len(levels), "level") if levels else None,
            ),
        ),
        ChecklistItem(
            "Evaluate data readiness",
            Fact(
                report is not None and clean,
                _data_text(report.result["score"] if report else None, clean=clean),
                data_page,
            ),
        ),
        ChecklistItem(
            "Calculate the return",
            Fact(
                recommendation is not None,
                f"Recommendation {recommendation.pk}: {recommendation.strategy}."
                if recommendation
                else "No recommendation is saved.",
                Link("finetunes:recommendation-detail", (recommendation.pk,))
                if recommendation
                else Link("finetunes:strategy", (prompt.name,)),
            ),
        ),
        ChecklistItem(
            "Carry it out",
            Fact(
                _is_followed(recommendation, has_model=newest is not None and newest.published_id is not None),
                "A tuned model is published." if newest and newest.published_id else "No tuned model is published.",
                Link("finetunes:job-detail", (newest.job_id,)) if newest else Link("finetunes:set-new"),
            ),
        ),
        ChecklistItem(
            "Set up monitoring",
            Fact(
                bool(watched) and gated,
                f"; {'a' if gated else 'no'} gate measures new versions.",
                Link("inference:live", (prompt.name,)),
                Count(watched, "monitor"),
            ),
        ),
    ]


def _data_text(score: int | None, *, clean: bool) -> str:
    if score is None:
        return "The data has no readiness report."
    return f"Readiness {score} of 100; {'no leaks block it' if clean else 'leaks are not settled'}."


def _is_followed(recommendation: StrategyRecommendation | None, *, has_model: bool) -> bool:
    """Say whether a recommendation is followed; staying with the prompt needs no step."""
    if recommendation is None:
        return False
    return has_model or not recommendations.includes_tuning(recommendation)
