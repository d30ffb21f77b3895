"""Together and Fireworks: a job from its files to a model, created once whatever is lost, and nothing dropped."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from core.errors import Problem
from evaluations.models import Capability, ProviderModel
from evaluations.providers import configuration as providers
from evaluations.providers.chat import CallError, Endpoint, Remedy
from evaluations.providers.outbound import Destinations
from finetunes.jobs import lifecycle as jobs
from finetunes.jobs import provider_settings, tuned_models
from finetunes.models import TrainingSet
from finetunes.providers import fireworks_tuning, together_tuning
from finetunes.providers.base import CreateRequest
from finetunes.providers.jsonl import Method
from finetunes.providers.protocols import PROTOCOLS, protocol_of
from tests.conftest import Stage
from tests.finetunes.conftest import is_over, until
from tests.finetunes.providers.tuning_servers import Stateful, fireworks, together
from tests.http_server import serve

HERE = Destinations(["127.0.0.1"])
SERVERS = {"together": together, "fireworks": fireworks}
PATHS = {"together": "/v1", "fireworks": "/inference/v1"}
REQUEST = CreateRequest(
    reference="6f1c2d3e-0000-4000-8000-000000000001",
    model="base-1",
    training_file="file-1",
    validation_file=None,
    method=Method.SUPERVISED,
    hyperparameters={"n_epochs": 3, "batch_size": "auto", "learning_rate_multiplier": "auto"},
    suffix="Tickets 2",
)


@pytest.fixture(params=sorted(SERVERS))
def wire(request: pytest.FixtureRequest) -> Iterator[tuple[str, type[Stateful], Callable[..., Any]]]:
    name: str = request.param
    handler = SERVERS[name]()
    with serve(handler) as port:

        def call(do: Callable[[Any], Awaitable[Any]]) -> Any:
            async def work() -> Any:
                endpoint = Endpoint(f"http://127.0.0.1:{port}{PATHS[name]}", "key", 5)
                async with PROTOCOLS[name].connect(endpoint, HERE) as tuning:
                    return await do(tuning)

            return asyncio.run(work())

        yield name, handler, call


def test_servers_are_known_by_their_address():
    assert protocol_of("https://api.together.xyz/v1").name == "together"
    assert protocol_of("https://api.fireworks.ai/inference/v1").name == "fireworks"


def test_a_file_is_sent_once_and_found_again(wire: Any):
    _, handler, call = wire
    name, lines = "cuebook-6f1c-train.jsonl", b'{"messages":[]}\n'

    assert call(lambda tuning: tuning.find_file(name)) is None
    key = call(lambda tuning: tuning.upload(name, lines))

    assert handler.files[key]["text"] == lines.decode().rstrip("\n") or handler.files[key]["text"] == lines.decode()
    assert call(lambda tuning: tuning.find_file(name)) == key
    assert len(handler.files) == 1


def test_a_job_whose_answer_was_lost_is_found(wire: Any):
    _, handler, call = wire
    handler.breaks = True
    assert call(lambda tuning: tuning.find_job(REQUEST)) is None

    with pytest.raises(CallError) as failed:
        call(lambda tuning: tuning.create(REQUEST))

    assert failed.value.remedy == Remedy.RETRY
    job = call(lambda tuning: tuning.find_job(REQUEST))
    assert job.id in handler.jobs
    assert call(lambda tuning: tuning.cancel(job.id)).status.lower().endswith("cancelled")


def test_settings_are_written_in_the_providers_words_or_refused(wire: Any):
    name, handler, call = wire
    call(lambda tuning: tuning.create(replace(REQUEST, validation_file="file-2")))
    (body,) = handler.created
    if name == "together":
        assert body["training_method"] == {"method": "sft", "train_on_inputs": False}
        assert (body["n_epochs"], body["batch_size"], body["validation_file"], body["n_evals"]) == (
            3,
            "max",
            "file-2",
            1,
        )
    else:
        assert (body["epochs"], body["baseModel"]) == (3, "base-1")
        assert body["evaluationDataset"] == "accounts/acme/datasets/file-2"
        assert body["outputModel"].startswith("accounts/acme/models/tickets-2-cuebook-6f1c2d3e")

    for request in (
        replace(REQUEST, hyperparameters={"learning_rate_multiplier": 0.5}),
        *((replace(REQUEST, method=Method.PREFERENCE),) if name == "fireworks" else ()),
    ):
        with pytest.raises(CallError) as failed:
            call(lambda tuning, request=request: tuning.create(request))
        assert failed.value.code == "call.inexpressible"
    assert len(handler.created) == 1


def test_a_signed_address_of_our_own_network_is_not_sent_anything():
    handler = together()
    with serve(handler) as port:

        async def work() -> None:
            endpoint = Endpoint(f"http://127.0.0.1:{port}/v1", "key", 5)
            only_this = Destinations([f"127.0.0.1:{port}"])
            async with PROTOCOLS["together"].connect(endpoint, only_this) as tuning:
                await tuning.upload("x.jsonl", b"{}")

        original, handler.end_headers = handler.end_headers, _elsewhere(handler)  # type: ignore[method-assign]
        try:
            with pytest.raises(CallError, match="wants the file elsewhere"):
                asyncio.run(work())
        finally:
            handler.end_headers = original  # type: ignore[method-assign]
    assert "text" not in handler.files["file-1"]


def test_a_file_that_was_named_and_never_filled_is_sent_anew():
    handler = together()
    handler.files["file-1"] = {"id": "file-1", "filename": "x.jsonl", "object": "file", "Processed": False}

    async def work(port: int) -> list[str | None]:
        endpoint = Endpoint(f"http://127.0.0.1:{port}/v1", "key", 5)
        async with PROTOCOLS["together"].connect(endpoint, Destinations(["127.0.0.1"])) as tuning:
            before = await tuning.find_file("x.jsonl")
            return [before, await tuning.upload("x.jsonl", b"{}"), await tuning.find_file("x.jsonl")]

    with serve(handler) as port:
        assert asyncio.run(work(port)) == [None, "file-2", "file-2"]


def _elsewhere(handler: type[Stateful]) -> Callable[..., None]:
    plain = handler.end_headers

    def end_headers(self: Any) -> None:
        buffer = getattr(self, "_headers_buffer", [])
        self._headers_buffer = [line.replace(b"http://127.0.0.1", b"http://169.254.169.254") for line in buffer]
        plain(self)

    return end_headers


@pytest.mark.parametrize("read", [together_tuning.read_job, fireworks_tuning.read_job])
@pytest.mark.parametrize(
    "document", [{}, {"id": 7, "status": "x"}, {"id": "a/b", "status": "x"}, {"name": "../x", "state": None}]
)
def test_odd_jobs_are_errors(read: Any, document: dict[str, Any]):
    with pytest.raises(CallError):
        read(document)


def test_odd_members_are_read_as_nothing():
    job = together_tuning.read_job(
        {"id": "ft-1", "status": "error", "token_count": -1, "events": [7, {"level": "error", "message": "No\0"}]}
    )
    assert (job.trained_tokens, job.error) == (None, "No\ufffd")
    event = together_tuning.read_event({"created_at": ["x"], "level": 7, "message": None})
    assert (event.at, event.level, event.message) == (0.0, "info", "")
    failed = {
        "name": "accounts/a/supervisedFineTuningJobs/j",
        "state": "JOB_STATE_FAILED",
        "status": {"code": "INTERNAL"},
    }
    assert fireworks_tuning.read_job({**failed, "dataset": 7}).training_file == ""


@pytest.mark.parametrize("name", sorted(SERVERS))
@pytest.mark.usefixtures("settled")
def test_a_job_comes_to_a_model_that_waits_for_its_deployment(
    stage: Stage, training_set: TrainingSet, settings: Any, name: str
):
    """The same jobs as everywhere, by another wire: nothing but the protocol's name differs."""
    settings.PROVIDER_PRIVATE_HOSTS = ["127.0.0.1"]
    handler = SERVERS[name]()
    with serve(handler) as port:
        capabilities = [Capability.CHAT, Capability.JSON_SCHEMA, Capability.FINE_TUNING]
        address = f"http://127.0.0.1:{port}{PATHS[name]}"
        provider = providers.create(stage.ada, name=name, base_url=address, key="k", capabilities=capabilities)
        model = providers.add_model(stage.ada, provider, "base-1")
        provider_settings.set_up(stage.ada, provider, protocol=name)
        provider_settings.set_price(stage.ada, model, {"training": "3"})
        base = ProviderModel.objects.get(pk=model.pk)
        with pytest.raises(Problem, match="takes no multiplier"):
            jobs.draft(stage.edith, training_set, base, hyperparameters={"learning_rate_multiplier": 2})
        job = jobs.draft(stage.edith, training_set, base)

        done = until(jobs.submit(stage.edith, job), lambda each: is_over(each) or each.state == "attention")

    assert done.state == "succeeded", done.error
    assert len(handler.created) == 1
    tuned = tuned_models.tuned_model_of_job(done)
    assert tuned
    assert tuned.model is None
    assert tuned.remote_name.startswith("acme/" if name == "together" else "accounts/acme/models/")
    if name == "together":
        assert done.trained_tokens == 4_200
        assert [event.message for event in done.events.order_by("at")] == ["Job started", "Few examples"]
