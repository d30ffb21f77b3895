"""A run, with scoring and storing, beside bare loops over the `openai` client: the same server, cases and concurrency.

    .venv/bin/python benchmarks/evaluate.py [cases] [path of promptfoo]

The server answers after 50 ms, in a process of its own. They take turns, and the median of three counts. The loops
render, judge and store nothing; one has the client's usual transport, one its transport over aiohttp. The bars: twice
as many cases a second as the usual loop, as many as the one over aiohttp, and three times as many as promptfoo (`npm
install promptfoo`, then node_modules/.bin/promptfoo), whose start is not counted.
"""

import asyncio
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness.database import fresh_database

CASES = 2_000
CONCURRENCY = 64
ROUNDS = 3
ANSWER_SECONDS = 0.05
BODY = {
    "id": "x",
    "object": "chat.completion",
    "created": 0,
    "model": "bench",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "billing"}}],
    "usage": {"prompt_tokens": 20, "completion_tokens": 2, "total_tokens": 22},
}


def serve(ready: Connection) -> None:
    """A server that takes 50 ms over every answer; tells its port."""
    from aiohttp import web  # noqa: PLC0415

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        await asyncio.sleep(ANSWER_SECONDS)
        return web.json_response(BODY)

    async def work() -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        ready.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(work())


def bare(url: str, cases: int, *, over_aiohttp: bool) -> float:
    """Cases a second of a plain loop with one of the client's own transports."""
    import openai  # noqa: PLC0415

    async def work() -> None:
        gate = asyncio.Semaphore(CONCURRENCY)
        http = openai.DefaultAioHttpClient() if over_aiohttp else None
        async with openai.AsyncOpenAI(base_url=url, api_key="x", max_retries=0, http_client=http) as client:

            async def ask(number: int) -> None:
                async with gate:
                    message = {"role": "user", "content": f"Ticket number {number}: I was charged twice"}
                    await client.chat.completions.create(model="bench", messages=[message], temperature=1)  # type: ignore[list-item]

            await asyncio.gather(*(ask(number) for number in range(cases)))

    started = time.perf_counter()
    asyncio.run(work())
    return cases / (time.perf_counter() - started)


def ours(url: str, cases: int, round_: int) -> float:
    """Cases a second of a run: rendered, asked, judged and stored."""
    # Django's models can be imported only now.
    from evaluations.datasets import lifecycle as datasets  # noqa: PLC0415
    from evaluations.providers import configuration as providers  # noqa: PLC0415
    from evaluations.runs import lifecycle as runs  # noqa: PLC0415
    from evaluations.runs.planning import RunSettings  # noqa: PLC0415
    from evaluations.runs.worker import tick  # noqa: PLC0415
    from registry.accounts import projects  # noqa: PLC0415
    from registry.accounts.permissions import actor_for_command_line  # noqa: PLC0415
    from registry.prompts import lifecycle as prompts  # noqa: PLC0415
    from registry.prompts import versions  # noqa: PLC0415

    actor = actor_for_command_line(projects.create_project(slug=f"bench{round_}", name="Bench"))
    dataset = datasets.create(actor, name="tickets")
    rows = [
        {"variables": {"ticket": f"Ticket number {number}: I was charged twice"}, "expected": "billing"}
        for number in range(cases)
    ]
    loaded = datasets.change(actor, dataset, added=rows)
    content = {"kind": "chat", "messages": [{"role": "user", "content": "{{ ticket }}"}], "model": {"temperature": 1}}
    version = versions.commit(actor, prompts.create(actor, name="triage"), content=content, message="x").version
    provider = providers.create(actor, name="bench", base_url=url)
    providers.change(actor, provider, max_concurrency=CONCURRENCY)
    model = providers.add_model(actor, provider, "bench")
    run_settings = RunSettings(version, loaded.version, ["exact", "latency"], model, split="")
    run = runs.get_run(actor.project, runs.create(actor, run_settings).pk)
    started = time.perf_counter()
    tick(run, seconds=600)
    seconds = time.perf_counter() - started
    done = runs.get_run(actor.project, run.pk)
    if (done.state, done.answered, done.failed) != ("done", cases, 0):
        raise SystemExit(f"the run did not go well: {done.state}, {done.answered}, {done.error}")
    return cases / seconds


def promptfoo(program: str, url: str, cases: int) -> float:
    """Cases a second of promptfoo on the same tests, without its start (measured by a run of one test)."""
    return (cases - 1) / (_promptfoo_seconds(program, url, cases) - _promptfoo_seconds(program, url, 1))


def _promptfoo_seconds(program: str, url: str, cases: int) -> float:
    provider = {"id": "openai:chat:bench", "config": {"apiBaseUrl": url, "apiKey": "x", "temperature": 1}}
    tests = [
        {
            "vars": {"ticket": f"Ticket number {number}: I was charged twice"},
            "assert": [{"type": "equals", "value": "billing"}, {"type": "latency", "threshold": 10_000}],
        }
        for number in range(cases)
    ]
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "config.json"
        config.write_text(json.dumps({"prompts": ["{{ticket}}"], "providers": [provider], "tests": tests}))
        quiet = {"PROMPTFOO_DISABLE_TELEMETRY": "1", "PROMPTFOO_DISABLE_UPDATE": "1", "PROMPTFOO_CONFIG_DIR": folder}
        flags = ["--no-cache", "--no-table", "--no-progress-bar", "-j", str(CONCURRENCY)]
        results = Path(folder) / "results.json"
        command = [program, "eval", "-c", str(config), "-o", str(results), *flags]
        started = time.perf_counter()
        subprocess.run(  # noqa: S603 - the program that was named on the command line
            command, env={**os.environ, **quiet}, capture_output=True, timeout=600, check=False
        )
        seconds = time.perf_counter() - started
        passed = json.loads(results.read_text())["results"]["stats"]["successes"]
    if passed != cases:
        raise SystemExit(f"promptfoo passed {passed} of {cases} tests.")
    return seconds


def main() -> int:
    cases = int(sys.argv[1]) if len(sys.argv) > 1 else CASES
    other = sys.argv[2] if len(sys.argv) > 2 else ""
    own_end, server_end = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(server_end,), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{own_end.recv()}/v1"
    os.environ["PROVIDER_PRIVATE_HOSTS"] = "127.0.0.1"
    with fresh_database():
        rounds = [
            (
                bare(url, cases, over_aiohttp=False),
                bare(url, cases, over_aiohttp=True),
                ours(url, cases, number),
                promptfoo(other, url, cases) if other else 0.0,
            )
            for number in range(ROUNDS)
        ]
    server.terminate()
    loop, aiohttp_loop, run, peer = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"| {cases:,} cases, {CONCURRENCY} at once, 50 ms each | cases/s |")
    print("|---|---|")
    print(f"| bare loop over AsyncOpenAI | {loop:,.0f} |")
    print(f"| bare loop over AsyncOpenAI with DefaultAioHttpClient | {aiohttp_loop:,.0f} |")
    print(f"| a run, judged and stored | {run:,.0f} ({run / loop:.0%} and {run / aiohttp_loop:.0%} of them) |")
    if other:
        print(f"| promptfoo, without its start | {peer:,.0f} (a run is {run / peer:.1f} times as fast) |")
    return 0 if run >= 2 * loop and run >= aiohttp_loop and (not other or run >= 3 * peer) else 1


if __name__ == "__main__":
    raise SystemExit(main())
