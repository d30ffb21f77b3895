"""Pages and things of evaluations for the command palette."""

from collections.abc import Iterable

from evaluations.models import Comparison, Dataset, Provider, Run
from registry.accounts.permissions import Actor, Right
from registry.views.frame import page_url
from registry.views.palette import MAX_OF_A_KIND, Place, number_in


def places(actor: Actor) -> Iterable[Place]:
    yield Place("Datasets", page_url("evaluations:dataset-list", actor), "cases data")
    yield Place("Evaluations", page_url("evaluations:run-list", actor), "runs comparisons results")
    yield Place("Gates and SLAs", page_url("evaluations:gate-list", actor), "settings checks quality")
    yield Place("Providers", page_url("evaluations:provider-list", actor), "settings models keys prices")
    if actor.may(Right.EDIT):
        yield Place("New dataset", page_url("evaluations:dataset-new", actor), "create add")
        yield Place("New evaluation", page_url("evaluations:run-new", actor), "create run evaluate")
        yield Place("New model sweep", page_url("evaluations:sweep-new", actor), "create compare models")
        yield Place("Import prompts", page_url("evaluations:prompt-import", actor), "langfuse openai promptfoo mlflow")


def find(actor: Actor, text: str) -> Iterable[Place]:
    datasets = Dataset.objects.filter(project=actor.project, archived_at=None, name__icontains=text).order_by("name")
    for dataset in datasets[:MAX_OF_A_KIND]:
        yield Place(dataset.name, page_url("evaluations:dataset-detail", actor, dataset.name), kind="dataset")
    providers = Provider.objects.filter(project=actor.project, archived_at=None, name__icontains=text).order_by("name")
    for provider in providers[:MAX_OF_A_KIND]:
        yield Place(provider.name, page_url("evaluations:provider-detail", actor, provider.name), kind="provider")
    if (number := number_in(text, "run")) is not None:
        for run in Run.objects.filter(project=actor.project, pk=number).select_related("version__prompt"):
            title = f"{run.version.prompt.name}@{run.version.number} with {run.model_name}"
            yield Place(title, page_url("evaluations:run-detail", actor, number), kind=f"run {number}")
    if (number := number_in(text, "comparison")) is not None:
        for comparison in Comparison.objects.filter(project=actor.project, pk=number):
            address = page_url("evaluations:comparison-detail", actor, comparison.pk)
            yield Place(f"Comparison {number}", address, kind="comparison")
