"""How long the server takes for list and search pages with 100 and with 10,000 prompts.

    .venv/bin/python benchmarks/pages.py

Each request is the whole of Django: session, rights, queries, template; no network. The bar (design section 10): p95
under 150 ms with 10,000 prompts.
"""

import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness.database import fresh_database
from benchmarks.harness.figures import percentile

if TYPE_CHECKING:
    from django.test import Client

SIZES = (100, 10_000)
REQUESTS = 60
WARMING = 5
BAR_MS = 150.0
TEXT = "You sort support tickets.\n" + "- a rule about a category\n" * 30 + "Ticket {}: {{{{ ticket }}}}"
PAGES = {
    "prompts by name": "prompts/",
    "the last page": "prompts/?page=9999",
    "last changed first": "prompts/?order=-changed",
    "needs care first": "prompts/?order=care",
    "one folder": "prompts/?folder=team-3",
    "folder, tag, live in production": "prompts/?folder=team-3&tag=tag-3&environment=production",
    "search in the list": "prompts/?search=prompt-77",
    "search everywhere, a name": "search/?q=prompt-77",
    "search everywhere, words of a text": "search/?q=prompt-77 2",
    "palette": "search/?palette=1&q=prompt-7",
    "promotions": "promotions/",
    "inbox": "inbox/",
    "audit log": "settings/audit/",
}


def main() -> int:
    with fresh_database():
        # Django's models can be imported only now.
        from django.test import Client  # noqa: PLC0415

        from benchmarks.harness.registry_rows import Filler  # noqa: PLC0415
        from registry.models import Membership, Project, Role, User  # noqa: PLC0415

        columns = []
        for size in SIZES:
            filler = Filler(TEXT, 2, slug=f"with-{size}")
            filler.fill_prompts(size)
            filler.release()
            project = Project.objects.get(slug=f"with-{size}")
            user = User.objects.create_user(f"reader-{size}")
            Membership.objects.create(project=project, user=user, role=Role.ADMIN)
            client = Client()
            client.force_login(user)
            analyse()
            columns.append({name: times(client, f"/p/{project.slug}/{path}") for name, path in PAGES.items()})
        report(*columns)
        return 0 if all(percentile(milliseconds, 95) < BAR_MS for milliseconds in columns[-1].values()) else 1


def analyse() -> None:
    """Let the planner know the rows that were just inserted, as autovacuum does in use."""
    from django.db import connection  # noqa: PLC0415 - after Django's set-up

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def times(client: "Client", address: str) -> list[float]:
    """Milliseconds of each request, in rising order, after a few that do not count."""
    milliseconds = []
    for index in range(-WARMING, REQUESTS):
        started = time.perf_counter()
        response = client.get(address, headers={"HX-Request": "true"} if "palette" in address else {})
        if response.status_code != 200:
            raise SystemExit(f"{address} answered {response.status_code}")
        if index >= 0:
            milliseconds.append((time.perf_counter() - started) * 1000)
    return sorted(milliseconds)


def report(small: dict[str, list[float]], large: dict[str, list[float]]) -> None:
    print(f"| page | median ms, {SIZES[0]:,} prompts | median ms, {SIZES[1]:,} | ratio | p95 ms, {SIZES[1]:,} |")
    print("|---|---|---|---|---|")
    for name in PAGES:
        before, after = statistics.median(small[name]), statistics.median(large[name])
        print(f"| {name} | {before:.1f} | {after:.1f} | {after / before:.1f}x | {percentile(large[name], 95):.1f} |")


if __name__ == "__main__":
    sys.exit(main())
