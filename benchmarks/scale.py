"""The fetch in a registry of a thousand versions, and in one of a million.

    .venv/bin/python benchmarks/scale.py [versions]

Two databases in one PostgreSQL, a web process on each, asked in turn. Warm is what registry.delivery answers, cold
is Django without it: the query, the serializer, the whole way. Bars (design section 10): medians within 1.2 times of
the small registry's, warm and cold, and a cold fetch is at most two queries.
"""

import os
import platform
import random
import statistics
import sys
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psycopg

from benchmarks.fetch import serving
from benchmarks.harness import load
from benchmarks.harness.database import fresh_database
from benchmarks.harness.figures import percentile

EACH, SMALL, LARGE = 100, 1_000, 1_000_000
COLD_ROUNDS, WARM_ROUNDS, SECONDS, CONNECTIONS = 600, 5, 2, 16
RATIO_BAR, QUERIES_BAR = 1.2, 2
TEXT = "You sort support tickets.\n" + "- a rule about a category\n" * 10 + "Ticket {}: {{{{ ticket }}}}"
# The text of a message as JSON writes it, and around it what RFC 8785 makes of the rest of these contents.
CANONICAL = """'{"kind":"chat","messages":[{"content":' || to_json(%s)::text || ',"role":"user"}]}'"""
MESSAGE = "(content #>> '{messages,0,content}') || ' copy ' || n"


