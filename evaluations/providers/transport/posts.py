"""POSTs of JSON to a provider over guarded connections, whole answers and streams of events. Pure.

Without an SDK's layers, which build, merge and check each request anew: half of the processor time of a call, where a
run makes thousands of them alike. Errors are raised as OpenAI's SDK raises them, so that one place translates all
(openai_client.translate_error).
"""

import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import httpx2
import openai

from evaluations.providers.answer_shapes import garbled_error

END_OF_STREAM = "[DONE]"
LINE_END = re.compile(rb"\r\n|\n|\r")


class Posts:
    """POSTs to paths below an address, with the headers and the query that every request has."""

    def __init__(
        self, http: httpx2.AsyncClient, address: str, query: Mapping[str, str], own: Mapping[str, str]
    ) -> None:
        self._http = http
        self._address, self._query = address.rstrip("/"), query
        headers = httpx2.Headers(http.headers)
        headers.update({"Accept": "application/json", "Content-Type": "application/json", **own})
        self._headers = headers.multi_items()
        self._extensions = {"timeout": http.timeout.as_dict()}

    async def post(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> httpx2.Response:
        """Send a body and return the whole answer, of a status below 300; else raise the SDK's error."""
        return await self._send(self._request("POST", path, body, headers))

    async def get(self, path: str, query: Mapping[str, str]) -> httpx2.Response:
        return await self._send(self._request("GET", path, None, {}, query))

    async def send_form(
        self,
        path: str,
        fields: Mapping[str, str],
        files: Mapping[str, tuple[str, bytes, str]] | None = None,
        *,
        allowed: Sequence[int] = (),
        seconds: float | None = None,
    ) -> httpx2.Response:
        """Send a form with files (name, bytes, type); `allowed` are statuses beyond 299 that are answers as well."""
        # As parts even without a file: servers of files read nothing else.
        parts: dict[str, Any] = {name: (None, value) for name, value in fields.items()} | dict(files or {})
        headers = [(name, value) for name, value in self._headers if name.lower() != "content-type"]
        request = httpx2.Request(
            "POST",
            httpx2.URL(self._address + path).copy_merge_params(dict(self._query)),
            headers=headers,
            files=parts,
            extensions=self._timeouts(seconds),
        )
        return await self._send(request, allowed=allowed)

    async def put_bytes(self, address: str, data: bytes, *, seconds: float) -> httpx2.Response:
        """Put bytes at an address that a provider has named, without anything of ours that it need not know."""
        return await self._send(httpx2.Request("PUT", address, content=data, extensions=self._timeouts(seconds)))

    def _timeouts(self, seconds: float | None) -> dict[str, Any]:
        """Return the timeouts, longer ones for a large body."""
        if seconds is None:
            return self._extensions
        timeouts: dict[str, Any] = self._extensions["timeout"]
        return {"timeout": {**timeouts, "read": seconds, "write": seconds}}

    async def events(
        self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]
    ) -> AsyncIterator[Mapping[str, Any]]:
        """Send a body and yield the events of the answer as they come. Who leaves early ends the call."""
        response = await self._send(self._request("POST", path, body, headers), stream=True)
        try:
            async for data in _read_events(response):
                yield data
        finally:
            await response.aclose()

    def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str],
        query: Mapping[str, str] | None = None,
    ) -> httpx2.Request:
        content = None
        if body is not None:
            content = json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        return httpx2.Request(
            method,
            httpx2.URL(self._address + path).copy_merge_params({**self._query, **(query or {})}),
            headers=[*self._headers, *headers.items()],
            content=content,
            extensions=self._extensions,
        )

    async def _send(
        self, request: httpx2.Request, *, stream: bool = False, allowed: Sequence[int] = ()
    ) -> httpx2.Response:
        try:
            response = await self._http.send(request, stream=stream)
            if stream and not response.is_success:
                await response.aread()
        except httpx2.TimeoutException as error:
            raise openai.APITimeoutError(request=request) from error
        except httpx2.HTTPError as error:
            raise openai.APIConnectionError(request=request) from error
        if not response.is_success and response.status_code not in allowed:
            status = f"Error code: {response.status_code}"
            raise openai.APIStatusError(status, response=response, body=_error_body(response.text))
        return response


async def _read_events(response: httpx2.Response) -> AsyncIterator[Mapping[str, Any]]:
    """Yield the data of server-sent events (HTML standard, section 9.2): JSON objects, up to `[DONE]`."""
    lines: list[str] = []
    try:
        async for line in _lines(response):
            if line.startswith("data:"):
                lines.append(line.removeprefix("data:").removeprefix(" "))
            elif not line and lines:
                data, lines = "\n".join(lines), []
                if data.strip() == END_OF_STREAM:
                    return
                yield _read_event(data)
        if lines and "\n".join(lines).strip() != END_OF_STREAM:
            yield _read_event("\n".join(lines))
    except httpx2.TimeoutException as error:
        raise openai.APITimeoutError(request=response.request) from error
    except httpx2.HTTPError as error:
        raise openai.APIConnectionError(request=response.request) from error


async def _lines(response: httpx2.Response) -> AsyncIterator[str]:
    """Yield a stream's lines: they end by CR, LF or both, and by nothing else that Unicode may take for an end."""
    rest = b""
    async for piece in response.aiter_bytes():
        rest += piece
        # A CR at the end may be half of an end.
        whole, carriage_return = (rest[:-1], rest[-1:]) if rest.endswith(b"\r") else (rest, b"")
        *ended, rest = LINE_END.split(whole)
        rest += carriage_return
        for line in ended:
            yield line.decode(errors="replace")
    if rest:
        yield rest.removesuffix(b"\r").decode(errors="replace")


def _read_event(data: str) -> Mapping[str, Any]:
    try:
        event = json.loads(data)
    except (ValueError, RecursionError):
        raise garbled_error(f"The stream has an event that is not JSON: {data[:80]!r}") from None
    if not isinstance(event, dict):
        raise garbled_error("The stream has an event that is not a JSON object.")
    return event


def _error_body(text: str) -> Any:
    """Read what the SDK calls an error's body: its member `error`, or all of it; a text that is no JSON as it is."""
    try:
        body = json.loads(text.strip())
    except (ValueError, RecursionError):
        return text.strip()
    return body.get("error", body) if isinstance(body, dict) else body
