"""A recommendation from the shell: for a prompt from what is measured, or from four numbers."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from core.errors import Problem
from finetunes.strategy import recommendations, report
from finetunes.strategy.evidence import INPUTS
from registry.accounts.permissions import command_line
from registry.models import Project


class Command(BaseCommand):
    help = "Prompt, fine-tune or hybrid: recommend for a prompt (support.route@production), or from numbers."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("prompt", nargs="?", help="what is measured of it counts; numbers below count more")
        parser.add_argument("--project", required=True, help="the project's slug")
        parser.add_argument("--policy", choices=("default", "seed"), default="default")
        parser.add_argument("--tokens", type=float, help="a month")
        parser.add_argument("--latency", type=float, help="milliseconds, on average")
        parser.add_argument("--errors", type=float, help="share of answers that are not in the format, 0 to 1")
        parser.add_argument("--hours", type=float, help="of work to tune a model")
        flags = [one for one, kind in INPUTS.items() if kind.is_flag]
        parser.add_argument("--so", action="append", default=[], choices=flags, help="what is true of the task")
        parser.add_argument("--json", action="store_true", help="all that it rests on, as JSON; else a report")

    def handle(self, *_: object, **asked: Any) -> None:
        project = Project.objects.filter(slug=asked["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {asked['project']!r}.")
        try:
            made = recommendations.recommend(command_line(project), **self._asked(project, asked))
        except Problem as problem:
            raise CommandError(problem.detail) from None
        kept = recommendations.numbered(project, made.pk)
        if asked["json"]:
            document = {"id": kept.pk, "inputs": kept.inputs, **kept.result}
            self.stdout.write(json.dumps(document, indent=2, ensure_ascii=False))
        else:
            self.stdout.write(report.markdown(kept), ending="")

    def _asked(self, project: Project, asked: dict[str, Any]) -> dict[str, Any]:
        called = {"tokens": "monthly_tokens", "latency": "avg_latency_ms", "errors": "format_error_rate"}
        called["hours"] = "dev_cost_hours"
        metrics = {name: asked[option] for option, name in called.items() if asked[option] is not None}
        flags: dict[str, Any] = dict.fromkeys(asked["so"], True)
        if not asked["prompt"]:
            return {"metrics": metrics, "inputs": flags, "policy": asked["policy"]}
        inputs = {recommendations.METRICS[name]: value for name, value in metrics.items()} | flags
        document = {"prompt": asked["prompt"], "inputs": inputs, "policy": asked["policy"]}
        return recommendations.asked_for(project, document)
