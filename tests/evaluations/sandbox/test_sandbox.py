"""The sandbox through OpenAI's own client: embeddings, files and fine-tuning, as a provider would answer."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from openai.types.fine_tuning import FineTuningJob

from tests.sandbox import Running, running

KEY = "secret"
SHOTS = [("I was charged twice", "billing"), ("The site is down", "incident"), ("How do I export a board?", "how-to")]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("sandbox"), KEY) as server:
        yield server


@pytest.fixture
def client(sandbox: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=sandbox.url, api_key=KEY, max_retries=0) as client:
        yield client


def lines(pairs: list[tuple[str, str]]) -> bytes:
    """Chat training data."""
    rows = (
        {"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": answer}]}
        for text, answer in pairs
    )
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def finished(client: openai.OpenAI, key: str) -> FineTuningJob:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        job = client.fine_tuning.jobs.retrieve(key)
        if job.status in {"succeeded", "failed", "cancelled"}:
            return job
        time.sleep(0.05)
    raise AssertionError("The job did not end.")


def test_texts_that_share_words_are_near(client: openai.OpenAI):
    response = client.embeddings.create(
        model="sandbox-embed", input=["charged twice", "I was charged", "a red balloon"]
    )

    first, near, far = (first.embedding for first in response.data)
    assert sum(x * x for x in first) == pytest.approx(1, abs=1e-3)
    assert sum(x * y for x, y in zip(first, near, strict=True)) > sum(x * y for x, y in zip(first, far, strict=True))
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model="sandbox-embed", input=[])


def test_a_fine_tune_learns_what_was_uploaded_and_a_prompt_alone_does_not(client: openai.OpenAI):
    file = client.files.create(file=("train.jsonl", lines(SHOTS * 4)), purpose="fine-tune")
    assert client.files.content(file.id).read() == lines(SHOTS * 4)

    job = client.fine_tuning.jobs.create(model="sandbox-small", training_file=file.id, suffix="tickets")

    assert job.status == "validating_files"
    done = finished(client, job.id)
    assert done.status == "succeeded"
    assert done.fine_tuned_model is not None
    assert "tickets" in done.fine_tuned_model
    assert done.fine_tuned_model in {model.id for model in client.models.list()}
    request = {"messages": [{"role": "user", "content": "The site is down again"}], "temperature": 0}
    tuned = client.chat.completions.create(model=done.fine_tuned_model, **request)  # type: ignore[call-overload]
    bare = client.chat.completions.create(model="sandbox-small", **request)  # type: ignore[call-overload]
    assert tuned.choices[0].message.content == "incident"
    assert bare.choices[0].message.content != "incident"
    messages = [event.message for event in client.fine_tuning.jobs.list_events(job.id).data]
    assert any("succeeded" in message for message in messages)


def test_a_file_that_is_no_training_data_fails_the_job_with_a_reason(client: openai.OpenAI):
    file = client.files.create(file=("bad.jsonl", b'{"prompt": "x"}\n'), purpose="fine-tune")

    job = client.fine_tuning.jobs.create(model="sandbox-small", training_file=file.id)

    done = finished(client, job.id)
    assert done.status == "failed"
    assert done.error is not None
    assert done.error.message


@pytest.mark.parametrize("what", ["file", "model"])
def test_what_is_not_there_is_refused(client: openai.OpenAI, what: str):
    file = client.files.create(file=("train.jsonl", lines(SHOTS * 4)), purpose="fine-tune")
    bad_values = {"file": ("file-none", "sandbox-small"), "model": (file.id, "nobody")}[what]

    with pytest.raises(openai.APIStatusError) as refusal:
        client.fine_tuning.jobs.create(model=bad_values[1], training_file=bad_values[0])

    assert refusal.value.status_code in {400, 404}


def test_another_key_is_refused(sandbox: Running):
    with (
        openai.OpenAI(base_url=sandbox.url, api_key="other", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.models.list()


def test_what_was_tuned_is_there_after_a_restart(tmp_path: Path):
    with running(tmp_path, KEY) as first, openai.OpenAI(base_url=first.url, api_key=KEY, max_retries=0) as client:
        file = client.files.create(file=("train.jsonl", lines(SHOTS * 4)), purpose="fine-tune")
        done = finished(client, client.fine_tuning.jobs.create(model="sandbox-small", training_file=file.id).id)

    with running(tmp_path, KEY) as second, openai.OpenAI(base_url=second.url, api_key=KEY, max_retries=0) as client:
        assert done.fine_tuned_model in {model.id for model in client.models.list()}
