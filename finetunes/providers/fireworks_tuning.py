"""Fine-tuning at Fireworks, as its published reference has it (docs.fireworks.ai/api-reference). Pure.

Everything has a name that we choose: a dataset and a job are found by it, and sending the same request again makes no
second one. Chat is at `/inference/v1`; datasets and jobs are at `/v1/accounts/{account}`, and the key says which.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from evaluations.providers.answer_shapes import garbled_error
from evaluations.providers.chat import CallError, Endpoint, Remedy
from evaluations.providers.outbound import Destinations
from evaluations.providers.transport.objects import get_object, post_object, rows_of
from evaluations.providers.transport.openai_client import open_connections, translate_error
from evaluations.providers.transport.posts import Posts
from finetunes.providers.base import (
    UPLOAD_SECONDS,
    CreateRequest,
    RemoteCheckpoint,
    RemoteEvent,
    RemoteJob,
    TuningProtocol,
)
from finetunes.providers.jsonl import Method
from finetunes.providers.reading import MAX_TEXT_LENGTH, numbers_of, own_settings, path_segment, short_text

# A dataset is checked after it was sent, which takes seconds.
READY_SECONDS, READY_PAUSE_SECONDS = 120.0, 2.0
READY = "READY"
MAX_ID_LENGTH = 63
JOBS = "supervisedFineTuningJobs"


@asynccontextmanager
async def connect(
    endpoint: Endpoint, destinations: Destinations, protocol: TuningProtocol
) -> AsyncIterator["FireworksTuning"]:
    """Open a client; its connections are closed at the end."""
    parts = urlsplit(endpoint.base_url)
    async with open_connections(endpoint, destinations) as http:
        headers = {"Authorization": f"Bearer {endpoint.api_key}"}
        yield FireworksTuning(Posts(http, f"{parts.scheme}://{parts.netloc}/v1", {}, headers), protocol)


class FireworksTuning:
    """Implementation of finetunes.providers.base.TuningClient."""

    def __init__(self, posts: Posts, protocol: TuningProtocol) -> None:
        self._posts, self._protocol = posts, protocol
        self._account = ""

    async def upload(self, name: str, data: bytes) -> str:
        key = _name_id(name)
        datasets = f"{await self._home()}/datasets"
        try:
            await post_object(
                self._posts, datasets, {"datasetId": key, "dataset": {"userUploaded": {}, "format": "CHAT"}}
            )
        except CallError as error:
            # It is there from an attempt whose answer was lost: 409.
            if error.code != "call.overloaded" or not error.detail.startswith("409"):
                raise
        try:
            file = {"file": (name, data, "application/jsonl")}
            await self._posts.send_form(f"{datasets}/{key}:upload", {}, file, seconds=UPLOAD_SECONDS)
        except Exception as error:
            raise translate_error(error) from error
        await self._wait_until_ready(f"{datasets}/{key}")
        return key

    async def _wait_until_ready(self, path: str) -> None:
        end = time.monotonic() + READY_SECONDS
        while (dataset := await get_object(self._posts, path)).get("state") != READY:
            status = dataset.get("status")
            if isinstance(status, dict) and status.get("code") not in (None, "OK"):
                message = short_text(status.get("message"), MAX_TEXT_LENGTH)
                raise CallError("call.refused", f"Fireworks refuses the file: {message}", Remedy.GIVE_UP)
            if time.monotonic() > end:
                raise CallError("call.timeout", "Fireworks still checks the file.", Remedy.RETRY)
            await asyncio.sleep(READY_PAUSE_SECONDS)

    async def find_file(self, name: str) -> str | None:
        key = _name_id(name)
        dataset = await self._find(f"{await self._home()}/datasets/{key}")
        return key if dataset and dataset.get("state") == READY else None

    async def create(self, request: CreateRequest) -> RemoteJob:
        home = await self._home()
        body = self._create_body(request, home.removeprefix("/"))
        return read_job(
            await post_object(self._posts, f"{home}/{JOBS}?supervisedFineTuningJobId={_job_id(request)}", body)
        )

    async def find_job(self, request: CreateRequest) -> RemoteJob | None:
        job = await self._find(f"{await self._home()}/{JOBS}/{_job_id(request)}")
        return read_job(job) if job else None

    async def retrieve(self, key: str) -> RemoteJob:
        return read_job(await get_object(self._posts, f"{await self._home()}/{JOBS}/{path_segment(key)}"))

    async def cancel(self, key: str) -> RemoteJob:
        path = f"{await self._home()}/{JOBS}/{path_segment(key)}"
        await post_object(self._posts, f"{path}:cancel", {})
        return read_job(await get_object(self._posts, path))

    async def events(self, key: str) -> list[RemoteEvent]:
        """Fireworks tells no events, only the job's state and progress."""
        return []

    async def checkpoints(self, key: str) -> list[RemoteCheckpoint]:
        return []

    async def result(self, file: str) -> bytes:
        raise CallError("call.unknown_model", f"There is no file of results {file[:60]}.", Remedy.GIVE_UP)

    def _create_body(self, request: CreateRequest, home: str) -> dict[str, Any]:
        if request.method is not Method.SUPERVISED:
            sentence = "Jobs of preferences have another address at Fireworks, which is not used here: tune supervised."
            raise CallError("call.inexpressible", sentence, Remedy.GIVE_UP)
        settings = own_settings(request.hyperparameters)
        body: dict[str, Any] = {"baseModel": request.model, "dataset": f"{home}/datasets/{request.training_file}"}
        if "n_epochs" in settings:
            body["epochs"] = settings.pop("n_epochs")
        if "batch_size" in settings:
            body["batchSizeSamples"] = settings.pop("batch_size")
        if settings or request.seed is not None:
            names = ", ".join(sorted(settings)) or "seed"
            raise CallError("call.inexpressible", f"Fireworks takes no {names}: leave it at auto.", Remedy.GIVE_UP)
        if request.validation_file:
            body["evaluationDataset"] = f"{home}/datasets/{request.validation_file}"
        chosen_name = re.sub(r"[^a-z0-9-]+", "-", request.suffix.lower())[: self._protocol.max_suffix_length]
        name = "-".join(filter(None, (chosen_name.strip("-"), _job_id(request))))
        body["outputModel"] = f"{home}/models/{name[:MAX_ID_LENGTH].strip('-')}"
        body["displayName"] = _job_id(request)
        return body

    async def _home(self) -> str:
        """Return the path of the account that the key belongs to."""
        if not self._account:
            accounts = rows_of(await get_object(self._posts, "/accounts"), "accounts", "/accounts")
            # Of several always the same one, so that what was created is there again.
            name = min((each["name"] for each in accounts if isinstance(each.get("name"), str)), default="")
            if not name.startswith("accounts/"):
                raise garbled_error("Fireworks names no account of this key.")
            self._account = path_segment(name.removeprefix("accounts/"))
        return f"/accounts/{self._account}"

    async def _find(self, path: str) -> Mapping[str, Any] | None:
        try:
            return await get_object(self._posts, path)
        except CallError as error:
            if error.code == "call.unknown_model":
                return None
            raise


