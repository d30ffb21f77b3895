"""The demo project: real prompts with a history, so that the first page shows the purpose of Cuebook.

Everything is created by the functions that users and services use, so the demo obeys every rule.
"""

import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from django.db import transaction

from infra.private_files import read_json, write_private_json
from registry.accounts import api_keys, projects
from registry.accounts.permissions import Actor, actor_for_command_line, actor_for_user
from registry.content import example_file, prompt_file
from registry.examples import example_sets, text_vectors
from registry.models import Project, Prompt, PromptVersion, Role, User
from registry.promotions import environments, releases, workflow
from registry.prompts import lifecycle as prompts
from registry.prompts import versions
from registry.retrieval import collections, documents

PROJECT = "demo"
OTHER_PROJECT = "elsewhere"
PROMPTS, HANDBOOK = (Path(__file__).parent / name for name in ("demo_prompts", "demo_handbook"))


@dataclass(frozen=True)
class DemoUser:
    first_name: str
    role: Role
    purpose: str
    project: str = PROJECT


USERS = {
    "editor": DemoUser("Edith", Role.EDITOR, "writes prompts and asks for promotions"),
    "reviewer": DemoUser("Rhea", Role.REVIEWER, "approves what others wrote"),
    "admin": DemoUser("Ada", Role.ADMIN, "environments, keys, members, and /admin/"),
    "outsider": DemoUser("Otis", Role.EDITOR, "a member of another project; sees nothing of this one", OTHER_PROJECT),
}


@dataclass(frozen=True)
class Credentials:
    passwords: dict[str, str]
    token: str


def read_credentials(path: Path) -> Credentials | None:
    stored = read_json(path)
    return Credentials(**stored) if stored else None


@transaction.atomic
def seed(credentials_file: Path) -> bool:
    """Create the demo unless it exists, and write its credentials; returns whether it was created."""
    if Project.objects.filter(slug=PROJECT).exists():
        return False
    demo = projects.create_project(slug=PROJECT, name="Demo")
    projects.create_project(slug=OTHER_PROJECT, name="Elsewhere")
    passwords = {name: _create_user(name, demo_user) for name, demo_user in USERS.items()}
    editor = User.objects.get(username="editor")
    scopes = ["read", "write", "infer"]
    _, token = api_keys.issue(actor_for_command_line(demo), name="demo", scopes=scopes, owner=editor)
    text_vectors.store_demo_vectors()
    _create_history(demo)
    # Before the commit: users whose passwords nobody has would be worse than an unused file.
    write_private_json(credentials_file, asdict(Credentials(passwords, token)))
    return True


def _create_user(name: str, demo_user: DemoUser) -> str:
    password = secrets.token_urlsafe(12)
    is_admin = demo_user.role == Role.ADMIN
    user = User.objects.create_user(
        name,
        f"{name}@example.com",
        password,
        first_name=demo_user.first_name,
        is_staff=is_admin,
        is_superuser=is_admin,
    )
    project = Project.objects.get(slug=demo_user.project)
    projects.set_member(actor_for_command_line(project), user=user, role=demo_user.role)
    return password


def _create_history(demo: Project) -> None:
    """A partial and three prompts; triage goes to production twice and back once; a reply waits for review."""
    editor, reviewer = (actor_for_user(User.objects.get(username=name), demo) for name in ("editor", "reviewer"))
    (tone,) = _commit_all(editor, "shared.tone")
    _release(editor, reviewer, tone, "production", "The voice that all replies share.")
    first, second, third = _commit_all(editor, "support.triage")
    _release(editor, reviewer, first, "production", "First version in use.")
    _release(editor, reviewer, second, "production", "Machine-readable answers for the router.")
    production = environments.get_environment(demo, "production")
    releases.roll_back(
        editor,
        first.prompt,
        production,
        reason="The router dropped tickets whose answer was wrapped in a code fence.",
    )
    _release(editor, reviewer, third, "staging", "Schema and examples; trying it on yesterday's tickets.")
    (extraction,) = _commit_all(editor, "billing.extract-invoice")
    _release(editor, reviewer, extraction, "production", "Replaces the regular expressions.")
    draft, better_draft = _commit_all(editor, "support.reply")
    _release(editor, reviewer, draft, "production", "Drafts for the support desk.")
    workflow.request(
        editor,
        better_draft.prompt,
        better_draft,
        production,
        reason="Stops promising dates that nobody agreed to.",
    )
    shots = example_file.read_file((PROMPTS / "support.tickets.jsonl").read_bytes(), "support.tickets.jsonl")
    tickets = example_sets.create(editor, name="support.tickets", description="Tickets of each team, answered by hand.")
    example_sets.commit(editor, tickets, examples=shots, message="Six of each team")
    _create_handbook(editor)
    (rubric,) = _commit_all(editor, "judges.faithful")
    _release(editor, reviewer, rubric, "production", "For runs of prompts that look things up.")
    (answer,) = _commit_all(editor, "support.answer")
    _release(editor, reviewer, answer, "production", "Answers from the handbook.")
    (route,) = _commit_all(editor, "support.route")
    _release(editor, reviewer, route, "staging", "Picks its examples; to be measured against support.triage.")


def _create_handbook(editor: Actor) -> None:
    """The handbook of a product that does not exist, written for this project; workers embed it."""
    description = "Handbook of Quayside, a help desk that does not exist: accounts, billing, data, inbox, integrations."
    handbook = collections.create(editor, name="support.handbook", description=description)
    for path in sorted(HANDBOOK.rglob("*.md")):
        documents.put(editor, handbook, path.relative_to(HANDBOOK).as_posix(), path.read_bytes())


def _commit_all(editor: Actor, name: str) -> list[PromptVersion]:
    """Commit a prompt's files in their order; the first one describes the prompt."""
    files = [prompt_file.read(path.read_text(encoding="utf-8")) for path in sorted(PROMPTS.glob(f"{name}.*.md"))]
    prompt: Prompt = prompts.create(editor, name=name, description=files[0].description, tags=files[0].tags)
    return [versions.commit(editor, prompt, content=file.content, message=file.message).version for file in files]


def _release(editor: Actor, reviewer: Actor, version: PromptVersion, environment: str, reason: str) -> None:
    target = environments.get_environment(editor.project, environment)
    promotion = workflow.request(editor, version.prompt, version, target, reason=reason)
    if target.protected:
        workflow.approve(reviewer, promotion, comment="Read and tried.")
    workflow.apply(editor, promotion)
