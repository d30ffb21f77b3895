"""The direct fetch: what Django answers, byte by byte and header by header, in one query; all else is Django's."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from io import BytesIO
from typing import Any

import psycopg
import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.db import OperationalError
from django.utils import timezone

from registry.accounts import api_keys, permissions, projects
from registry.api import direct_fetch
from registry.api.direct_fetch import DirectFetch
from registry.delivery import request_scope
from registry.examples import example_sets
from registry.models import APIKey, Role
from tests.conftest import Stage, make_user

pytestmark = pytest.mark.usefixtures("one_connection")
AWKWARD = 'Sort it: \u2028 <b>é</b> \U0001f600 \\ " {{ x }} ' + "word " * 200
PROMPT = "/api/v1/prompts/support.triage/versions"


class Front:
    """A direct fetch that has learnt its headers, and counts the calls that it leaves to Django."""

    def __init__(self) -> None:
        self.django_calls = 0
        self._django = WSGIHandler()
        self.direct = DirectFetch(self._count)

    def _count(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        self.django_calls += 1
        return self._django(environ, start_response)

    def answers(self, path: str, token: str, **changes: str) -> tuple[list[Any], list[Any]]:
        """Return the direct answer and Django's: status, headers without the request's id, body, versions."""
        return self._ask(self.direct, path, token, changes), self._ask(self._django, path, token, changes)

    def _ask(
        self,
        application: Callable[..., Iterable[bytes]],
        path: str,
        token: str,
        changes: Any,
        *,
        is_recorded: bool = True,
    ) -> list[Any]:
        address, _, query = path.partition("?")
        environ = {
            **{"REQUEST_METHOD": "GET", "PATH_INFO": address, "QUERY_STRING": query, "SCRIPT_NAME": ""},
            **{"SERVER_NAME": "testserver", "SERVER_PORT": "80", "HTTP_HOST": "testserver", "wsgi.input": BytesIO()},
            **{"SERVER_PROTOCOL": "HTTP/1.1", "wsgi.url_scheme": "http", "HTTP_AUTHORIZATION": f"Bearer {token}"},
            **changes,
        }
        started: list[Any] = []
        scope = request_scope.begin() if is_recorded else request_scope.RequestScope()
        result = application(environ, lambda status, headers, _=None: started.extend((status, headers)))
        body = b"".join(result)
        if close := getattr(result, "close", None):
            close()
        request_scope.end()
        headers = sorted((name, value) for name, value in started[1] if name != "X-Request-ID")
        key = scope.key and (scope.key.pk, scope.key.project_id, scope.key.expires_at)
        return [started[0], headers, body, key, scope.versions]


@pytest.fixture
def token(stage: Stage) -> str:
    return issue(stage, ["read"])


def issue(stage: Stage, scopes: list[str], **members: Any) -> str:
    root = permissions.actor_for_command_line(stage.project)
    return api_keys.issue(root, name="service", scopes=scopes, **members)[1]


@pytest.fixture
def front(stage: Stage, token: str) -> Front:
    """With versions in two environments; production's has a parent, an example set and odd characters."""
    prompt = stage.prompt()
    stage.release(stage.commit(prompt, "First"), "staging")
    example_set = example_sets.create(stage.edith, name="support.examples")
    picked = example_sets.commit(stage.edith, example_set, examples=[{"input": "a", "output": "b"}]).version
    messages = [
        {"role": "system", "content": AWKWARD},
        {"role": "placeholder", "name": "examples"},
        {"role": "user", "content": "{{ x }}"},
    ]
    members = {"messages": messages, "examples": {"set": picked.content_hash, "k": 1, "select": "first"}}
    stage.release(stage.commit(prompt, "", variables={"x": {"type": "number", "default": 0.1}}, **members))
    stage.commit(prompt, "Third")
    front = Front()
    # The headers are learnt from the first answer at this host.
    front.answers(f"{PROMPT}/1", token)
    assert front.django_calls == 1
    front.django_calls = 0
    return front


@pytest.mark.parametrize("selector", ["production", "staging", "1", "2", "03", "latest"])
def test_a_version_is_answered_as_by_django(front: Front, token: str, selector: str):
    direct, django = front.answers(f"{PROMPT}/{selector}", token)

    assert direct == django
    assert direct[0] == "200 OK"
    assert front.django_calls == 0


def test_a_whole_hash_is_answered_and_it_is_one_query(front: Front, token: str, monkeypatch: pytest.MonkeyPatch):
    tag = dict(front.answers(f"{PROMPT}/2", token)[0][1])["ETag"].strip('"')
    direct, django = front.answers(f"{PROMPT}/{tag}", token)

    assert direct == django
    assert front.django_calls == 0
    queries: list[Any] = []
    execute = psycopg.Cursor.execute
    monkeypatch.setattr(psycopg.Cursor, "execute", lambda *all, **how: queries.append(all) or execute(*all, **how))
    front._ask(front.direct, f"{PROMPT}/production", token, {})
    assert len(queries) == 1


