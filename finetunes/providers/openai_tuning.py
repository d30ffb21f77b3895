"""Fine-tuning client for any server that speaks OpenAI's protocol. Pure.

OpenAI's library validates no answers and would repeat a paid create request after a timeout, so each answer is read
here, and nothing is retried (evaluations.providers.transport.openai_client).
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import openai

from evaluations.providers.answer_shapes import garbled_error, read_object
from evaluations.providers.chat import CallError, Endpoint, Remedy
from evaluations.providers.outbound import Destinations
from evaluations.providers.transport.openai_client import open_client, translate_error
from finetunes.providers.base import (
    CLIENT_REFERENCE,
    UPLOAD_SECONDS,
    CreateRequest,
    RemoteCheckpoint,
    RemoteEvent,
    RemoteJob,
    TuningProtocol,
)
from finetunes.providers.curves import read_point
from finetunes.providers.reading import (
    MAX_TEXT_LENGTH,
    MAX_TIMESTAMP,
    numbers_of,
    path_segment,
    read_id,
    read_tokens,
    short_text,
)

PAGE = 100
# A provider with more jobs than this in a row that are not ours has something wrong with its pages.
MAX_PAGES = 50
MAX_EVENTS = 100
MAX_RESULT_BYTES = 20_000_000


@asynccontextmanager
async def connect(
    endpoint: Endpoint, destinations: Destinations, protocol: TuningProtocol
) -> AsyncIterator["OpenAITuning"]:
    """Open a client; its connections are closed at the end."""
    async with open_client(endpoint, destinations) as client:
        yield OpenAITuning(client, protocol)


class OpenAITuning:
    """Implementation of finetunes.providers.base.TuningClient."""

    def __init__(self, client: openai.AsyncOpenAI, protocol: TuningProtocol) -> None:
        self._client = client
        self._protocol = protocol

    async def upload(self, name: str, data: bytes) -> str:
        try:
            raw = await self._client.files.with_raw_response.create(
                file=(name, data, "application/jsonl"), purpose="fine-tune", timeout=UPLOAD_SECONDS
            )
            return read_id(read_object(raw.text))
        except Exception as error:
            raise translate_error(error) from error

    async def find_file(self, name: str) -> str | None:
        async for file in self._pages("/files", {"purpose": "fine-tune"}):
            if file.get("filename") == name and file.get("id") and file.get("status") not in ("error", "deleted"):
                return str(file["id"])
        return None

    async def create(self, request: CreateRequest) -> RemoteJob:
        try:
            raw = await self._client.fine_tuning.jobs.with_raw_response.create(**self._create_body(request))
            return read_job(read_object(raw.text))
        except Exception as error:
            raise translate_error(error) from error

    async def find_job(self, request: CreateRequest) -> RemoteJob | None:
        # A server that does not know the filter lists all jobs, so each job is compared. The file belongs to this
        # request alone, so it identifies the job where metadata is not kept.
        query = {f"metadata[{CLIENT_REFERENCE}]": request.reference} if self._protocol.keeps_metadata else {}
        async for job in self._pages("/fine_tuning/jobs", query):
            # Jobs of others may look like anything.
            metadata = job.get("metadata")
            reference = metadata.get(CLIENT_REFERENCE) if isinstance(metadata, dict) else None
            if reference == request.reference or job.get("training_file") == request.training_file:
                return read_job(job)
        return None

    async def retrieve(self, key: str) -> RemoteJob:
        return read_job(await self._get(f"/fine_tuning/jobs/{path_segment(key)}"))

    async def cancel(self, key: str) -> RemoteJob:
        try:
            raw = await self._client.fine_tuning.jobs.with_raw_response.cancel(path_segment(key))
            return read_job(read_object(raw.text))
        except Exception as error:
            raise translate_error(error) from error

    async def events(self, key: str) -> list[RemoteEvent]:
        listed = await self._optional_list(f"/fine_tuning/jobs/{path_segment(key)}/events", {"limit": MAX_EVENTS})
        return [read_event(event) for event in reversed(listed)]

    async def checkpoints(self, key: str) -> list[RemoteCheckpoint]:
        listed = await self._optional_list(f"/fine_tuning/jobs/{path_segment(key)}/checkpoints", {"limit": MAX_EVENTS})
        return [read_checkpoint(checkpoint) for checkpoint in listed if checkpoint.get("id")]

    async def result(self, file: str) -> bytes:
        try:
            raw = await self._client.files.with_raw_response.content(path_segment(file))
            data = await raw.parse().aread()
        except Exception as error:
            raise translate_error(error) from error
        if len(data) > MAX_RESULT_BYTES:
            raise garbled_error("The file of results is too large.")
        return bytes(data)

    def _create_body(self, request: CreateRequest) -> dict[str, Any]:
        body: dict[str, Any] = {"model": request.model, "training_file": request.training_file}
        if request.validation_file:
            body["validation_file"] = request.validation_file
        if request.suffix:
            body["suffix"] = request.suffix[: self._protocol.max_suffix_length]
        if request.seed is not None:
            body["seed"] = request.seed
        if self._protocol.keeps_metadata:
            body["metadata"] = {CLIENT_REFERENCE: request.reference}
        method = request.method.value
        body["method"] = {"type": method, method: {"hyperparameters": dict(request.hyperparameters)}}
        return body

    async def _get(self, path: str, query: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        try:
            raw = await self._client.get(path, cast_to=httpx2.Response, options={"params": dict(query or {})})
            return read_object(raw.text)
        except Exception as error:
            raise translate_error(error) from error

    async def _optional_list(self, path: str, query: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Read a list that not every provider has; empty where it has none."""
        try:
            rows = (await self._get(path, query)).get("data")
        except CallError as error:
            if error.code in ("call.unknown_model", "call.refused"):
                return []
            raise
        return [row for row in rows[:MAX_EVENTS] if isinstance(row, dict)] if isinstance(rows, list) else []

    async def _pages(self, path: str, query: Mapping[str, Any]) -> AsyncIterator[Mapping[str, Any]]:
        after: dict[str, Any] = {}
        for _ in range(MAX_PAGES):
            page = await self._get(path, {"limit": PAGE, **query, **after})
            listed = page.get("data")
            if not isinstance(listed, list):
                raise garbled_error(f"The answer to GET {path} has no list.")
            rows = [row for row in listed if isinstance(row, dict)]
            for row in rows:
                yield row
            if not page.get("has_more") or not rows or not rows[-1].get("id"):
                return
            after = {"after": str(rows[-1]["id"])}
        raise CallError("call.garbled", f"The list of {path} does not end.", Remedy.RETRY)


