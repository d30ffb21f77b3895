"""Recommendations from the shell: for a prompt from its evidence, or from four numbers."""

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from core.errors import Problem
from finetunes.presentation import inputs_with_addresses
from finetunes.strategy import recommendations, report
from finetunes.strategy.evidence import INPUTS
from registry.accounts.permissions import actor_for_command_line
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
        flags = [name for name, kind in INPUTS.items() if kind.is_flag]
        parser.add_argument("--so", action="append", default=[], choices=flags, help="what is true of the task")
        parser.add_argument("--json", action="store_true", help="all that it rests on, as JSON; else a report")

    def handle(self, *_: object, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project {options['project']!r}.")
        try:
            saved = recommendations.recommend(actor_for_command_line(project), **self._read_options(project, options))
        except Problem as problem:
            raise CommandError(problem.detail) from None
        recommendation = recommendations.get_recommendation(project, saved.pk)
        if options["json"]:
            inputs = inputs_with_addresses(recommendation.inputs, project.slug)
            document = {"id": recommendation.pk, "inputs": inputs, **recommendation.result}
            self.stdout.write(json.dumps(document, indent=2, ensure_ascii=False))
        else:
            self.stdout.write(report.markdown(recommendation), ending="")

    def _read_options(self, project: Project, options: dict[str, Any]) -> dict[str, Any]:
        metric_names = {"tokens": "monthly_tokens", "latency": "avg_latency_ms", "errors": "format_error_rate"}
        metric_names["hours"] = "dev_cost_hours"
        metrics = {name: options[option] for option, name in metric_names.items() if options[option] is not None}
        flags: dict[str, Any] = dict.fromkeys(options["so"], True)
        if not options["prompt"]:
            return {"metrics": metrics, "inputs": flags, "policy": options["policy"]}
        inputs = {recommendations.METRICS[name]: value for name, value in metrics.items()} | flags
        document = {"prompt": options["prompt"], "inputs": inputs, "policy": options["policy"]}
        return recommendations.read_request(project, document)
