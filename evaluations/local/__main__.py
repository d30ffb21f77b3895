"""The engine's process: `python -m evaluations.local --port N --folder DIR [--model FILE.gguf]`."""

import argparse
import asyncio
import os
import sys
from pathlib import Path

from aiohttp import web

from evaluations.local.choice import NoModelError, find_model
from evaluations.local.engine import LocalEngine
from evaluations.local.lifeline import KEY_VARIABLE
from evaluations.local.llama_server import HOST, EngineError, ServerSettings


async def serve(engine: LocalEngine, port: int) -> None:
    """Serve until the process is asked to end."""
    # A caller who goes away must not keep a slot.
    runner = web.AppRunner(engine.application(), handle_signals=True, access_log=None, handler_cancellation=True)
    try:
        await runner.setup()
        await web.TCPSite(runner, HOST, port).start()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m evaluations.local")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="for files, jobs and adapters")
    parser.add_argument("--model", default="", help="a GGUF file; default: the packaged model")
    parser.add_argument("--slots", type=int, default=2, help="answers at a time; default: %(default)s")
    parser.add_argument("--context", type=int, default=4096, help="tokens of a slot; default: %(default)s")
    parser.add_argument("--threads", type=int, default=max(1, min(os.cpu_count() or 1, 8)))
    parsed = parser.parse_args()
    parsed.folder.mkdir(parents=True, exist_ok=True)
    try:
        name, path = find_model(parsed.model)
        log = parsed.folder / "llama.log"
        settings = ServerSettings(path, os.environ[KEY_VARIABLE], log, parsed.slots, parsed.context, parsed.threads)
        asyncio.run(serve(LocalEngine(name, settings, parsed.folder), parsed.port))
    except (NoModelError, EngineError) as error:
        sys.exit(str(error))
