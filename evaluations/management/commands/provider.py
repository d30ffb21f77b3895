import os
from argparse import ArgumentParser
from typing import Any

from core.errors import Problem
from evaluations.models import Capability, Provider, ProviderKind
from evaluations.providers import configuration as providers
from evaluations.providers.connection_test import check_connection
from evaluations.providers.presets import PRESETS, PROTOCOLS
from registry.management.project_command import ProjectCommand

ACTIONS = ("list", "create", "change", "model", "archive-model", "test", "archive", "restore")
PRICES = ("input", "cached_input", "cache_write", "output")
STATES: dict[str, str] = {ProviderKind.SANDBOX: "simulated", ProviderKind.LOCAL: "local"}
NUMBERS = ("concurrency", "timeout", "requests-per-minute", "tokens-per-minute")
SETTINGS = {
    **{"base_url": "base_url", "protocol": "protocol", "concurrency": "max_concurrency", "timeout": "timeout_seconds"},
    **{"requests_per_minute": "requests_per_minute", "tokens_per_minute": "tokens_per_minute"},
}


class Command(ProjectCommand):
    """Sets up model providers."""

    help = (
        "list: show providers. create, change: set one up. model: add a model that it does not list, with its price. "
        "archive-model: offer it no longer. "
        "test: ask it for its models and, with --model, for a word; exits with 1 where it does not answer."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "action", choices=["list", "create", "change", "model", "archive-model", "test", "archive", "restore"]
        )
        parser.add_argument("name", nargs="?", default="", help="the provider's name")
        super().add_arguments(parser)
        parser.add_argument("--base-url", help="create, change: https://api.example/v1")
        parser.add_argument(
            "--key-env", metavar="VARIABLE", help="create, change: the environment variable that has its API key"
        )
        parser.add_argument("--preset", help=f"create: {', '.join(preset.name for preset in PRESETS)}")
        parser.add_argument("--protocol", choices=[*PROTOCOLS], help="create, change: the wire that it speaks")
        parser.add_argument("--capabilities", help=f"create, change: {', '.join(Capability.values)}; comma-separated")
        for number in NUMBERS:
            parser.add_argument(f"--{number}", type=int, help="create, change")
        parser.add_argument("--model", help="model, archive-model, test: the model's name at the provider")
        parser.add_argument("--input", help="model: US dollars for a million input tokens")
        parser.add_argument("--cached-input", help="model: the same for cached ones; default: as --input")
        parser.add_argument("--cache-write", help="model: the same for input that is written to a cache")
        parser.add_argument("--output", help="model: the same for output tokens")

    def run(self, *, action: str, name: str, project: str, **options: Any) -> None:
        actor = self.actor_in(project)
        if action == "list":
            for provider in Provider.objects.filter(project=actor.project):
                state = "archived" if provider.archived_at else STATES.get(provider.kind, "in use")
                self.stdout.write(f"{provider.name:<20}  {state:<9}  {provider.base_url}")
            return
        if action == "create":
            settings = _settings(options)
            preset = options["preset"] or ""
            provider = providers.create(actor, name=name, key=_key(options) or "", preset=preset, **settings)
            self.stdout.write(f"Created {provider.name}.")
            return
        provider = providers.get_provider(actor.project, name)
        if action == "change":
            providers.change(actor, provider, key=_key(options), **_settings(options))
            self.stdout.write(f"Changed {provider.name}.")
        elif action == "model":
            model = providers.add_model(actor, provider, options["model"] or "")
            if any(options[name] is not None for name in PRICES):
                providers.set_price(actor, model, {name: options[name] for name in PRICES})
            self.stdout.write(f"Added {model}.")
        elif action == "archive-model":
            model = providers.archive_model(actor, providers.get_model(actor.project, f"{name}/{options['model']}"))
            self.stdout.write(f"Archived {model}.")
        elif action == "test":
            tested = check_connection(provider, options["model"] or "")
            self.stdout.write(tested.test_result)
            for check in tested.test_checks:
                self.stdout.write(
                    f"{'yes' if check['passed'] else 'no':<4} {check['name']:<18} {check['detail']}".rstrip()
                )
            if not tested.test_passed:
                raise SystemExit(1)
        else:
            (providers.archive if action == "archive" else providers.restore)(actor, provider)
            self.stdout.write(f"{name}: {action}d.")


def _settings(options: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that were given, by their names in the model."""
    settings = {member: options[option] for option, member in SETTINGS.items() if options[option] is not None}
    if options["capabilities"] is not None:
        settings["capabilities"] = [name.strip() for name in options["capabilities"].split(",") if name.strip()]
    return settings


def _key(options: dict[str, Any]) -> str | None:
    """Read the key from the environment: a command line is visible to everybody on the machine."""
    variable = options["key_env"]
    if variable is None:
        return None
    if not os.environ.get(variable):
        raise Problem("provider.key_needed", f"The environment variable {variable} is not set.")
    return os.environ[variable]
