"""`manage.py model_facts`: makes registry/content/model_profiles/facts.json from a copy of LiteLLM's table."""

import json
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from registry.content.model_profiles import facts as model_facts

SOURCE = "model_prices_and_context_window.json of LiteLLM (github.com/BerriAI/litellm)"


class Command(BaseCommand):
    help = "Make the facts of models anew from a copy of LiteLLM's table."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("table", type=Path, help="model_prices_and_context_window.json")
        parser.add_argument("--of", required=True, metavar="VERSION", help="the table's release or date")
        parser.add_argument("--output", type=Path, default=model_facts.FILE)

    def handle(self, *_: Any, table: Path, of: str, output: Path, **__: Any) -> None:
        """Write one model a line, so that a newer table can be read as a difference."""
        models = model_facts.extract_facts(json.loads(table.read_bytes()))
        about = {"source": SOURCE, "version": of, "license": "MIT, Copyright (c) 2023 Berri AI"}
        vendors = ",\n".join(
            f"{json.dumps(vendor)}: {{\n"
            + ",\n".join(f"{json.dumps(name)}: {json.dumps(facts, sort_keys=True)}" for name, facts in rows.items())
            + "\n}"
            for vendor, rows in models.items()
        )
        output.write_text(f'{{"about": {json.dumps(about)},\n"models": {{\n{vendors}\n}}}}\n', encoding="utf-8")
        self.stdout.write(f"{sum(map(len, models.values())):,} models of {len(models)} vendors\n")
