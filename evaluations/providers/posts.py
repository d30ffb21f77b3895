"""POSTs of JSON to one address of a provider, over its client's connections but without the SDK's layers. Pure.

The SDK builds, merges and checks each request anew: half of the processor time of a call, where a run makes thousands
of them alike. Errors are raised as the SDK's own, so that one place translates both (openai_client.translate_error).
"""

import json
from collections.abc import Mapping
from typing import Any

import httpx2
import openai


class Posts:
    """POSTs to `path`, below the client's address, with the client's headers and query."""

    def __init__(self, client: openai.AsyncOpenAI, http: httpx2.AsyncClient, path: str) -> None:
        self._http = http
        query = {name: str(value) for name, value in client.default_query.items()}
        self._url = httpx2.URL(str(client.base_url).rstrip("/") + path).copy_merge_params(query)
        headers = httpx2.Headers(http.headers)
        headers.update({name: value for name, value in client.default_headers.items() if isinstance(value, str)})
        headers["Authorization"] = f"Bearer {client.api_key}"
        self._headers = headers.multi_items()
        self._extensions = {"timeout": http.timeout.as_dict()}

    async def post(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> httpx2.Response:
        """Send a body and return the whole answer, of a status below 300; else raise the SDK's error."""
        request = httpx2.Request(
            "POST",
            self._url,
            headers=[*self._headers, *headers.items()],
            content=json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode(),
            extensions=self._extensions,
        )
        try:
            response = await self._http.send(request)
        except httpx2.TimeoutException as error:
            raise openai.APITimeoutError(request=request) from error
        except httpx2.HTTPError as error:
            raise openai.APIConnectionError(request=request) from error
        if not response.is_success:
            status = f"Error code: {response.status_code}"
            raise openai.APIStatusError(status, response=response, body=_error_body(response.text))
        return response


def _error_body(text: str) -> Any:
    """Read what the SDK calls an error's body: its member `error`, or all of it; a text that is no JSON as it is."""
    try:
        body = json.loads(text.strip())
    except ValueError:
        return text.strip()
    return body.get("error", body) if isinstance(body, dict) else body
