"""Tuning at any server that speaks OpenAI's protocol. Pure.

The client checks nothing of what it is answered and would send a paid order again after a timeout, so each answer is
read here, and nothing is tried twice (evaluations.providers.openai_chat has the same for chat).
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import openai

from evaluations.providers.chat import CallError, Endpoint, Remedy, storable
from evaluations.providers.openai_chat import client_for, garbled, read_object, translated
from evaluations.providers.outbound import Destinations
from finetunes.providers.base import CLIENT_REFERENCE, UPLOAD_SECONDS, Order, RemoteCheckpoint, RemoteEvent, RemoteJob
from finetunes.providers.curves import point
from finetunes.providers.states import Dialect

PAGE = 100
# A provider with more jobs than this in a row that are not ours has something wrong with its pages.
MOST_PAGES = 50
MOST_EVENTS = 100
LARGEST_RESULT = 20_000_000
LONGEST_TEXT = 500
# Beyond this a count is none; and the last second that is taken for a time (in the year 2223).
MOST_TOKENS, LATEST = 10**12, 8_000_000_000


@asynccontextmanager
async def connected(endpoint: Endpoint, destinations: Destinations, dialect: Dialect) -> AsyncIterator["OpenAITuning"]:
    """A client whose connections are closed at the end."""
    async with client_for(endpoint, destinations) as client:
        yield OpenAITuning(client, dialect)


class OpenAITuning:
    """Follows finetunes.providers.base.Tuning."""

    def __init__(self, client: openai.AsyncOpenAI, dialect: Dialect) -> None:
        self._client = client
        self._dialect = dialect

    async def upload(self, name: str, data: bytes) -> str:
        try:
            raw = await self._client.files.with_raw_response.create(
                file=(name, data, "application/jsonl"), purpose="fine-tune", timeout=UPLOAD_SECONDS
            )
            return _key(read_object(raw.text))
        except Exception as error:
            raise translated(error) from error

    async def uploaded(self, name: str) -> str | None:
        async for one in self._pages("/files", {"purpose": "fine-tune"}):
            if one.get("filename") == name and one.get("id") and one.get("status") not in ("error", "deleted"):
                return str(one["id"])
        return None

    async def create(self, order: Order) -> RemoteJob:
        try:
            raw = await self._client.fine_tuning.jobs.with_raw_response.create(**self._ordered(order))
            return read_job(read_object(raw.text))
        except Exception as error:
            raise translated(error) from error

    async def created(self, order: Order) -> RemoteJob | None:
        # A server that does not know the filter lists them all: what is found is looked at in any case. The file is of
        # this order alone, so it names it as well where metadata is not kept.
        asked = {f"metadata[{CLIENT_REFERENCE}]": order.reference} if self._dialect.keeps_metadata else {}
        async for one in self._pages("/fine_tuning/jobs", asked):
            # Jobs of others may look like anything.
            metadata = one.get("metadata")
            reference = metadata.get(CLIENT_REFERENCE) if isinstance(metadata, dict) else None
            if reference == order.reference or one.get("training_file") == order.training_file:
                return read_job(one)
        return None

    async def retrieve(self, key: str) -> RemoteJob:
        return read_job(await self._get(f"/fine_tuning/jobs/{_path(key)}"))

    async def cancel(self, key: str) -> RemoteJob:
        try:
            raw = await self._client.fine_tuning.jobs.with_raw_response.cancel(_path(key))
            return read_job(read_object(raw.text))
        except Exception as error:
            raise translated(error) from error

    async def events(self, key: str) -> list[RemoteEvent]:
        listed = await self._listed(f"/fine_tuning/jobs/{_path(key)}/events", {"limit": MOST_EVENTS})
        return [read_event(one) for one in reversed(listed)]

    async def checkpoints(self, key: str) -> list[RemoteCheckpoint]:
        listed = await self._listed(f"/fine_tuning/jobs/{_path(key)}/checkpoints", {"limit": MOST_EVENTS})
        return [read_checkpoint(one) for one in listed if one.get("id")]

    async def result(self, file: str) -> bytes:
        try:
            raw = await self._client.files.with_raw_response.content(_path(file))
            data = await raw.parse().aread()
        except Exception as error:
            raise translated(error) from error
        if len(data) > LARGEST_RESULT:
            raise garbled("The file of results is too large.")
        return bytes(data)

    def _ordered(self, order: Order) -> dict[str, Any]:
        body: dict[str, Any] = {"model": order.model, "training_file": order.training_file}
        if order.validation_file:
            body["validation_file"] = order.validation_file
        if order.suffix:
            body["suffix"] = order.suffix[: self._dialect.longest_suffix]
        if order.seed is not None:
            body["seed"] = order.seed
        if self._dialect.keeps_metadata:
            body["metadata"] = {CLIENT_REFERENCE: order.reference}
        method = order.method.value
        body["method"] = {"type": method, method: {"hyperparameters": dict(order.hyperparameters)}}
        return body

    async def _get(self, path: str, query: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        try:
            raw = await self._client.get(path, cast_to=httpx2.Response, options={"params": dict(query or {})})
            return read_object(raw.text)
        except Exception as error:
            raise translated(error) from error

    async def _listed(self, path: str, query: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """A list that not every provider has: one without it has nothing to tell."""
        try:
            found = (await self._get(path, query)).get("data")
        except CallError as error:
            if error.code in ("call.unknown_model", "call.refused"):
                return []
            raise
        return [one for one in found[:MOST_EVENTS] if isinstance(one, dict)] if isinstance(found, list) else []

    async def _pages(self, path: str, query: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
        after: dict[str, Any] = {}
        for _ in range(MOST_PAGES):
            page = await self._get(path, {"limit": PAGE, **query, **after})
            listed = page.get("data")
            if not isinstance(listed, list):
                raise garbled(f"The answer to GET {path} has no list.")
            rows = [one for one in listed if isinstance(one, dict)]
            for one in rows:
                yield one
            if not page.get("has_more") or not rows or not rows[-1].get("id"):
                return
            after = {"after": str(rows[-1]["id"])}
        raise CallError("call.garbled", f"The list of {path} does not end.", Remedy.RETRY)


def read_job(document: Mapping[str, Any]) -> RemoteJob:
    """A job of whatever shape; CallError where it has no name or status."""
    status = document.get("status")
    if not isinstance(status, str) or not status:
        raise garbled("The answer is no fine-tuning job: it has no status.")
    error, metadata, files = (document.get(name) for name in ("error", "metadata", "result_files"))
    told = error.get("message") if isinstance(error, dict) else error
    tokens = document.get("trained_tokens")
    is_count = isinstance(tokens, int) and not isinstance(tokens, bool) and 0 <= tokens <= MOST_TOKENS
    return RemoteJob(
        id=_key(document),
        status=_short(status, 60),
        fine_tuned_model=_short(document.get("fine_tuned_model"), 200),
        trained_tokens=tokens if is_count else None,
        error=_short(told, LONGEST_TEXT),
        result_files=[str(one)[:200] for one in files if isinstance(one, str)] if isinstance(files, list) else [],
        training_file=str(document.get("training_file") or ""),
        reference=str(metadata.get(CLIENT_REFERENCE) or "") if isinstance(metadata, dict) else "",
        hyperparameters=_used(document),
    )


def _used(document: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a provider says it took, as far as they are numbers."""
    method = document.get("method")
    by_method = method.get(str(method.get("type"))) if isinstance(method, dict) else None
    inner = by_method.get("hyperparameters") if isinstance(by_method, dict) else None
    found = inner or document.get("hyperparameters")
    named = found.items() if isinstance(found, dict) else ()
    return {
        _short(name, 60): value
        for name, value in list(named)[:20]
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 10**15
    }