def read_job(document: Mapping[str, Any]) -> RemoteJob:
    """Read a job of any shape; raises CallError where it has no id or status."""
    status = document.get("status")
    if not isinstance(status, str) or not status:
        raise garbled_error("The answer is no fine-tuning job: it has no status.")
    error, metadata, files = (document.get(name) for name in ("error", "metadata", "result_files"))
    error_message = error.get("message") if isinstance(error, dict) else error
    return RemoteJob(
        id=read_id(document),
        status=short_text(status, 60),
        fine_tuned_model=short_text(document.get("fine_tuned_model"), 200),
        trained_tokens=read_tokens(document.get("trained_tokens")),
        error=short_text(error_message, MAX_TEXT_LENGTH),
        result_files=[str(file_name)[:200] for file_name in files if isinstance(file_name, str)]
        if isinstance(files, list)
        else [],
        training_file=str(document.get("training_file") or ""),
        reference=str(metadata.get(CLIENT_REFERENCE) or "") if isinstance(metadata, dict) else "",
        hyperparameters=_used_hyperparameters(document),
    )


def _used_hyperparameters(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a provider says it used, as far as they are numbers."""
    method = document.get("method")
    by_method = method.get(str(method.get("type"))) if isinstance(method, dict) else None
    inner = by_method.get("hyperparameters") if isinstance(by_method, dict) else None
    settings = inner or document.get("hyperparameters")
    named = list(settings.items())[:20] if isinstance(settings, dict) else ()
    return numbers_of({short_text(name, 60): value for name, value in named})


def read_event(document: Mapping[str, Any]) -> RemoteEvent:
    """Read an event of any shape."""
    data, at = document.get("data"), document.get("created_at")
    when = float(at) if isinstance(at, int | float) and 0 <= at < MAX_TIMESTAMP else 0.0
    message = short_text(document.get("message"), MAX_TEXT_LENGTH)
    return RemoteEvent(
        id=short_text(document.get("id") or f"{when}:{message}", 200),
        at=when,
        level=short_text(document.get("level") or "info", 10),
        message=message,
        point=read_point(data.get("step"), data) if isinstance(data, dict) else None,
    )


def read_checkpoint(document: Mapping[str, Any]) -> RemoteCheckpoint:
    """Read a checkpoint of any shape."""
    metrics, step = document.get("metrics"), document.get("step_number")
    number = step if isinstance(step, int) and not isinstance(step, bool) and 0 <= step < 2**31 else 0
    return RemoteCheckpoint(
        id=short_text(document.get("id"), 200),
        step=number,
        model=short_text(document.get("fine_tuned_model_checkpoint"), 200),
        point=read_point(number, metrics) if isinstance(metrics, dict) else None,
    )
