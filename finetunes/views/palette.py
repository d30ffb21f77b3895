"""Pages and things of fine-tunes and strategy for the command palette."""

from collections.abc import Iterable

from finetunes.models import FineTune, StrategyRecommendation, TrainingSet
from registry.accounts.permissions import Actor, Right
from registry.views.frame import page_url
from registry.views.palette import Place, number_in


def places(actor: Actor) -> Iterable[Place]:
    yield Place("Fine-tunes", page_url("finetunes:job-list", actor), "jobs training tuned models")
    yield Place("Strategy", page_url("finetunes:recommendation-list", actor), "recommendations advice")
    yield Place("Guides", page_url("finetunes:guide-list", actor), "strategy steps tasks")
    yield Place("Token audit", page_url("finetunes:token-audit", actor), "strategy tokens cost")
    yield Place("Retirements", page_url("finetunes:retirement-list", actor), "strategy models end shutdown deprecated")
    yield Place("Policy", page_url("finetunes:strategy-policy", actor), "strategy thresholds")
    if actor.may(Right.EDIT):
        yield Place("New training set", page_url("finetunes:set-new", actor), "create fine-tune")


def find(actor: Actor, text: str) -> Iterable[Place]:
    if (number := number_in(text, "fine-tune")) is not None:
        for job in FineTune.objects.filter(project=actor.project, pk=number):
            title = f"{job.provider_name}/{job.model_name}"
            yield Place(title, page_url("finetunes:job-detail", actor, number), kind=f"fine-tune {number}")
    if (number := number_in(text, "training set")) is not None:
        rows = TrainingSet.objects.filter(dataset_version__dataset__project=actor.project, pk=number)
        for training_set in rows.select_related("dataset_version__dataset"):
            address = page_url("finetunes:set-detail", actor, number)
            yield Place(str(training_set.dataset_version), address, kind=f"training set {number}")
    if (number := number_in(text, "recommendation")) is not None:
        rows_of_strategy = StrategyRecommendation.objects.filter(prompt__project=actor.project, pk=number)
        for recommendation in rows_of_strategy.select_related("prompt"):
            address = page_url("finetunes:recommendation-detail", actor, number)
            title = recommendation.prompt.name if recommendation.prompt else "Strategy"
            yield Place(title, address, kind=f"recommendation {number}")