def read_event(document: Mapping[str, Any]) -> RemoteEvent:
    """An event of whatever shape."""
    data, at = document.get("data"), document.get("created_at")
    when = float(at) if isinstance(at, int | float) and 0 <= at < LATEST else 0.0
    message = _short(document.get("message"), LONGEST_TEXT)
    return RemoteEvent(
        id=_short(document.get("id") or f"{when}:{message}", 200),
        at=when,
        level=_short(document.get("level") or "info", 10),
        message=message,
        point=point(data.get("step"), data) if isinstance(data, dict) else None,
    )


def read_checkpoint(document: Mapping[str, Any]) -> RemoteCheckpoint:
    """A checkpoint of whatever shape."""
    metrics, step = document.get("metrics"), document.get("step_number")
    number = step if isinstance(step, int) and not isinstance(step, bool) and 0 <= step < 2**31 else 0
    return RemoteCheckpoint(
        id=_short(document.get("id"), 200),
        step=number,
        model=_short(document.get("fine_tuned_model_checkpoint"), 200),
        point=point(number, metrics) if isinstance(metrics, dict) else None,
    )


def _short(value: object, most: int) -> str:
    """Something as text that the database can hold."""
    return storable("" if value is None else str(value))[:most]


def _key(document: Mapping[str, Any]) -> str:
    key = document.get("id")
    if not isinstance(key, str) or not key:
        raise garbled("The answer has no id.")
    return _path(key)


def _path(key: str) -> str:
    """A name that a provider gave, where it may stand in an address."""
    if len(key) > 200 or not key.isascii() or not key.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise garbled("The provider names its things in a way that cannot stand in an address.")
    return key
