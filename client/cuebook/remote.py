"""HTTP requests to the registry, and the errors for its refusals."""

import json
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cuebook.answers import (
    Document,
    read_batch,
    read_experiments,
    read_rendered,
    read_shots,
    read_snapshot,
    read_version,
)
from cuebook.core.examples import Shot
from cuebook.core.retry_after import parse_retry_after
from cuebook.errors import CuebookError, IntegrityError, KeyRefusedError, NotFoundError, RefusedError, UnavailableError

try:
    import httpx2 as httpx
except ImportError:  # Python 3.10, which httpx2 does not run on
    import httpx  # type: ignore[no-redef]

MAX_BATCH = 100
EXPERIMENTS_AGAIN_SECONDS = 600.0
MAX_BYTES = 256 * 1024 * 1024
USER_AGENT = "cuebook-python"
REFUSALS = {401: KeyRefusedError, 403: KeyRefusedError, 404: NotFoundError}


@dataclass(frozen=True)
class Snapshot:
    """The live versions of an environment: all of them, or the changes since the previous snapshot."""

    tag: str
    prompts: dict[str, Document]
    removed: list[str] = field(default_factory=list)
    is_whole: bool = True
    # What experiments serve, by the prompt's name, and the versions of their arms by hash: all of them each time.
    experiments: dict[str, Document] = field(default_factory=dict)
    arms: dict[str, Document] = field(default_factory=dict)


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: Any


class Remote:
    """The registry at one address, asked with one key. Threads may share it; a forked child calls `forget` first.

    Every call raises CuebookError, and nothing else.
    """

    def __init__(self, url: str, key: str, timeout: float) -> None:
        self._base = f"{url.rstrip('/')}/api/v1"
        self._headers = {"Authorization": f"Bearer {key}", "User-Agent": USER_AGENT, "Accept": "application/json"}
        self._timeout = timeout
        self._client: httpx.Client | None = None
        # A registry from before experiments refuses the parameter; it is asked without it until then.
        self._no_experiments_until = 0.0

    def version(self, full_reference: str) -> Document:
        """Fetch a version by its reference with the selector."""
        name, _, selector = full_reference.partition("@")
        return read_version(self._document("GET", f"/prompts/{name}/versions/{selector}"), full_reference)

    def versions(self, full_references: Sequence[str]) -> list[Document | RefusedError | IntegrityError]:
        """Fetch the versions, or errors, of up to MAX_BATCH references."""
        return read_batch(
            self._document("POST", "/prompts/batch", {"references": list(full_references)}), full_references, _refusal
        )

    def snapshot(self, environment: str, since: str) -> Snapshot | None:
        """Fetch what is live now; None where nothing has changed since the tag (empty: all of it)."""
        with_experiments = time.monotonic() >= self._no_experiments_until
        parameters = [*(["experiments=1"] if with_experiments else []), *([f"since={since}"] if since else [])]
        path = f"/environments/{environment}/snapshot?{'&'.join(parameters)}".rstrip("?")
        answer = self._ask("GET", path, tag=since)
        if with_experiments and answer.status == 400 and "?experiments" in str(answer.body):
            # An older one may be one of several, in the middle of an upgrade.
            self._no_experiments_until = time.monotonic() + EXPERIMENTS_AGAIN_SECONDS
            return self.snapshot(environment, since)
        if since and answer.status == 304:
            return None
        if since and answer.status == 410:
            return self.snapshot(environment, "")
        document = _document_or_error(answer)
        live, removed, is_whole = read_snapshot(document)
        experiments, arms = read_experiments(document)
        return Snapshot(_tag(answer), live, removed, is_whole, experiments, arms)

    def examples(self, pinned: str) -> list[Shot]:
        """Fetch an example set by its hash."""
        return read_shots(self._document("GET", f"/example-sets/versions/{pinned}").get("examples"))

    def render(self, name: str, pinned: str, variables: Mapping[str, Any]) -> Document:
        """Fetch the registry's own rendering of a version."""
        answer = self._document("POST", f"/prompts/{name}/versions/{pinned}/render", {"variables": dict(variables)})
        return read_rendered(answer, name, pinned)

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def forget(self) -> None:
        """Leave the connections to the parent process, which opened them."""
        self._client = None

    def _document(self, method: str, path: str, body: Document | None = None) -> Document:
        return _document_or_error(self._ask(method, path, body))

    def _ask(self, method: str, path: str, body: Document | None = None, tag: str = "") -> _Answer:
        """Send one request, within the timeout as a whole: httpx limits each step, but neither a name's look-up nor a
        response that drips slowly."""
        headers = {"If-None-Match": f'"{tag}"'} if tag else {}
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = _encode(body)
        outcome: queue.SimpleQueue[_Answer | CuebookError] = queue.SimpleQueue()
        client = self._client
        if client is None:
            client = httpx.Client(headers=self._headers, timeout=self._timeout, follow_redirects=False)
            self._client = client

        def exchange() -> None:
            outcome.put(self._exchange(client, method, path, headers, content))

        threading.Thread(target=exchange, name="cuebook-request", daemon=True).start()
        try:
            result = outcome.get(timeout=self._timeout)
        except queue.Empty:
            # The next request must not wait for this connection.
            self._client = None
            raise UnavailableError(f"{self._base} does not answer within {self._timeout:g} s.") from None
        if isinstance(result, CuebookError):
            raise result
        return result

    def _exchange(
        self, client: "httpx.Client", method: str, path: str, headers: Mapping[str, str], content: bytes | None
    ) -> _Answer | CuebookError:
        received = bytearray()
        try:
            with client.stream(method, self._base + path, content=content, headers=headers) as response:
                for chunk in response.iter_bytes():
                    received += chunk
                    if len(received) > MAX_BYTES:
                        return UnavailableError(f"{self._base} answers too much.")
            return _Answer(response.status_code, response.headers, _parse(bytes(received)))
        except Exception as error:
            # From httpx, at the interpreter's end, or because the client was closed meanwhile: there is no answer.
            failed = UnavailableError(f"{self._base} cannot be reached: {str(error) or type(error).__name__}")
            failed.__cause__ = error
            return failed


