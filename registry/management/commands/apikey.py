from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.utils import timezone

from core.errors import Problem
from registry.accounts import api_keys
from registry.management.project_command import ProjectCommand
from registry.models import APIKey, User


class Command(ProjectCommand):
    """Creates, lists and revokes API keys."""

    help = "create: print a new key, alone, on standard output. list: show keys. revoke: end one by its id."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["create", "list", "revoke"])
        super().add_arguments(parser)
        parser.add_argument("--name", help="create: what the key is for")
        parser.add_argument("--scopes", default="read", help="create: read, write, observe, infer; comma-separated")
        parser.add_argument("--days", type=int, help="create: days until it expires; default: never")
        parser.add_argument("--owner", help="create: the user name of the member who holds it; default: a service does")
        parser.add_argument("--environment", default="", help="create: of calls that name none; default: production")
        parser.add_argument("--id", help="revoke: the key's id")

    def run(self, *, action: str, project: str, **options: Any) -> None:
        actor = self.actor_in(project)
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
            )
            self.stdout.write(token)
            return
        rows = APIKey.objects.filter(project=actor.project)
        if action == "list":
            for key in rows:
                state = "usable" if key.is_usable else "ended"
                self.stdout.write(f"{key.key_id}  {state:<6}  {','.join(key.scopes):<20}  {key.name}")
            return
        revoked = rows.filter(key_id=options["id"] or "").first()
        if revoked is None:
            raise Problem("not_found", "There is no such key; 'apikey list' shows their ids.")
        api_keys.revoke(actor, revoked)
        self.stdout.write(f"Revoked {revoked.key_id}.")
