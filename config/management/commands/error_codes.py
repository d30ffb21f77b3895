from typing import Any

from django.core.management.base import BaseCommand

from core.errors import CATALOGUE, FAILURES

HEAD = """# Errors

Every refusal of the API is `application/problem+json` (RFC 9457) with a `code` from this table. Codes
do not change; sentences may. `errors`, where present, lists each fault with a JSON pointer to it.

| code | status | meaning |
|---|---|---|
"""

FAILURES_HEAD = """
A call of a model that failed has one of these codes: in the results of runs, in records of live calls, and where the
inference service answers.

| code | meaning |
|---|---|
"""


class Command(BaseCommand):
    """Prints docs/errors.md: the codes that all apps declare."""

    help = "Print the table of all error codes, as Markdown."
    requires_system_checks: list[str] = []

    def handle(self, **options: Any) -> None:
        rows = [f"| `{code}` | {kind.status} | {kind.title} |\n" for code, kind in sorted(CATALOGUE.items())]
        failures = [f"| `{code}` | {meaning} |\n" for code, meaning in sorted(FAILURES.items())]
        self.stdout.write("".join([HEAD, *rows, FAILURES_HEAD, *failures]), ending="")
