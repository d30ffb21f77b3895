"""Fine-tuning at Together, as its published reference has it (docs.together.ai/reference/post-fine-tunes). Pure.

A file goes up in three steps: Together names it and an address, the bytes go there, and it is read. A job has no place
for a reference of ours: it is known by its training file, which belongs to it alone.
"""

import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from evaluations.providers.answer_shapes import garbled_error
from evaluations.providers.chat import CallError, Endpoint, Remedy
from evaluations.providers.outbound import Destinations
from evaluations.providers.transport.objects import get_object, post_object, rows_of
from evaluations.providers.transport.openai_client import open_connections, split_address, translate_error
from evaluations.providers.transport.posts import Posts
from finetunes.providers.base import (
    UPLOAD_SECONDS,
    CreateRequest,
    RemoteCheckpoint,
    RemoteEvent,
    RemoteJob,
    TuningProtocol,
)
from finetunes.providers.curves import read_point
from finetunes.providers.jsonl import Method
from finetunes.providers.reading import (
    MAX_TEXT_LENGTH,
    MAX_TIMESTAMP,
    numbers_of,
    own_settings,
    path_segment,
    read_tokens,
    short_text,
)

MAX_EVENTS = 100
LEVELS = {
    **{"warning": "warn", "legacy_iwarning": "warn"},
    **{"error": "error", "legacy_ierror": "error"},
}
METHODS = {Method.SUPERVISED: "sft", Method.PREFERENCE: "dpo"}


@asynccontextmanager
async def connect(
    endpoint: Endpoint, destinations: Destinations, protocol: TuningProtocol
) -> AsyncIterator["TogetherTuning"]:
    """Open a client; its connections are closed at the end."""
    address, query = split_address(endpoint.base_url)
    async with open_connections(endpoint, destinations) as http:
        posts = Posts(http, address, query, {"Authorization": f"Bearer {endpoint.api_key}"})
        yield TogetherTuning(posts, destinations, protocol)


class TogetherTuning:
    """Implementation of finetunes.providers.base.TuningClient."""

    def __init__(self, posts: Posts, destinations: Destinations, protocol: TuningProtocol) -> None:
        self._posts, self._destinations, self._protocol = posts, destinations, protocol

    async def upload(self, name: str, data: bytes) -> str:
        form = {
            "purpose": "fine-tune",
            "file_name": name,
            "file_type": "jsonl",
            "checksum": hashlib.sha256(data).hexdigest(),
        }
        try:
            response = await self._posts.send_form("/files", form, allowed=(302,))
            location, key = response.headers.get("location"), response.headers.get("x-together-file-id")
            if not location or not key:
                raise garbled_error("The answer to POST /files names no place for the file.")
            # It names the address: one of our own network is as little allowed here as anywhere.
            if refusal := self._destinations.upload_refusal(location):
                raise CallError("call.not_allowed", f"Together wants the file elsewhere: {refusal}", Remedy.CONFIGURE)
            await self._posts.put_bytes(location, data, seconds=UPLOAD_SECONDS)
            await self._posts.post(f"/files/{path_segment(key)}/preprocess", {}, {})
        except Exception as error:
            raise translate_error(error) from error
        return path_segment(key)

    async def find_file(self, name: str) -> str | None:
        for file in await self._list("/files"):
            # One that was named and never filled has no data to learn from.
            if file.get("filename") == name and file.get("Processed") is True and isinstance(file.get("id"), str):
                return path_segment(str(file["id"]))
        return None

    async def create(self, request: CreateRequest) -> RemoteJob:
        return read_job(await post_object(self._posts, "/fine-tunes", self._create_body(request)))

    async def find_job(self, request: CreateRequest) -> RemoteJob | None:
        rows = await self._list("/fine-tunes")
        return next((read_job(job) for job in rows if job.get("training_file") == request.training_file), None)

    async def retrieve(self, key: str) -> RemoteJob:
        return read_job(await get_object(self._posts, f"/fine-tunes/{path_segment(key)}"))

    async def cancel(self, key: str) -> RemoteJob:
        return read_job(await post_object(self._posts, f"/fine-tunes/{path_segment(key)}/cancel", {}))

    async def events(self, key: str) -> list[RemoteEvent]:
        path = f"/fine-tunes/{path_segment(key)}/events"
        listed = [read_event(event) for event in await self._list(path)]
        return sorted(listed, key=lambda event: event.at)[-MAX_EVENTS:]

    async def checkpoints(self, key: str) -> list[RemoteCheckpoint]:
        path = f"/fine-tunes/{path_segment(key)}/checkpoints"
        return [read_checkpoint(row) for row in (await self._list(path))[:MAX_EVENTS]]

    async def result(self, file: str) -> bytes:
        """Together has no file of results."""
        raise CallError("call.unknown_model", f"There is no file of results {file[:60]}.", Remedy.GIVE_UP)

    async def _list(self, path: str) -> list[dict[str, Any]]:
        return rows_of(await get_object(self._posts, path), "data", path)

    def _create_body(self, request: CreateRequest) -> dict[str, Any]:
        settings = own_settings(request.hyperparameters)
        method: dict[str, Any] = {"method": METHODS[request.method]}
        if request.method is Method.SUPERVISED:
            # Answers alone are learned, as everywhere else.
            method["train_on_inputs"] = False
        if "beta" in settings:
            method["dpo_beta"] = settings.pop("beta")
        if "learning_rate_multiplier" in settings:
            sentence = "Together takes no multiplier of its learning rate: leave learning_rate_multiplier at auto."
            raise CallError("call.inexpressible", sentence, Remedy.GIVE_UP)
        body: dict[str, Any] = {
            "model": request.model,
            "training_file": request.training_file,
            "training_method": method,
            "batch_size": settings.pop("batch_size", "max"),
            **settings,
        }
        if request.validation_file:
            # Nothing is measured on it otherwise.
            body |= {"validation_file": request.validation_file, "n_evals": 1}
        if request.suffix:
            body["suffix"] = request.suffix[: self._protocol.max_suffix_length]
        if request.seed is not None:
            body["random_seed"] = request.seed
        return body