def _encode(body: Document) -> bytes:
    try:
        return json.dumps(body, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        sentence = f"The registry renders this prompt, and its variables must be JSON: {error}"
        raise RefusedError(sentence, "render.invalid_variable") from None


def _parse(body: bytes) -> Any:
    """Parse a body's JSON; None where it is none, such as a proxy's error page."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _document_or_error(answer: _Answer) -> Document:
    """Return the document of a successful answer; otherwise raise its error."""
    problem = answer.body if isinstance(answer.body, dict) else {}
    if answer.status == 200 and isinstance(answer.body, dict):
        return answer.body
    code = problem.get("code")
    is_cuebooks = answer.headers.get("Content-Type", "").startswith("application/problem+json")
    if answer.status == 429 or answer.status >= 500 or not is_cuebooks or not isinstance(code, str):
        # A gateway's own 404 says nothing about a prompt.
        detail = problem.get("detail") or "not as Cuebook does"
        sentence = f"The registry answered {answer.status}: {detail}"[:500]
        problem_code = code if isinstance(code, str) else ""
        raise UnavailableError(sentence, problem_code, parse_retry_after(answer.headers.get("Retry-After")))
    raise _refusal(problem, answer.status)


def _refusal(problem: Mapping[str, Any], status: int) -> RefusedError:
    kind = REFUSALS.get(status, RefusedError)
    return kind(str(problem.get("detail") or problem.get("title")), str(problem.get("code", "")))


def _tag(answer: _Answer) -> str:
    return answer.headers.get("ETag", "").removeprefix("W/").strip('"')
