"""What is asked of the registry over HTTP, and how its refusals become errors."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cuebook.core.example_content import Shot
from cuebook.errors import KeyRefusedError, NotFoundError, RefusedError, UnavailableError
from cuebook.pace import retry_after

try:
    import httpx2 as httpx
except ImportError:  # Python 3.10, which httpx2 does not run on
    import httpx  # type: ignore[no-redef]

Document = dict[str, Any]
MOST_IN_A_BATCH = 100
MAX_BYTES = 256 * 1024 * 1024
USER_AGENT = "cuebook-python"


@dataclass(frozen=True)
class Snapshot:
    """What is live in an environment: all of it, or what differs from the one before."""

    tag: str
    prompts: dict[str, Document]
    removed: list[str] = field(default_factory=list)
    is_whole: bool = True


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: Any


class Remote:
    """The registry at one address, asked with one key. Threads may share it; a forked child calls `forget` first."""

    def __init__(self, url: str, key: str, timeout: float) -> None:
        self._base = f"{url.rstrip('/')}/api/v1"
        self._headers = {"Authorization": f"Bearer {key}", "User-Agent": USER_AGENT, "Accept": "application/json"}
        self._timeout = timeout
        self._client: httpx.Client | None = None

    def version(self, name: str, selector: str) -> Document:
        return self._document("GET", f"/prompts/{name}/versions/{selector}")

    def versions(self, references: Sequence[str]) -> list[Document | RefusedError]:
        """For each of up to MOST_IN_A_BATCH references its version, or why there is none."""
        found = self._document("POST", "/prompts/batch", {"references": list(references)})
        return [one["version"] if "version" in one else _refusal(one["problem"]) for one in found["results"]]

    def snapshot(self, environment: str, since: str) -> Snapshot | None:
        """What is live now; None where nothing has changed since the tag (empty: all of it)."""
        path = f"/environments/{environment}/snapshot"
        answer = self._ask("GET", f"{path}?since={since}" if since else path, tag=since)
        if answer.status == 304:
            return None
        if answer.status == 410:
            return self.snapshot(environment, "")
        document = _accepted(answer)
        is_whole = "since" not in document
        return Snapshot(_tag(answer), document["prompts"], document.get("removed", []), is_whole)

    def examples(self, pinned: str) -> list[Shot]:
        """An example set by its hash."""
        found = self._document("GET", f"/example-sets/versions/{pinned}")["examples"]
        return [Shot(one["input"], one["output"], one.get("note", ""), tuple(one.get("tags", ()))) for one in found]

    def render(self, name: str, selector: str, variables: Mapping[str, Any]) -> Document:
        try:
            body = json.loads(json.dumps({"variables": dict(variables)}, allow_nan=False))
        except (TypeError, ValueError) as error:
            sentence = f"The registry renders this prompt, and its variables must be JSON: {error}"
            raise RefusedError(sentence, "render.invalid_variable") from None
        return self._document("POST", f"/prompts/{name}/versions/{selector}/render", body)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
        self.forget()

    def forget(self) -> None:
        """Leave the connections to the process that opened them."""
        self._client = None

    def _document(self, method: str, path: str, body: Document | None = None) -> Document:
        return _accepted(self._ask(method, path, body))

    def _ask(self, method: str, path: str, body: Document | None = None, tag: str = "") -> _Answer:
        if self._client is None:
            self._client = httpx.Client(headers=self._headers, timeout=self._timeout, follow_redirects=False)
        headers = {"If-None-Match": f'"{tag}"'} if tag else {}
        # httpx limits each read; a server that drips would take any time.
        until = time.monotonic() + self._timeout
        received = bytearray()
        try:
            with self._client.stream(method, self._base + path, json=body, headers=headers) as response:
                for chunk in response.iter_bytes():
                    received += chunk
                    if time.monotonic() > until or len(received) > MAX_BYTES:
                        raise UnavailableError(f"{self._base} answers too slowly or too much.")
        except httpx.HTTPError as error:
            sentence = f"{self._base} cannot be reached: {error or type(error).__name__}"
            raise UnavailableError(sentence) from error
        return _Answer(response.status_code, response.headers, _parsed(bytes(received)))


def _parsed(body: bytes) -> Any:
    """The JSON of a body; None where it is none, as a proxy's error page."""
    try:
        return json.loads(body)
    except ValueError:
        return None


def _accepted(answer: _Answer) -> Document:
    """The document of a good answer; otherwise what is wrong as an error."""
    problem = answer.body if isinstance(answer.body, dict) else {}
    if answer.status == 200 and isinstance(answer.body, dict):
        return answer.body
    code = str(problem.get("code", ""))
    if answer.status == 429 or answer.status >= 500 or not code:
        # Without a code it was not Cuebook that answered: a proxy's 404 says nothing about a prompt.
        told = problem.get("detail") or "not as Cuebook does"
        sentence = f"The registry answered {answer.status}: {told}"
        raise UnavailableError(sentence, code, retry_after(answer.headers.get("Retry-After")))
    raise _refusal(problem)


def _refusal(problem: Mapping[str, Any]) -> RefusedError:
    kinds = {401: KeyRefusedError, 403: KeyRefusedError, 404: NotFoundError}
    kind = kinds.get(problem.get("status", 0), RefusedError)
    return kind(str(problem.get("detail") or problem.get("title")), str(problem.get("code", "")))


def _tag(answer: _Answer) -> str:
    return answer.headers.get("ETag", "").removeprefix("W/").strip('"')
