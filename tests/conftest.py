"""The cast and the stage that all tests share.

In the project `paper`: Vera (viewer), Edith (editor), Rhea and Ralf (reviewers), Ada (admin). Otis edits another
project and must see nothing of this one.
"""

import gc
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import hypothesis
import pytest
from django.contrib.auth.hashers import make_password
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connection, transaction
from django.db.backends.postgresql.operations import DatabaseOperations
from django.test import override_settings
from rest_framework.test import APIClient
from whitenoise.middleware import WhiteNoiseMiddleware  # type: ignore[import-untyped]

from registry.accounts import api_keys, permissions, projects
from registry.accounts.permissions import Actor
from registry.models import Environment, Membership, Project, Prompt, PromptVersion, Release, Role, User
from registry.promotions import environments, releases, workflow
from registry.prompts import lifecycle as prompts
from registry.prompts import versions
from tests import servers

# CI runs the same examples each time; elsewhere every run explores others.
# A deadline would make a verdict of a busy machine.
hypothesis.settings.register_profile("reproducible", derandomize=True, deadline=None)
hypothesis.settings.register_profile("exploring", deadline=None)
hypothesis.settings.load_profile("reproducible" if os.environ.get("CI") else "exploring")

ROLES = {
    "vera": Role.VIEWER,
    "edith": Role.EDITOR,
    "rhea": Role.REVIEWER,
    "ralf": Role.REVIEWER,
    "ada": Role.ADMIN,
}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins first, so that no process is left alone with it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_collection_finish() -> None:
    """What was imported and collected stays to the end: nobody looks for garbage among it any more."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _flush_insert_only_tables() -> Iterator[None]:
    """Tests with real transactions empty all tables afterwards; the triggers that refuse that step aside for it."""
    plain = DatabaseOperations.execute_sql_flush

    def flush(self: DatabaseOperations, sql_list: list[str]) -> None:
        role = "SET session_replication_role = {}"
        plain(self, [role.format("replica"), *sql_list, role.format("DEFAULT")])

    patch = pytest.MonkeyPatch()
    patch.setattr(DatabaseOperations, "execute_sql_flush", flush)
    yield
    patch.undo()


@pytest.fixture(autouse=True, scope="session")
def _find_static_files_once() -> Iterator[None]:
    """Each test client has a chain of middleware of its own, and WhiteNoise would look at every static file again."""
    plain, found_files = WhiteNoiseMiddleware.add_files_from_finders, dict[str, Any]()

    def add_files(self: WhiteNoiseMiddleware) -> None:
        if not found_files:
            plain(self)
            found_files.update(self.files)
        self.files.update(found_files)

    patch = pytest.MonkeyPatch()
    patch.setattr(WhiteNoiseMiddleware, "add_files_from_finders", add_files)
    yield
    patch.undo()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """pytest-django's hook: each process's database is a copy of one that is migrated once."""
    # Where there is none, the test database is migrated from nothing.
    connection.settings_dict["TEST"]["TEMPLATE"] = servers.template()


@pytest.fixture(autouse=True, scope="session")
def _cheap_passwords() -> Iterator[None]:
    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]):
        yield


@dataclass(frozen=True)
class Stage:
    """A project with its people as actors."""

    project: Project
    vera: Actor
    edith: Actor
    rhea: Actor
    ralf: Actor
    ada: Actor

    def environment(self, name: str) -> Environment:
        return environments.get_environment(self.project, name)

    def prompt(self, name: str = "support.triage") -> Prompt:
        return prompts.create(self.edith, name=name)

    def commit(self, prompt: Prompt, text: str, by: Actor | None = None, **members: Any) -> PromptVersion:
        content = chat(text, **members)
        return versions.commit(by or self.edith, prompt, content=content, message=text[:40]).version

    def release(self, version: PromptVersion, environment: str = "production") -> Release:
        """Promote as people do: Edith asks, Rhea approves where it must be, Edith applies."""
        target = self.environment(environment)
        promotion = workflow.request(self.edith, version.prompt, version, target)
        if target.protected:
            workflow.approve(self.rhea, promotion)
        return workflow.apply(self.edith, promotion)

    def roll_back(self, prompt: Prompt, environment: str = "production", **options: Any) -> Release:
        return releases.roll_back(self.edith, prompt, self.environment(environment), **options)


def chat(text: str, **members: Any) -> dict[str, Any]:
    """Content with one system message."""
    return {"kind": "chat", "messages": [{"role": "system", "content": text}], **members}


def new_user(name: str) -> User:
    return User(username=name, password=make_password("correct horse"), first_name=name.title())


def make_user(name: str) -> User:
    user = new_user(name)
    user.save()
    return user


@pytest.fixture
def one_connection() -> Iterator[None]:
    """A request through plain WSGI does not close the connection that holds the test's transaction; Django's own test
    client does the same."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def stage(db: None) -> Stage:
    return make_stage()


@pytest.fixture(scope="module")
def module_transaction(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """A transaction round those of a module's tests: what its fixtures insert is there for each, as it was."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.fixture(scope="module")
def shared_stage(module_transaction: None) -> Stage:
    """One stage for all tests of a module that asks for it, which then has no other; the tests ask for `db` as well."""
    return make_stage()


def make_stage() -> Stage:
    """Create the project and its people: by rows, for this is what nearly every test begins with."""
    project = projects.create_project(slug="paper", name="Paper")
    users = User.objects.bulk_create(new_user(name) for name in ROLES)
    memberships = Membership.objects.bulk_create(
        Membership(project=project, user=user, role=ROLES[user.username]) for user in users
    )
    people = {each.user.username: permissions.actor_for_member(each, each.user) for each in memberships}
    return Stage(project, **people)


@pytest.fixture
def live_stage(transactional_db: None) -> Stage:
    """The same stage where transactions are real, for races between connections."""
    # A race is between those who take part; a child that has yet to start would only make some of them late.
    versions.renderer_pool().warm()
    versions.renderer_pool().render({"kind": "text", "text": "warm"}, {}, {})
    return make_stage()


@pytest.fixture
def otis(db: None) -> Actor:
    """The outsider."""
    project = projects.create_project(slug="elsewhere", name="Elsewhere")
    user = make_user("otis")
    projects.set_member(permissions.actor_for_command_line(project), user=user, role=Role.ADMIN)
    return permissions.actor_for_user(user, project)


ApiFor = Callable[..., APIClient]


@pytest.fixture
def api_for() -> ApiFor:
    """An API client: of a person by session, or with a new key of the given scopes."""

    def make(actor: Actor, *, scopes: list[str] | None = None) -> APIClient:
        client = APIClient(raise_request_exception=False)
        if scopes:
            _, token = api_keys.issue(permissions.actor_for_command_line(actor.project), name="tests", scopes=scopes)
            client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
        elif actor.user:
            client.force_login(actor.user)
        client.default_format = "json"
        return client

    return make


@pytest.fixture
def api(stage: Stage, api_for: ApiFor) -> APIClient:
    """A service with a read and write key."""
    return api_for(stage.edith, scopes=["read", "write"])


def triggers_hold() -> bool:
    """Whether this connection has ordinary triggers on (the flush above must have put them back)."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW session_replication_role")
        return bool(cursor.fetchone()[0] == "origin")