def main() -> int:
    large_size = int(sys.argv[1]) if len(sys.argv) > 1 else LARGE
    with fresh_database(), ExitStack() as stack:
        # Django's models can be imported only now.
        from django.db import connections  # noqa: PLC0415

        from benchmarks.harness.registry_rows import Filler  # noqa: PLC0415
        from registry.accounts import api_keys, permissions  # noqa: PLC0415
        from registry.models import Project  # noqa: PLC0415

        filler = Filler(TEXT, EACH)
        filler.fill_prompts(SMALL // EACH)
        filler.release()
        project = Project.objects.get(slug="benchmark")
        _, token = api_keys.issue(permissions.actor_for_command_line(project), name="benchmark", scopes=["read"])
        small = os.environ["DATABASE_URL"]
        connections.close_all()
        large = multiplied(small, large_size // SMALL)
        queries = queries_of_a_fetch(token, project.prompts.order_by("pk")[0].name)
        connections.close_all()
        headers = {"Authorization": f"Bearer {token}"}
        places = {size: names_in(url) for size, url in ((SMALL, small), (large_size, large))}
        cold = {
            size: stack.enter_context(serving("benchmarks.harness.plain_django:application", DATABASE_URL=url))
            for size, url in ((SMALL, small), (large_size, large))
        }
        warm = {
            size: stack.enter_context(serving("config.wsgi:application", DATABASE_URL=url))
            for size, url in ((SMALL, small), (large_size, large))
        }
        measured = {"cold": cold_times(cold, places, headers), "warm": warm_times(warm, places, headers)}
    return report(measured, queries)


def multiplied(url: str, times: int) -> str:
    """A copy of the database with everything in it so many times, by other names; its address."""
    from registry.models import Promotion, Prompt, PromptVersion, Release  # noqa: PLC0415

    name = "large"
    parameters = psycopg.conninfo.conninfo_to_dict(url)
    with psycopg.connect(**parameters, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {parameters['dbname']}")
    began = time.perf_counter()
    with psycopg.connect(**{**parameters, "dbname": name}) as connection:
        # Without triggers: each of a million rows would tell the web processes of itself, and ask for each of its keys.
        connection.execute("SET session_replication_role = replica")
        hashed = f"'sha256:' || encode(sha256(convert_to({CANONICAL % f'({MESSAGE})'}, 'UTF8')), 'hex')"
        step = {"prompt_id": "prompt_id + n * 1000000", "version_id": "version_id + n * 1000000"}
        copied(connection, Prompt, times, name="name || '.' || n", head_id="head_id + n * 1000000")
        new_content = f"jsonb_set(content, '{{messages,0,content}}', to_jsonb({MESSAGE}))"
        copied(connection, PromptVersion, times, **_only(step, "prompt_id"), content=new_content, content_hash=hashed)
        copied(connection, Promotion, times, **step)
        copied(connection, Release, times, **step, promotion_id="promotion_id + n * 1000000")
        check_hashes(connection)
    with psycopg.connect(**{**parameters, "dbname": name}, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    with psycopg.connect(**parameters, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    print(f"filled in {time.perf_counter() - began:.0f} s", file=sys.stderr)
    return url.replace(f"/{parameters['dbname']}?", f"/{name}?")


def copied(connection: Any, model: Any, times: int, **changes: str) -> None:
    """A table's rows again, `n` from 1 on, with other keys and what else is said."""
    meta = model._meta
    changes = {"id": "id + n * 1000000", **changes}
    columns = [field.column for field in meta.concrete_fields]
    values = ", ".join(changes.get(column, column) for column in columns)
    connection.execute(
        f"INSERT INTO {meta.db_table} ({', '.join(columns)}) OVERRIDING SYSTEM VALUE"
        f" SELECT {values} FROM {meta.db_table}, generate_series(1, {times - 1}) AS n"
    )


def _only(members: dict[str, str], *names: str) -> dict[str, str]:
    return {name: members[name] for name in names}


def check_hashes(connection: Any) -> None:
    """Rows that SQL wrote have the hash that Cuebook gives them."""
    from registry.content.content_hash import content_hash  # noqa: PLC0415

    rows = connection.execute(
        "SELECT content, content_hash FROM registry_promptversion TABLESAMPLE SYSTEM (1) LIMIT 100"
    ).fetchall()
    for content, stored_hash in rows:
        if content_hash(content) != stored_hash:
            raise RuntimeError("A copied version has another hash than its content.")


def queries_of_a_fetch(token: str, name: str) -> int:
    from django.db import connection  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415
    from django.test.utils import CaptureQueriesContext  # noqa: PLC0415

    path = f"/api/v1/prompts/{name}/versions/production"
    client = Client(headers={"Authorization": f"Bearer {token}"})
    client.get(path, HTTP_HOST="localhost")
    with CaptureQueriesContext(connection) as captured:
        answer = client.get(path, HTTP_HOST="localhost")
    if answer.status_code != 200:
        raise RuntimeError(answer.content)
    return len(captured)


def names_in(url: str) -> list[str]:
    """Prompts to ask for, from all over the table."""
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT name FROM registry_prompt ORDER BY md5(name) LIMIT 500").fetchall()
    return [name for (name,) in rows]


def cold_times(
    servers: dict[int, str], places: dict[int, list[str]], headers: dict[str, str]
) -> dict[int, tuple[float, float]]:
    """Median and p99 in milliseconds of fetches through Django, one at a time, each of another prompt."""
    chance = random.Random(1)  # noqa: S311 - which prompts
    milliseconds: dict[int, list[float]] = {size: [] for size in servers}
    for number in range(-50, COLD_ROUNDS):
        for size, address in servers.items():
            url = f"{address}/api/v1/prompts/{chance.choice(places[size])}/versions/production"
            began = time.perf_counter()
            request = urllib.request.Request(url, headers=headers)  # noqa: S310 - loopback
            urllib.request.urlopen(request, timeout=20).read()  # noqa: S310
            if number >= 0:
                milliseconds[size].append((time.perf_counter() - began) * 1_000)
    return {size: (statistics.median(taken), percentile(sorted(taken), 99)) for size, taken in milliseconds.items()}


def warm_times(
    servers: dict[int, str], places: dict[int, list[str]], headers: dict[str, str]
) -> dict[int, tuple[float, float]]:
    """Median and p99 of the ready answer under load; the median of the rounds."""
    loads: dict[int, list[load.Load]] = {size: [] for size in servers}
    for _ in range(WARM_ROUNDS):
        for size, address in servers.items():
            url = f"{address}/api/v1/prompts/{places[size][0]}/versions/production"
            loads[size].append(load.run(url, headers, seconds=SECONDS, connections=CONNECTIONS))
    return {
        size: (statistics.median(run.p50 for run in rows), statistics.median(run.p99 for run in rows))
        for size, rows in loads.items()
    }


def report(measured: dict[str, dict[int, tuple[float, float]]], queries: int) -> int:
    """A table with ratios to the small registry; 1 where a bar falls."""
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {load.tool()}\n")
    print("| fetch by environment | versions | p50 ms | p99 ms | p50 to the small registry |\n|---|---|---|---|---|")
    ratios = []
    for how, rows in measured.items():
        base = next(iter(rows.values()))[0]
        for size, (p50, p99) in rows.items():
            ratios.append(p50 / base)
            print(f"| {how} | {size:,} | {p50:.2f} | {p99:.2f} | {p50 / base:.2f} |")
    is_well = max(ratios) <= RATIO_BAR and queries <= QUERIES_BAR
    print(f"\n{queries} queries cold. Bars: within {RATIO_BAR} times, at most {QUERIES_BAR} queries:", end=" ")
    print("held" if is_well else "FALLEN")
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
