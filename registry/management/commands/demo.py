from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand
from django.utils.module_loading import import_string


class Command(BaseCommand):
    """Seeds the demo project, once."""

    help = "Create the demo project with its users, prompts, data and history, unless it exists."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--migrate", action="store_true", help="bring the database up to date first")

    def handle(self, *, migrate: bool, **options: Any) -> None:
        if migrate:
            call_command("migrate", interactive=False, verbosity=0)
        # Each app has its own part; this command is in the lowest of them and knows none of the others.
        created = [import_string(seed)(settings.HOME.demo_file) for seed in settings.DEMO_SEEDS]
        self.stdout.write("The demo project was created." if any(created) else "The demo project exists already.")
