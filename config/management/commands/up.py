import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from config.embedded.accounts import NoAccountError
from config.embedded.home import Home, HomeInUseError
from config.embedded.processes import ChildError
from config.embedded.supervisor import Supervisor, run_command
from evaluations.local.choice import NoModelError, find_model
from registry import demo

DEFAULT_PORT = 8000
MAX_PORT = 65_535


class Command(BaseCommand):
    """Runs one whole instance: private PostgreSQL and broker, web, worker and beat, until Ctrl-C."""

    help = "Start everything (private PostgreSQL and broker unless configured, web, worker, beat) until Ctrl-C."
    # Nothing is configured before the first start, and the children check for themselves.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="default: %(default)s")
        parser.add_argument(
            "--gateway-port", type=int, default=None, help="of the inference service; default: the next one"
        )
        parser.add_argument("--home", type=Path, default=None, help="data, logs and sockets; default: var/")
        parser.add_argument("--local", action="store_true", help="with a real model on this machine (make local)")
        parser.add_argument("--no-demo", action="store_true", help="start without the demo project")

    def handle(
        self,
        *,
        port: int,
        gateway_port: int | None,
        home: Path | None,
        local: bool,
        no_demo: bool,
        **options: Any,
    ) -> None:
        if not all(1 <= number <= MAX_PORT for number in (port, gateway_port or 1)):
            raise CommandError(f"A port is a number from 1 to {MAX_PORT}.")
        instance_home = Home(home) if home else settings.HOME
        local_model = _find_local_model() if local else ""

        def prepare(environment: dict[str, str]) -> None:
            # One process for both: its start takes longer than most of what it does.
            run_command(environment, *(("migrate", "--no-input", "-v", "0") if no_demo else ("demo", "--migrate")))

        def register(environment: dict[str, str]) -> None:
            if not no_demo:
                run_command(environment, "local_model", "--project", demo.PROJECT)

        supervisor = Supervisor(
            instance_home,
            port=port,
            gateway_port=gateway_port,
            prepare=prepare,
            after_local_engine=register if local else None,
        )
        try:
            supervisor.run(lambda: self._greet(instance_home, supervisor, local_model, show_demo=not no_demo))
        except HomeInUseError as error:
            instance = instance_home.instance()
            where = f": {instance.address} (process {instance.pid})" if instance else ""
            raise CommandError(f"Cuebook runs in {error} already{where}.") from None
        except (ChildError, NoAccountError) as error:
            raise CommandError(str(error)) from None

    def _greet(self, home: Home, supervisor: Supervisor, local_model: str, *, show_demo: bool) -> None:
        address, gateway = supervisor.address, supervisor.gateway_address
        lines = ["", f"Cuebook runs at {address} (API: {address}/api/v1/docs, admin: {address}/admin/)"]
        lines += [f"The inference service answers at {gateway}/v1, as OpenAI's API does"]
        if supervisor.taken_port:
            lines += [f"(not at port {supervisor.taken_port}, which is taken; choose one with --gateway-port N)"]
        credentials = demo.read_credentials(home.demo_file) if show_demo else None
        if credentials:
            lines += ["", "Demo project “demo”. Users and their passwords:", ""]
            lines += [
                f"  {name:<10} {password:<22} {demo.USERS[name].purpose}"
                for name, password in credentials.passwords.items()
            ]
            lines += ["", f"API key (read, write and infer): {credentials.token}", "", "Try it:", ""]
            fetch = f"{address}/api/v1/prompts/support.triage/versions/production"
            curl = f"  curl -s -H 'Authorization: Bearer {credentials.token}'"
            question = '{"model": "task:ticket-triage", "messages": [{"role": "user", "content": "I paid twice"}]}'
            lines += [f"{curl} {fetch}", "", f"{curl} -d '{question}' {gateway}/v1/chat/completions"]
            if local_model:
                lines += ["", f"local/{local_model} is a real model on this machine; its prices are assumptions."]
            lines += ["", "The demo's own model is a simulation: its answers are seldom right, and cost nothing."]
        lines += ["", f"Logs are in {home.log}. Ctrl-C stops everything.", "", f"ready {address}"]
        self.stdout.write("\n".join(lines))
        sys.stdout.flush()


def _find_local_model() -> str:
    """Return the name of the model to serve. CommandError where the extra or the model is missing."""
    try:
        return find_model(settings.LOCAL_MODEL)[0]
    except NoModelError as error:
        raise CommandError(str(error)) from None
