"""A fetch without Django: the version that a key asks for, in one query.

Most of the time of a fetch that is not cached is Django's layers round one query. Here is that query alone, for what
services ask most: a version without partials, by number, environment, `latest` or whole hash. Whatever is asked
otherwise, is not found or not allowed, is Django's to answer. So is the first fetch at each host: from its answer the
headers are learnt that do not depend on the version, and no layer of Django's is repeated here.
"""

import json
import logging
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

import psycopg
from django.core.signals import request_finished
from django.db import Error, connection
from psycopg_pool import PoolTimeout

from core.errors import Problem
from core.references import Environment, HashPrefix, Latest, Number, Selector, is_prompt_name, parse_selector
from infra.rest import JSONRenderer
from registry.accounts import api_keys
from registry.accounts.permissions import Right, rights_of_key
from registry.api.serializers.versions import VersionSerializer
from registry.delivery import request_scope
from registry.delivery.caching import cache_policy
from registry.delivery.wsgi import Application, Environ, StartResponse
from registry.models import APIKey, ExampleSet, ExampleSetVersion, Prompt, PromptVersion, Role

logger = logging.getLogger(__name__)
FETCH = re.compile(r"/api/v1/prompts/([^/]+)/versions/([^/]+)")
# Headers of a version; the others are the same for every version.
OWN_HEADERS = frozenset({"etag", "cache-control", "content-length", "x-request-id"})
MAX_HEADERS_LEARNT = 100
# After a query that failed.
PAUSE_SECONDS = 5.0
CONDITIONS = {
    Number: "version.number = %(value)s",
    HashPrefix: "version.content_hash = %(value)s",
    Latest: "version.number = (SELECT max(number) FROM registry_promptversion WHERE prompt_id = prompt.id)",
    Environment: """version.id = (
        SELECT release.version_id FROM registry_release release
        JOIN registry_environment environment ON environment.id = release.environment_id
        WHERE environment.project_id = key.project_id AND environment.name = %(value)s
        AND release.prompt_id = prompt.id ORDER BY release.number DESC LIMIT 1
    )""",
}
QUERY = """
SELECT key.id, key.project_id, key.digest, key.scopes, key.expires_at, key.revoked_at, key.owner_id,
    (
        SELECT member.role FROM registry_membership member JOIN registry_user owner ON owner.id = member.user_id
        WHERE member.user_id = key.owner_id AND member.project_id = key.project_id AND owner.is_active
    ),
    version.id, version.number, version.content_hash, version.message, version.author_name, version.created_at,
    version.content, parent.number, example_set.name, examples.number, examples.content_hash,
    ARRAY(
        SELECT environment.name FROM registry_environment environment
        WHERE environment.project_id = key.project_id AND (
            SELECT release.version_id FROM registry_release release
            WHERE release.environment_id = environment.id AND release.prompt_id = prompt.id
            ORDER BY release.number DESC LIMIT 1
        ) = version.id ORDER BY environment.position
    )
FROM registry_apikey key
JOIN registry_prompt prompt ON prompt.project_id = key.project_id AND prompt.name = %(name)s
JOIN registry_promptversion version ON version.prompt_id = prompt.id
LEFT JOIN registry_promptversion parent ON parent.id = version.parent_id
LEFT JOIN registry_examplesetversion examples ON examples.id = version.example_set_id
LEFT JOIN registry_exampleset example_set ON example_set.id = examples.example_set_id
WHERE key.key_id = %(key)s AND """


class _Row(NamedTuple):
    """What the query returns, in its order: the key, its owner's role, and the version."""

    key: int
    project: int
    digest: str
    scopes: list[str]
    expires_at: datetime | None
    revoked_at: datetime | None
    owner: int | None
    owner_role: str | None
    version: int
    number: int
    content_hash: str
    message: str
    author_name: str
    created_at: datetime
    content: str
    parent: int | None
    set_name: str | None
    set_number: int | None
    set_hash: str | None
    live_in: list[str]


# One for all: a serializer makes its fields anew each time, which takes longer than what they are for.
SERIALIZER, RENDERER = VersionSerializer(context={"partials": {}}), JSONRenderer()
STATEMENTS = {kind: QUERY + condition for kind, condition in CONDITIONS.items()}