def _name_id(name: str) -> str:
    """Return the id of a dataset by the name of its file: lower-case letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9-]+", "-", name.lower().removesuffix(".jsonl"))[:MAX_ID_LENGTH].strip("-")


def _job_id(request: CreateRequest) -> str:
    return _name_id(f"cuebook-{request.reference}")


def read_job(document: Mapping[str, Any]) -> RemoteJob:
    """Read a job of any shape; raises CallError where it has no name or state."""
    state, name = document.get("state"), document.get("name")
    if not isinstance(state, str) or not state or not isinstance(name, str) or not name:
        raise garbled_error("The answer is no fine-tuning job: it has no name, or no state.")
    status, dataset = document.get("status"), document.get("dataset")
    message = status.get("message") if isinstance(status, dict) and status.get("code") not in (None, "OK") else ""
    settings = {"n_epochs": document.get("epochs"), "learning_rate": document.get("learningRate")}
    return RemoteJob(
        id=path_segment(name.rpartition("/")[2]),
        status=short_text(state, 60),
        fine_tuned_model=short_text(document.get("outputModel"), 200),
        error=short_text(message, MAX_TEXT_LENGTH),
        training_file=dataset.rpartition("/")[2] if isinstance(dataset, str) else "",
        hyperparameters=numbers_of(settings),
    )
