"""Registers the local engine as a provider."""

from typing import Any

from finetunes.jobs import local_engine
from registry.management.project_command import ProjectCommand


class Command(ProjectCommand):
    help = "Register this installation's local engine as a provider of a project, with its model and assumed prices."

    def run(self, *, project: str, **_: Any) -> None:
        model = local_engine.register(self.actor_in(project))
        provider = model.provider
        self.stdout.write(
            f"{provider.name}/{model.name}: {provider.max_concurrency} calls at a time, prices are assumptions."
        )
