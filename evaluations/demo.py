"""The demo project's dataset, 364 support tickets written for this project (demo_data/README.md), and runs on it."""

from pathlib import Path

from django.db import transaction

from evaluations.datasets import ingest
from evaluations.datasets import lifecycle as datasets
from evaluations.datasets.formats import read_rows
from evaluations.datasets.ingest import Change
from evaluations.models import Dataset, DatasetVersion
from evaluations.providers import configuration as providers
from evaluations.runs import lifecycle as runs
from evaluations.runs.planning import Asked
from registry import demo
from registry.accounts.permissions import Actor, person
from registry.models import Project, Prompt, User

DATASET = "support.tickets"
PROMPT = "support.route"
# Made up, like the models.
PRICES = {"sandbox-small": {"input": "0.1", "output": "0.4"}, "sandbox-large": {"input": "2", "output": "8"}}
TICKETS = Path(__file__).parent / "demo_data" / "support.tickets.jsonl"
DESCRIPTION = """Tickets to the support desk of a software company, each with the team that it belongs to.

Written for this project, by no customer. A fifth are **edge cases** (two topics, sarcasm, misleading words, text that
gives orders to the model), a sixth are in other languages or mixed ones, a fifth have typing errors. Tickets of one
thread are a group.
"""


@transaction.atomic
def seed(_credentials_file: Path) -> bool:
    """Give the demo project its dataset, unless it has one; returns whether it was made."""
    project = Project.objects.filter(slug=demo.PROJECT).first()
    if project is None or Dataset.objects.filter(project=project, name=DATASET).exists():
        return False
    editor = person(User.objects.get(username="editor"), project)
    dataset = datasets.create(editor, name=DATASET, description=DESCRIPTION)
    loaded = ingest.load(editor, dataset, read_rows(TICKETS, "jsonl"), Change(message="Tickets of seven teams"))
    _measure(project, editor, loaded.version)
    return True


def _measure(project: Project, editor: Actor, version: DatasetVersion) -> None:
    """The sandbox as a provider, and two runs on it, which the workers take up when they are there."""
    admin = person(User.objects.get(username="admin"), project)
    sandbox = providers.create(admin, name="sandbox", is_simulation=True)
    prompt = Prompt.objects.select_related("head").get(project=project, name=PROMPT)
    for name, prices in PRICES.items():
        model = providers.add_model(admin, sandbox, name)
        providers.set_price(admin, model, prices)
        if prompt.head:
            asked = Asked(version=prompt.head, dataset_version=version, scorers=["label", "json_schema"], model=model)
            runs.create(editor, asked)