class DirectFetch:
    """A WSGI application in front of Django, and behind the response cache, which adds what belongs to one request."""

    def __init__(self, django: Application) -> None:
        self._django = django
        # By host and scheme: the headers that Django's layers add to every version.
        self._headers: OrderedDict[tuple[str, ...], list[tuple[str, str]]] = OrderedDict()
        self._lock = threading.Lock()
        self._resumes_at = 0.0

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        question = _read_question(environ)
        # What nobody counts, and caches, is Django's: it notes the use of the key itself.
        if question is None or not request_scope.is_recorded() or time.monotonic() < self._resumes_at:
            return self._django(environ, start_response)
        place = (environ.get("HTTP_HOST", ""), environ["wsgi.url_scheme"], environ.get("HTTP_X_FORWARDED_PROTO", ""))
        shared = self._headers.get(place)
        if shared is None:
            return self._django(environ, self._learning(place, start_response))
        try:
            answer = _answer(*question)
        except (Error, psycopg.Error, PoolTimeout):
            # Django says what is the matter, and has the next requests for itself, so that none waits twice. With a
            # pooler that keeps no prepared statements for its clients it goes on like that.
            self._resumes_at = time.monotonic() + PAUSE_SECONDS
            answer = None
        except Exception:
            logger.exception("direct_fetch.failed")
            answer = None
        if answer is None:
            return self._django(environ, start_response)
        headers, body = answer
        start_response("200 OK", [*headers, *shared])
        return [body]

    def _learning(self, place: tuple[str, ...], start_response: StartResponse) -> StartResponse:
        def learn(status: str, headers: list[tuple[str, str]], *details: Any) -> Any:
            names = {name.lower() for name, _ in headers}
            if status.startswith("200") and "etag" in names and "set-cookie" not in names:
                with self._lock:
                    self._headers[place] = [header for header in headers if header[0].lower() not in OWN_HEADERS]
                    while len(self._headers) > MAX_HEADERS_LEARNT:
                        self._headers.popitem(last=False)
            return start_response(status, headers, *details)

        return learn


def _read_question(environ: Environ) -> tuple[str, str, str, Selector] | None:
    """Read a fetch that can be answered here: the key's id and secret, the prompt's name and the selector."""
    path = FETCH.fullmatch(environ["PATH_INFO"])
    scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
    credentials = api_keys.TOKEN.fullmatch(token.strip()) if scheme.lower() == "bearer" else None
    if path is None or credentials is None or environ["REQUEST_METHOD"] != "GET" or not is_prompt_name(path[1]):
        return None
    has_body = "HTTP_TRANSFER_ENCODING" in environ or environ.get("CONTENT_LENGTH", "") not in ("", "0")
    if has_body or environ.get("QUERY_STRING") or "indent" in environ.get("HTTP_ACCEPT", "").lower():
        return None
    try:
        selector = parse_selector(path[2])
    except Problem:
        return None
    if isinstance(selector, HashPrefix) and not selector.is_whole:
        return None
    return credentials[1], credentials[2], path[1], selector


def _answer(key_id: str, secret: str, name: str, selector: Selector) -> tuple[list[tuple[str, str]], bytes] | None:
    """Return headers and body, or None where Django has to answer."""
    row = _read(key_id, name, selector)
    if row is None:
        return None
    key = APIKey(
        pk=row.key, project_id=row.project, digest=row.digest, expires_at=row.expires_at, revoked_at=row.revoked_at
    )
    role = Role(row.owner_role) if row.owner_role else None
    rights = rights_of_key(row.scopes, is_owned=row.owner is not None, owner_role=role)
    if not api_keys.is_secret_of(key, secret) or not key.is_usable or Right.SEE not in rights:
        return None
    version = _version(name, row)
    if version.content.get("includes"):
        return None
    body: bytes = RENDERER.render(SERIALIZER.to_representation(version))
    request_scope.set_key(key)
    request_scope.add_versions([version.pk])
    own = [("ETag", f'"{version.content_hash}"'), ("Cache-Control", cache_policy(selector))]
    return [*own, ("Content-Length", str(len(body)))], body


def _read(key_id: str, name: str, selector: Selector) -> _Row | None:
    match selector:
        case Environment(environment):
            value: str | int | None = environment
        case Number(number):
            value = number
        case HashPrefix(content_hash):
            value = content_hash
        case Latest():
            value = None
    try:
        connection.ensure_connection()
        # Planning takes five times as long as the query itself, so it is planned once for each connection. Django's own
        # cursors prepare nothing, whatever stands here.
        connection.connection.prepare_threshold = 0
        with psycopg.Cursor(connection.connection) as cursor:
            cursor.execute(STATEMENTS[type(selector)], {"key": key_id, "name": name, "value": value})
            row = cursor.fetchone()
    finally:
        # As at the end of a request: the connection goes back to the pool.
        request_finished.send(sender=DirectFetch)
    return None if row is None else _Row(*row)


def _version(name: str, row: _Row) -> PromptVersion:
    """Build the version and what is told of it, as they are read elsewhere (registry.prompts.resolution)."""
    version = PromptVersion(
        pk=row.version,
        number=row.number,
        content_hash=row.content_hash,
        message=row.message,
        author_name=row.author_name,
        created_at=row.created_at,
        content=json.loads(row.content),
    )
    version.prompt = Prompt(name=name)
    version.parent = PromptVersion(number=row.parent) if row.parent else None
    if row.set_name and row.set_number and row.set_hash:
        example_set = ExampleSet(name=row.set_name)
        version.example_set = ExampleSetVersion(
            example_set=example_set, number=row.set_number, content_hash=row.set_hash
        )
    version.live_in = row.live_in  # type: ignore[attr-defined]  # annotated where versions are resolved
    return version
