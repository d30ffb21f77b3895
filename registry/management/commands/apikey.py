from argparse import ArgumentParser
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.utils import timezone

from core.errors import Problem
from registry.accounts import api_keys, key_limits
from registry.accounts.key_limits import LIMIT_NAMES, DailyLimits
from registry.management.project_command import ProjectCommand
from registry.models import APIKey, User


class Command(ProjectCommand):
    """Creates, lists, limits and revokes API keys."""

    help = "create: print a new key, alone, on standard output. list: show keys. limit: set what one may ask "
    "of the inference service on a day. revoke: end one by its id."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["create", "list", "limit", "revoke"])
        super().add_arguments(parser)
        parser.add_argument("--name", help="create: what the key is for")
        parser.add_argument("--scopes", default="read", help="create: read, write, observe, infer; comma-separated")
        parser.add_argument("--days", type=int, help="create: days until it expires; default: never")
        parser.add_argument("--owner", help="create: the user name of the member who holds it; default: a service does")
        parser.add_argument("--environment", default="", help="create: of calls that name none; default: production")
        parser.add_argument("--max-requests-a-day", type=int, help="create, limit; default: no limit")
        parser.add_argument("--max-tokens-a-day", type=int, help="create, limit; default: no limit")
        parser.add_argument("--max-dollars-a-day", type=Decimal, help="create, limit; default: no limit")
        parser.add_argument("--no-limits", action="store_true", help="limit: take all of them away")
        parser.add_argument("--id", help="limit, revoke: the key's id")

    def run(self, *, action: str, project: str, **options: Any) -> None:
        actor = self.actor_in(project)
        limits = DailyLimits(**{name: options[name] for name in LIMIT_NAMES})
        if action == "create":
            days, owner = options["days"], options["owner"]
            person = User.objects.filter(username=owner).first() if owner else None
            if owner and person is None:
                raise Problem("member.unknown_user", f"There is no user named {owner}.")
            _, token = api_keys.issue(
                actor,
                name=options["name"] or "",
                scopes=[scope.strip() for scope in options["scopes"].split(",") if scope.strip()],
                expires_at=timezone.now() + timedelta(days=days) if days is not None else None,
                owner=person,
                environment=options["environment"],
                limits=limits,
            )
            self.stdout.write(token)
            return
        rows = APIKey.objects.filter(project=actor.project)
        if action == "list":
            for key in rows:
                state = "usable" if key.is_usable else "ended"
                self.stdout.write(f"{key.key_id}  {state:<6}  {','.join(key.scopes):<20}  {key.name}")
            return
        key = api_keys.get_key(actor.project, options["id"] or "")
        if action == "limit":
            named = {name: value for name, value in vars(limits).items() if value is not None}
            if options["no_limits"]:
                named = vars(key_limits.NO_LIMITS)
            limits = replace(key_limits.limits_of(key), **named)
            key_limits.set_limits(actor, key, limits)
            written = ", ".join(f"{name} {value}" for name, value in limits.as_dict().items() if value is not None)
            self.stdout.write(f"{key.key_id}: {written or 'no limits'}.")
            return
        api_keys.revoke(actor, key)
        self.stdout.write(f"Revoked {key.key_id}.")
