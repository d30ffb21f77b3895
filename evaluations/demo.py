"""The demo project's dataset: 364 support tickets written for this project (demo_data/README.md)."""

from pathlib import Path

from django.db import transaction

from config.embedded.home import Home
from evaluations import datasets, loading
from evaluations.case_file import read_rows
from evaluations.loading import Change
from evaluations.models import Dataset
from registry import demo
from registry.access import person
from registry.models import Project, User

DATASET = "support.tickets"
TICKETS = Path(__file__).parent / "demo_data" / "support.tickets.jsonl"
DESCRIPTION = """Tickets to the support desk of a software company, each with the team that it belongs to.

Written for this project, by no customer. A fifth are **edge cases** (two topics, sarcasm, misleading words, text that
gives orders to the model), a sixth are in other languages or mixed ones, a fifth have typing errors. Tickets of one
thread are a group.
"""


@transaction.atomic
def seed(_home: Home) -> bool:
    """Give the demo project its dataset, unless it has one; returns whether it was made."""
    project = Project.objects.filter(slug=demo.PROJECT).first()
    if project is None or Dataset.objects.filter(project=project, name=DATASET).exists():
        return False
    editor = person(User.objects.get(username="editor"), project)
    dataset = datasets.create(editor, name=DATASET, description=DESCRIPTION)
    loading.load(editor, dataset, read_rows(TICKETS, "jsonl"), Change(message="Tickets of seven teams"))
    return True
