"""How soon every web process serves a release: four of them, some hundred releases.

    .venv/bin/python benchmarks/freshness.py [releases]

From the commit of the release to the first answer with it, of the process that is last. The bar (design section 7): p99
under a second.
"""

import http.client
import json
import statistics
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.fetch import serving
from benchmarks.harness.database import fresh_database
from benchmarks.harness.figures import percentile

PROCESSES, RELEASES = 4, 200
BAR_MS = 1_000.0
NAME = "support.triage"


def main() -> int:
    release_count = int(sys.argv[1]) if len(sys.argv) > 1 else RELEASES
    with fresh_database(), ExitStack() as stack:
        # Django's models can be imported only now.
        from registry.accounts import api_keys, permissions, projects  # noqa: PLC0415
        from registry.promotions import environments, releases, workflow  # noqa: PLC0415
        from registry.prompts import lifecycle as prompts  # noqa: PLC0415
        from registry.prompts import versions  # noqa: PLC0415

        project = projects.create_project(slug="benchmark", name="Benchmark")
        actor = permissions.actor_for_command_line(project)
        development = environments.get_environment(project, "development")
        prompt = prompts.create(actor, name=NAME)
        committed = []
        for text in ("one", "two"):
            content = {"messages": [{"role": "user", "content": text}]}
            committed.append(versions.commit(actor, prompt, content=content).version)
            workflow.apply(actor, workflow.request(actor, prompt, committed[-1], development))
        _, token = api_keys.issue(actor, name="benchmark", scopes=["read"])
        addresses = [stack.enter_context(serving("config.wsgi:application")) for _ in range(PROCESSES)]
        doors = [http.client.HTTPConnection(urlsplit(address).netloc, timeout=10) for address in addresses]
        taken = []
        for number in range(release_count):
            version = committed[number % 2]
            _until(doors, token, 2 if version is committed[0] else 1)
            releases.roll_back(actor, prompt, development, to=version)
            began = time.perf_counter()
            _until(doors, token, version.number)
            taken.append((time.perf_counter() - began) * 1_000)
    taken.sort()
    p99 = percentile(taken, 99)
    print(f"{PROCESSES} web processes, {release_count} releases: the last process serves it after")
    print("| median | p95 | p99 | most |\n|---|---|---|---|")
    figures = (statistics.median(taken), percentile(taken, 95), p99, taken[-1])
    print(f"| {' | '.join(f'{figure:.1f} ms' for figure in figures)} |")
    print("held" if p99 < BAR_MS else "FALLEN")
    return 0 if p99 < BAR_MS else 1


def _until(doors: list[http.client.HTTPConnection], token: str, number: int) -> None:
    """Ask each process until it serves this version."""
    for door in doors:
        for _ in range(10_000):
            headers = {"Authorization": f"Bearer {token}"}
            door.request("GET", f"/api/v1/prompts/{NAME}/versions/development", headers=headers)
            if json.loads(door.getresponse().read())["number"] == number:
                break
        else:
            raise RuntimeError(f"A process still serves another version than {number}.")


if __name__ == "__main__":
    sys.exit(main())