def read_job(document: Mapping[str, Any]) -> RemoteJob:
    """Read a job of any shape; raises CallError where it has no id or status."""
    status, key = document.get("status"), document.get("id")
    if not isinstance(status, str) or not status or not isinstance(key, str) or not key:
        raise garbled_error("The answer is no fine-tuning job: it has no id, or no status.")
    settings = {name: document.get(name) for name in ("n_epochs", "batch_size", "learning_rate")}
    return RemoteJob(
        id=path_segment(key),
        status=short_text(status, 60),
        fine_tuned_model=short_text(document.get("model_output_name"), 200),
        trained_tokens=read_tokens(document.get("token_count")),
        error=_last_error(document.get("events")) if status == "error" else "",
        training_file=str(document.get("training_file") or ""),
        hyperparameters=numbers_of(settings),
    )


def _last_error(events: object) -> str:
    """Return what the job's events say of its end: a job has no message of its own."""
    messages = [
        short_text(event.get("message"), MAX_TEXT_LENGTH)
        for event in (events if isinstance(events, list) else ())
        if isinstance(event, dict) and "err" in str(event.get("level") or event.get("type") or "").lower()
    ]
    return messages[-1] if messages else ""


def read_event(document: Mapping[str, Any]) -> RemoteEvent:
    """Read an event of any shape."""
    message, at = short_text(document.get("message"), MAX_TEXT_LENGTH), _seconds(document.get("created_at"))
    return RemoteEvent(
        # Events have no id: what happened and when is one.
        id=short_text(f"{at}:{document.get('type')}:{document.get('step')}:{message}", 200),
        at=at,
        level=LEVELS.get(str(document.get("level")), "info"),
        message=message,
        point=None,
    )


def read_checkpoint(document: Mapping[str, Any]) -> RemoteCheckpoint:
    """Read a checkpoint of any shape."""
    step = document.get("step")
    number = step if isinstance(step, int) and not isinstance(step, bool) and 0 <= step < 2**31 else 0
    name = document.get("object_name") or document.get("path")
    return RemoteCheckpoint(
        id=short_text(document.get("object_id") or document.get("path") or f"step-{number}", 200),
        step=number,
        model=short_text(name, 200),
        point=read_point(number, {}),
    )


def _seconds(text: object) -> float:
    try:
        return min(max(0.0, datetime.fromisoformat(str(text)).timestamp()), MAX_TIMESTAMP)
    except (ValueError, OverflowError):
        return 0.0
