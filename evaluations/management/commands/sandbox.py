"""Runs the sandbox provider."""

import asyncio
from pathlib import Path
from typing import Any

from aiohttp import web
from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from evaluations.sandbox.neighbours import Neighbours
from evaluations.sandbox.server import Sandbox


class Command(BaseCommand):
    help = "Run the sandbox: a server with OpenAI's protocol that simulates a model, for demo and tests."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (127.0.0.1)")
        parser.add_argument("--port", type=int, default=8001, help="the port (8001)")
        parser.add_argument("--folder", type=Path, help="the folder for files and tuned models (below CUEBOOK_HOME)")
        parser.add_argument(
            "--pace",
            dest="time_scale",
            type=float,
            default=1.0,
            help="how slowly to answer: 0 at once, 1 (default) like a model",
        )

    def handle(self, *_: object, host: str, port: int, folder: Path | None, time_scale: float, **__: Any) -> None:
        data_folder = folder or settings.HOME.root / "sandbox"
        data_folder.mkdir(parents=True, exist_ok=True)
        asyncio.run(
            serve(
                Sandbox(Neighbours(), key=settings.SANDBOX_KEY, folder=data_folder, time_scale=time_scale), host, port
            )
        )


async def serve(sandbox: Sandbox, host: str, port: int) -> None:
    """Serve until the process is asked to end."""
    runner = web.AppRunner(sandbox.application(), handle_signals=True, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    try:
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
