from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from registry import demo


class Command(BaseCommand):
    """Seeds the demo project, once."""

    help = "Create the demo project with its people, prompts and history, unless it exists."

    def handle(self, **options: Any) -> None:
        created = demo.seed(settings.HOME)
        self.stdout.write("The demo project was created." if created else "The demo project exists already.")
