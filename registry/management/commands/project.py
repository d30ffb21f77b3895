from argparse import ArgumentParser
from typing import Any

from core.errors import Problem
from registry.accounts import projects
from registry.management.project_command import ProjectCommand
from registry.models import Role, User


class Command(ProjectCommand):
    """Creates projects and their first admins; the rest is done in the browser or over the API."""

    help = "create: create a project with three environments. add-member: give a user a role in it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", choices=["create", "add-member"])
        super().add_arguments(parser)
        parser.add_argument("--name", help="create: the project's display name")
        parser.add_argument("--user", help="add-member: the user name (created with createsuperuser or in /admin/)")
        parser.add_argument("--role", choices=Role.values, default=Role.ADMIN, help="add-member; default: %(default)s")

    def run(self, *, action: str, project: str, **options: Any) -> None:
        if action == "create":
            created = projects.create_project(slug=project, name=options["name"] or project)
            self.stdout.write(f"Created {created.slug}.")
            return
        user = User.objects.filter(username=options["user"] or "").first()
        if user is None:
            raise Problem("member.unknown_user", "Name an existing user with --user.")
        membership = projects.set_member(self.actor_in(project), user=user, role=Role(options["role"]))
        self.stdout.write(str(membership))