@pytest.mark.parametrize(
    ("path", "changes", "status"),
    [
        (f"{PROMPT}/9", {}, 404),
        (f"{PROMPT}/development", {}, 404),
        (f"{PROMPT}/Not-One", {}, 400),
        (f"{PROMPT}/sha256:000000000000", {}, 404),
        ("/api/v1/prompts/no.such/versions/1", {}, 404),
        (f"{PROMPT}/1?n=1", {}, 400),
        (f"{PROMPT}/1?project=%00", {}, 400),
        (f"{PROMPT}/1?project=paper", {}, 200),
        (f"{PROMPT}/1?project=elsewhere", {}, 404),
        (f"{PROMPT}/1", {"HTTP_HOST": "elsewhere.example"}, 400),
        (f"{PROMPT}/1", {"HTTP_ACCEPT": "application/json; Indent=4"}, 200),
        (f"{PROMPT}/1", {"REQUEST_METHOD": "DELETE"}, 405),
        (f"{PROMPT}/1", {"HTTP_TRANSFER_ENCODING": "chunked"}, 411),
        ("/api/v1/me", {}, 200),
    ],
)
def test_all_else_is_left_to_django(front: Front, token: str, path: str, changes: dict[str, str], status: int):
    direct, django = front.answers(path, token, **changes)

    assert direct[0] == django[0]
    assert direct[2] == django[2]
    assert int(direct[0][:3]) == status
    assert front.django_calls == 1


def test_a_version_with_partials_is_djangos(front: Front, stage: Stage, token: str):
    stage.release(stage.commit(stage.prompt("shared.tone"), "Be kind"))
    stage.commit(stage.prompt("whole"), "{% include 'shared.tone' %}")

    direct, django = front.answers("/api/v1/prompts/whole/versions/1", token)

    assert direct == django
    assert front.django_calls == 1


@pytest.mark.parametrize("kind", ["wrong", "revoked", "expired", "observe", "former member", "other project"])
def test_no_key_gets_here_what_django_refuses_it(front: Front, stage: Stage, kind: str):
    root = permissions.actor_for_command_line(stage.project)
    token = issue(stage, ["observe"] if kind == "observe" else ["read"])
    key = APIKey.objects.get(key_id=token.split("_")[1])
    match kind:
        case "wrong":
            token = token[:-1] + ("a" if token[-1] != "a" else "b")
        case "revoked":
            api_keys.revoke(root, key)
        case "expired":
            APIKey.objects.filter(pk=key.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
        case "former member":
            vera = stage.vera.user
            assert vera is not None
            token = issue(stage, ["read"], owner=vera)
            vera.is_active = False
            vera.save()
        case "other project":
            other = projects.create_project(slug="elsewhere", name="Elsewhere")
            token = api_keys.issue(permissions.actor_for_command_line(other), name="x", scopes=["read"])[1]

    direct, django = front.answers(f"{PROMPT}/production", token)

    assert direct == django
    assert int(direct[0][:3]) in (401, 403, 404)
    assert front.django_calls == 1


def test_a_members_key_reads(front: Front, stage: Stage):
    holder = make_user("holder")
    projects.set_member(permissions.actor_for_command_line(stage.project), user=holder, role=Role.VIEWER)

    direct, django = front.answers(f"{PROMPT}/production", issue(stage, ["write"], owner=holder))

    assert direct == django
    assert front.django_calls == 0


def test_what_nobody_counts_is_djangos(front: Front, token: str):
    """Outside the response cache nobody would note that the key was used, or add the request's id."""
    answer = front._ask(front.direct, f"{PROMPT}/1", token, {}, is_recorded=False)

    assert answer[0] == "200 OK"
    assert front.django_calls == 1


def test_what_cannot_be_written_is_djangos(front: Front, token: str, monkeypatch: pytest.MonkeyPatch):
    class Unable:
        def render(self, document: Any) -> bytes:
            raise ValueError("no JSON for this number")

    monkeypatch.setattr(direct_fetch, "RENDERER", Unable())

    direct, django = front.answers(f"{PROMPT}/1", token)

    assert direct == django
    assert front.django_calls == 1


def test_where_the_query_fails_django_is_asked(front: Front, token: str, monkeypatch: pytest.MonkeyPatch):
    class Away:
        def ensure_connection(self) -> None:
            raise OperationalError("the database is away")

    monkeypatch.setattr(direct_fetch, "connection", Away())

    direct, django = front.answers(f"{PROMPT}/1", token)

    assert direct == django
    assert front.django_calls == 1
    monkeypatch.undo()
    front.answers(f"{PROMPT}/1", token)
    assert front.django_calls == 2, "none waits twice for a database that is away"


def test_another_host_learns_its_own_headers(front: Front, token: str):
    local = {"HTTP_HOST": "localhost"}

    first = front.answers(f"{PROMPT}/1", token, **local)
    second = front.answers(f"{PROMPT}/1", token, **local)

    assert first == second
    assert front.django_calls == 1
