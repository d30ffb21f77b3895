"""What the demo needs to try a fine-tune: the sandbox tunes, and prices for it. Made up, like the models."""

from django.db import transaction

from config.embedded.home import Home
from evaluations import providers
from evaluations.models import Capability, Provider
from finetunes import tuners
from finetunes.models import TuningPrice
from registry import demo
from registry.access import person
from registry.models import Project, User

BASE = "sandbox-small"
# Dearer to call than the base, as with most providers.
PRICES = {"training": "3", "tuned_input": "0.2", "tuned_output": "0.8"}


@transaction.atomic
def seed(_home: Home) -> bool:
    """Let the demo's sandbox tune, unless it does; returns whether it was made so."""
    project = Project.objects.filter(slug=demo.PROJECT).first()
    sandbox = Provider.objects.filter(project=project, is_simulation=True).first() if project else None
    if project is None or sandbox is None or TuningPrice.objects.filter(model__provider=sandbox).exists():
        return False
    admin = person(User.objects.get(username="admin"), project)
    sandbox.project = project
    providers.change(admin, sandbox, capabilities=[*sandbox.capabilities, Capability.FINE_TUNING])
    tuners.set_price(admin, providers.model_named(project, f"{sandbox.name}/{BASE}"), PRICES)
    return True
