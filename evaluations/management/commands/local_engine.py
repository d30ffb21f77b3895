"""Runs the local engine: a real model on this machine."""

import os
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from evaluations.local.lifeline import KEY_VARIABLE


class Command(BaseCommand):
    help = "Run the local engine: llama.cpp with a model of this machine, behind OpenAI's protocol."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=8002, help="the port (8002)")
        parser.add_argument("--folder", type=Path, help="the folder for jobs and adapters (below CUEBOOK_HOME)")
        parser.add_argument("--model", default=settings.LOCAL_MODEL, help="a GGUF file (LOCAL_MODEL; the packaged one)")

    def handle(self, *_: object, port: int, folder: Path | None, model: str, **__: Any) -> None:
        data_folder = folder or settings.HOME.root / "local"
        arguments = ["--port", str(port), "--folder", str(data_folder), "--model", model]
        # The engine knows no Django: it takes this process over.
        os.execve(  # noqa: S606 - our own command
            sys.executable,
            [sys.executable, "-m", "evaluations.local", *arguments],
            {**os.environ, KEY_VARIABLE: settings.LOCAL_KEY},
        )
