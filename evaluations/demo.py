"""Demo data: a dataset of 364 support tickets written for this project (demo_data/README.md), and runs on it."""

from pathlib import Path

from django.db import transaction

from evaluations.datasets import ingest
from evaluations.datasets import lifecycle as datasets
from evaluations.datasets.files.formats import read_rows
from evaluations.datasets.ingest import DatasetChange
from evaluations.models import Dataset, DatasetVersion, ProviderKind, ProviderModel
from evaluations.providers import configuration as providers
from evaluations.runs import lifecycle as runs
from evaluations.runs.planning import RunSettings
from registry import demo
from registry.accounts.permissions import Actor, actor_for_user
from registry.models import Project, Prompt, User

DATASET = "support.tickets"
PROMPT = "support.route"
QUESTIONS = Path(__file__).parent / "demo_data" / "support.questions.jsonl"
SOURCES = "Questions to the handbook, each with the documents that answer it; two are answered by none."
# Invented, like the models.
PRICES = {"sandbox-small": {"input": "0.1", "output": "0.4"}, "sandbox-large": {"input": "2", "output": "8"}}
TICKETS = Path(__file__).parent / "demo_data" / "support.tickets.jsonl"
DESCRIPTION = """Tickets to the support desk of a software company, each with the team that it belongs to.

Written for this project, by no customer. A fifth are **edge cases** (two topics, sarcasm, misleading words, text that
gives orders to the model), a sixth are in other languages or mixed ones, a fifth have typing errors. Tickets of one
thread are a group.
"""


@transaction.atomic
def seed(_credentials_file: Path) -> bool:
    """Create the demo project's dataset, unless it has one; return whether it was created."""
    project = Project.objects.filter(slug=demo.PROJECT).first()
    if project is None or Dataset.objects.filter(project=project, name=DATASET).exists():
        return False
    editor = actor_for_user(User.objects.get(username="editor"), project)
    dataset = datasets.create(editor, name=DATASET, description=DESCRIPTION)
    loaded = ingest.load(editor, dataset, read_rows(TICKETS, "jsonl"), DatasetChange(message="Tickets of seven teams"))
    _measure(project, editor, loaded.version)
    _measure_retrieval(project, editor)
    return True


def _measure(project: Project, editor: Actor, version: DatasetVersion) -> None:
    """Create the sandbox as a provider, and two runs on it, which workers start when they are running."""
    admin = actor_for_user(User.objects.get(username="admin"), project)
    sandbox = providers.create(admin, name="sandbox", kind=ProviderKind.SANDBOX)
    prompt = Prompt.objects.select_related("head").get(project=project, name=PROMPT)
    for name, prices in PRICES.items():
        model = providers.add_model(admin, sandbox, name)
        providers.set_price(admin, model, prices)
        if prompt.head:
            request = RunSettings(
                version=prompt.head, dataset_version=version, scorers=["label", "json_schema"], model=model
            )
            runs.create(editor, request)


def _measure_retrieval(project: Project, editor: Actor) -> None:
    """Create the questions to the handbook, and a run that asks them with what is found."""
    dataset = datasets.create(editor, name="support.questions", description=SOURCES)
    change = DatasetChange(message="Sixty questions to the handbook")
    loaded = ingest.load(editor, dataset, read_rows(QUESTIONS, "jsonl"), change)
    prompt = Prompt.objects.select_related("head").get(project=project, name="support.answer")
    model = ProviderModel.objects.get(provider__project=project, name="sandbox-small")
    if prompt.head:
        scorers = ["rouge_l", "source_hit", "source_rank", "source_ndcg"]
        runs.create(
            editor, RunSettings(version=prompt.head, dataset_version=loaded.version, scorers=scorers, model=model)
        )
