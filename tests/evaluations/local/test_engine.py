"""The local engine with a real llama.cpp: its protocol, adapters, and what happens when a part of it is killed."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from evaluations.local.trainer.adapter import AdapterShape, new_parameters
from evaluations.local.trainer.network import Network, Text
from evaluations.local.trainer.weights import read_model
from evaluations.openai_server.jobs import read_lines
from tests.local_engine import Engine, RefusedError, examples, running_engine
from tests.tiny_model import write_tiny_model

# A model of random weights may end its answer at any token.
GO_ON = {"ignore_eos": True}
QUESTION = [{"role": "user", "content": "Question 3"}]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("engine")
    with running_engine(write_tiny_model(folder / "tiny.gguf"), folder / "data") as engine:
        yield engine


def test_chat_and_its_usage(engine: Engine):
    answer = engine.openai.chat.completions.create(model="tiny", messages=QUESTION, max_tokens=5, extra_body=GO_ON)
    assert answer.model == "tiny"
    assert answer.usage.completion_tokens == 5
    again = engine.openai.chat.completions.create(model="tiny", messages=QUESTION, max_tokens=5, temperature=0)
    assert again.usage.prompt_tokens_details.cached_tokens > 0


def test_a_stream_is_passed_through_as_it_comes(engine: Engine):
    chunks = list(
        engine.openai.chat.completions.create(
            **{"model": "tiny", "messages": QUESTION, "max_tokens": 60, "stream": True},
            stream_options={"include_usage": True},
            extra_body=GO_ON,
        )
    )
    assert len([chunk for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]) > 2
    assert {chunk.model for chunk in chunks} == {"tiny"}
    assert chunks[-1].usage.completion_tokens == 60


def test_responses(engine: Engine):
    answer = engine.openai.responses.create(model="tiny", input="Question 3", max_output_tokens=16)
    assert answer.model == "tiny"
    assert answer.usage.output_tokens > 0


def test_answers_keep_to_a_schema(engine: Engine):
    """A model of random weights writes valid JSON, because llama.cpp makes a grammar of the schema."""
    schema = {
        "type": "object",
        "properties": {"label": {"enum": ["red", "green"]}},
        "required": ["label"],
        "additionalProperties": False,
    }
    answer = engine.openai.chat.completions.create(
        model="tiny",
        messages=QUESTION,
        max_tokens=60,
        response_format={"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}},
    )
    assert '"label"' in answer.choices[0].message.content


def test_a_stream_that_breaks_says_so(engine: Engine):
    body = {"model": "tiny", "messages": QUESTION, "max_tokens": 200, "stream": True, "extra_body": GO_ON}
    broken, reasons = "", [None]
    with engine.openai.chat.completions.create(**body) as stream:
        next(iter(stream))
        os.kill(engine.children("evaluations.local.llama_process")[0], signal.SIGKILL)
        # Either all of it was there already, or the break is an error and no end.
        try:
            reasons = [choice.finish_reason for chunk in stream for choice in chunk.choices]
        except openai.APIError as error:
            broken = str(error)
    assert "in the middle" in broken or reasons[-1] is not None
    _soon(lambda: _answers(engine, "tiny"))


def test_a_stream_of_responses_has_its_events(engine: Engine):
    body = {"model": "tiny", "input": "Question 3", "max_output_tokens": 16, "stream": True}
    with engine.openai.responses.create(**body) as stream:
        *_, last = stream
    assert last.type in ("response.completed", "response.incomplete")
    assert last.response.model == "tiny"


def test_a_key_answers_the_same_again(engine: Engine):
    headers = {"Idempotency-Key": "once"}
    rows = [
        engine.openai.chat.completions.create(model="tiny", messages=QUESTION, max_tokens=9, extra_headers=headers)
        for _ in range(2)
    ]
    assert rows[0].id == rows[1].id


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"model": "other"}, 404, "model_not_found"),
        ({"messages": [{"role": "user", "content": "x" * 3_000}]}, 400, "context_length_exceeded"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": 5}}}}, 400, None),
    ],
)
def test_refusals(engine: Engine, body: dict[str, object], status: int, code: str | None):
    with pytest.raises(openai.APIStatusError) as refusal:
        engine.openai.chat.completions.create(**{"model": "tiny", "messages": QUESTION, **body})
    assert refusal.value.status_code == status
    assert code is None or refusal.value.code == code


@pytest.mark.parametrize(
    "data",
    [b"[" * 200_000, b"[]", b"{", b'{"model": ["tiny"], "messages": [{}]}', b'{"model": {}, "messages": [{}]}'],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/v1/fine_tuning/jobs"])
def test_bodies_that_make_no_sense(engine: Engine, path: str, data: bytes):
    for content_type in ("application/json", "application/json; charset=nope"):
        with pytest.raises(RefusedError) as refusal:
            engine.send(path, data, content_type)
        assert refusal.value.status in (400, 404)


@pytest.mark.parametrize("member", ["grammar", "lora", "id_slot"])
def test_what_would_reach_others_is_refused(engine: Engine, member: str):
    with pytest.raises(openai.BadRequestError, match=f"{member} is not taken here"):
        engine.openai.chat.completions.create(model="tiny", messages=QUESTION, extra_body={member: "x"})


def test_a_key_of_another_call_is_refused(engine: Engine):
    key = {"Idempotency-Key": "one call"}
    engine.openai.chat.completions.create(model="tiny", messages=QUESTION, max_tokens=2, extra_headers=key)
    with pytest.raises(openai.BadRequestError, match="another call"):
        engine.openai.chat.completions.create(model="tiny", messages=QUESTION, max_tokens=3, extra_headers=key)


def test_it_wants_its_key(engine: Engine):
    with pytest.raises(openai.AuthenticationError), openai.OpenAI(base_url=engine.url, api_key="wrong") as client:
        client.models.list()


def test_it_makes_no_embeddings_and_says_so(engine: Engine):
    with pytest.raises(openai.BadRequestError, match="tiny makes no embeddings"):
        engine.openai.embeddings.create(model="tiny", input="x")
    assert engine.get("/local/status") == {
        **{"model": "tiny", "file": "tiny.gguf", "slots": 2, "context": 256},
        **{"has_embeddings": False, "tuning_refusal": ""},
    }


def test_a_job_from_file_to_answers(engine: Engine):
    """The tuned model says what it has learned, its base does not, and both are served by one process."""
    before = engine.openai.chat.completions.create(model="tiny", messages=QUESTION, max_tokens=4, temperature=0)
    validation = engine.upload(examples(4))
    key = engine.tune(examples(40), validation=validation, n_epochs=12, learning_rate_multiplier=20, rank=16, layers=3)
    job = engine.wait(key)
    assert job["status"] == "succeeded", job["error"]

    tuned = job["fine_tuned_model"]
    assert tuned.startswith("ft:tiny:local:test:")
    answer = engine.openai.chat.completions.create(model=tuned, messages=QUESTION, max_tokens=4, temperature=0)
    assert (answer.choices[0].message.content, answer.model) == ("ab", tuned)
    after = engine.openai.chat.completions.create(model="tiny", messages=QUESTION, max_tokens=4, temperature=0)
    assert after.choices[0].message.content == before.choices[0].message.content

    checkpoints = engine.get(f"/v1/fine_tuning/jobs/{key}/checkpoints")["data"]
    models = {model.id for model in engine.openai.models.list()}
    assert {row["fine_tuned_model_checkpoint"] for row in checkpoints} | {"tiny"} <= models
    assert all(row["metrics"]["valid_loss"] > 0 for row in checkpoints)
    results = engine.openai.files.content(job["result_files"][0]).text.splitlines()
    assert results[0] == "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"
    assert len(results) > 10
    assert job["trained_tokens"] > 0
    assert any("validation loss" in message for message in engine.messages(key))


def test_it_computes_what_the_trainer_does(engine: Engine, tmp_path: Path):
    """The probability of an answer is the same in llama.cpp and in the trainer's own network."""
    model = read_model(engine.model)
    shape = AdapterShape(4, 8.0, 0)
    network = Network(model, shape, new_parameters(model, shape, 0))
    prompt = "<|im_start|>user\nQuestion 3<|im_end|>\n<|im_start|>assistant\n"
    answer = engine.post(
        "/v1/chat/completions",
        {"model": "tiny", "messages": QUESTION, "max_tokens": 1, "temperature": 0, "logprobs": True, "top_logprobs": 5},
    )
    tops = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    tokens = _tokens(prompt)
    # llama.cpp keeps keys and values of earlier tokens in half precision.
    for top in tops:
        loss = network.loss([Text((*tokens, top["id"]), len(tokens))]).mean
        assert loss == pytest.approx(-top["logprob"], abs=0.01)


def _tokens(text: str) -> list[int]:
    """Tokens of the tiny model: bytes, "th", and the three special ones."""
    rows: list[int] = []
    while text:
        for name, token in (("<|im_start|>", 258), ("<|im_end|>", 259), ("th", 256)):
            if text.startswith(name):
                rows.append(token)
                text = text.removeprefix(name)
                break
        else:
            rows.append(ord(text[0]))
            text = text[1:]
    return rows


def test_a_job_is_cancelled_and_its_trainer_ends(engine: Engine):
    key = engine.tune(examples(200), n_epochs=50)
    engine.wait(key, "running")
    _soon(lambda: engine.children("evaluations.local.trainer"))
    assert engine.post(f"/v1/fine_tuning/jobs/{key}/cancel", {})["status"] == "cancelled"
    _soon(lambda: not engine.children("evaluations.local.trainer"))
    assert engine.job(key)["fine_tuned_model"] is None


def test_what_it_cannot_learn_is_refused(engine: Engine):
    with pytest.raises(RefusedError, match="n_epochs must be from 1 to 50"):
        engine.tune(examples(12), n_epochs=0)
    with pytest.raises(RefusedError, match="no setting 'warmth'"):
        engine.tune(examples(12), warmth=1)
    short = engine.wait(engine.tune(examples(3)))
    assert short["error"]["message"] == "The training file has 3 examples; at least 10 are needed."
    wrong = [*examples(12), {"messages": [{"role": "user", "content": "and no answer"}]}]
    assert "Line 13 does not end" in engine.wait(engine.tune(wrong))["error"]["message"]


def test_bad_lines_are_named(engine: Engine):
    good = json.dumps(examples(1)[0]).encode()
    for line, sentence in (
        (b'{"messages": [{"role": "user", "content": "\xe9"}]}', "Line 2 is no JSON object"),
        (b"[" * 100_000, "Line 2 is no JSON object"),
        (b'{"messages": ["x", {"role": "assistant", "content": "y"}]}', "Line 2: The server refused"),
    ):
        data = b"\n".join([good, line, *[good] * 12])
        file = engine.openai.files.create(file=("train.jsonl", data), purpose="fine-tune").id
        job = engine.post("/v1/fine_tuning/jobs", {"model": "tiny", "training_file": file})
        assert sentence in engine.wait(job["id"])["error"]["message"]
    empty = engine.openai.files.create(file=("validation.jsonl", b"\n"), purpose="fine-tune").id
    job = engine.wait(engine.tune(examples(12), validation=empty))
    assert job["error"]["message"] == "The validation file has no examples."


def test_a_job_cancelled_between_two_trainers_gets_no_second(engine: Engine):
    key = engine.tune(examples(200), n_epochs=50)
    folder = engine.folder / "jobs" / key
    _soon(lambda: (folder / "checkpoint.npz").exists())
    os.kill(engine.children(str(folder))[0], signal.SIGKILL)
    _soon(lambda: any("ended by signal" in message for message in engine.messages(key)))
    engine.post(f"/v1/fine_tuning/jobs/{key}/cancel", {})
    assert engine.wait(engine.tune(examples(12), n_epochs=1))["status"] == "succeeded"
    assert not engine.children(str(folder))


def test_a_killed_trainer_goes_on_from_its_checkpoint(engine: Engine):
    key = engine.tune(examples(60), n_epochs=12)
    folder = engine.folder / "jobs" / key
    _soon(lambda: (folder / "checkpoint.npz").exists())
    os.kill(engine.children(str(folder))[0], signal.SIGKILL)
    job = engine.wait(key)
    assert job["status"] == "succeeded"
    messages = engine.messages(key)
    assert any("ended by signal 9" in message for message in messages)
    assert any(message.startswith("Resumed: step ") for message in messages)


@pytest.mark.parametrize(
    "members",
    [
        {"method": []},
        {"method": {"type": "supervised", "supervised": "quick"}},
        {"method": {"type": "supervised", "supervised": {"hyperparameters": [3]}}},
        {"metadata": "x"},
        {"seed": -1},
        {"seed": "x"},
        {"suffix": "../up"},
        {"training_file": "../../etc/passwd"},
        {"validation_file": "file-none"},
        {"model": "other"},
    ],
)
def test_a_job_that_makes_no_sense_is_refused_and_none_is_kept(engine: Engine, members: dict[str, Any]):
    count = len(engine.get("/v1/fine_tuning/jobs")["data"])
    body = {"model": "tiny", "training_file": engine.upload(examples(12)), **members}
    with pytest.raises(RefusedError) as refusal:
        engine.post("/v1/fine_tuning/jobs", body)
    assert refusal.value.status in (400, 404)
    assert len(engine.get("/v1/fine_tuning/jobs")["data"]) == count


def test_a_line_that_a_kill_cut_is_not_continued(tmp_path: Path):
    path = tmp_path / "lines.jsonl"
    path.write_text('{"a": 1}\n{"a": 2')
    assert read_lines(path) == [{"a": 1}]
    with path.open("a") as file:
        file.write('{"a": 3}\n')
    assert read_lines(path) == [{"a": 1}, {"a": 3}]


def test_calls_in_flight_are_not_cut_by_a_new_adapter(engine: Engine):
    errors: list[BaseException] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            try:
                engine.openai.chat.completions.create(model="tiny", messages=QUESTION, max_tokens=100)
            except openai.OpenAIError as error:
                errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    job = engine.wait(engine.tune(examples(12), n_epochs=1))
    answer = engine.openai.chat.completions.create(
        model=job["fine_tuned_model"], messages=QUESTION, max_tokens=2, extra_body=GO_ON
    )
    done.set()
    for thread in threads:
        thread.join()
    assert not errors
    assert answer.usage.completion_tokens == 2
    # The process that had no such adapter is gone.
    _soon(lambda: len(engine.children("evaluations.local.llama_process")) == 1)


def test_a_llama_that_ends_is_started_again(engine: Engine):
    models = [model.id for model in engine.openai.models.list()]
    os.kill(engine.children("evaluations.local.llama_process")[0], signal.SIGKILL)
    _soon(lambda: _answers(engine, models[-1]))


def test_a_restart_has_its_models_and_goes_on_with_its_jobs(tmp_path: Path):
    model = write_tiny_model(tmp_path / "tiny.gguf")
    with running_engine(model, tmp_path / "data") as engine:
        first = engine.wait(engine.tune(examples(12), n_epochs=2))
        second = engine.tune(examples(80), n_epochs=10)
        _soon(lambda: (engine.folder / "jobs" / second / "checkpoint.npz").exists())
        children = engine.children("evaluations.local.")
        engine.restart()
        # What it had started ended with it.
        _soon(lambda: not set(children) & set(engine.children("evaluations.local.")))
        answer = engine.openai.chat.completions.create(
            model=first["fine_tuned_model"], messages=QUESTION, max_tokens=2, temperature=0
        )
        assert answer.model == first["fine_tuned_model"]
        assert engine.wait(second)["status"] == "succeeded"
        assert any(message.startswith("The engine was started again") for message in engine.messages(second))


def test_another_architecture_is_served_and_not_tuned(tmp_path: Path):
    model = write_tiny_model(tmp_path / "tiny.gguf", architecture="qwen2")
    with running_engine(model, tmp_path / "data") as engine:
        answer = engine.openai.chat.completions.create(model="tiny", messages=QUESTION, max_tokens=3, extra_body=GO_ON)
        assert answer.usage.completion_tokens == 3
        with pytest.raises(RefusedError, match="'qwen2' can be served here, but not tuned"):
            engine.tune(examples(12))


def test_a_file_that_is_no_model_is_refused_in_words(tmp_path: Path):
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"no model")
    with pytest.raises(AssertionError, match="is no model in GGUF's format"), running_engine(path, tmp_path / "data"):
        pass


def test_an_adapter_that_is_cut_off_keeps_nobody_from_answering(tmp_path: Path):
    with running_engine(write_tiny_model(tmp_path / "tiny.gguf"), tmp_path / "data") as engine:
        whole, cut = (engine.wait(engine.tune(examples(12), n_epochs=1)) for _ in range(2))
        engine.stop(signal.SIGKILL)
        os.truncate(engine.folder / "jobs" / cut["id"] / "epoch-1.gguf", 200)
        engine.start()
        assert {model.id for model in engine.openai.models.list()} == {"tiny", whole["fine_tuned_model"]}
        assert _answers(engine, whole["fine_tuned_model"])


def test_what_nobody_heard_before_a_kill_is_not_lost(tmp_path: Path):
    with running_engine(write_tiny_model(tmp_path / "tiny.gguf"), tmp_path / "data") as engine:
        key = engine.tune(examples(200), n_epochs=3)
        folder = engine.folder / "jobs" / key
        _soon(lambda: (folder / "epoch-1.gguf").exists() and (folder / "checkpoint.npz").exists())
        engine.stop(signal.SIGKILL)
        (folder / "lines.jsonl").write_text('{"step": 1, "tra')
        engine.start()
        job = engine.wait(key)
        assert job["status"] == "succeeded"
        assert len(engine.get(f"/v1/fine_tuning/jobs/{key}/checkpoints")["data"]) == 3
        results = engine.openai.files.content(job["result_files"][0]).text.splitlines()
        assert len(results) == 1 + 3 * 50


def test_a_crash_while_an_adapter_takes_over_loses_it_not(tmp_path: Path):
    """The process with the new adapter starts slowly; the old one dies meanwhile; its successor has the adapter."""
    with running_engine(write_tiny_model(tmp_path / "tiny.gguf"), tmp_path / "data") as engine:
        (old,) = engine.children("evaluations.local.llama_process")
        key = engine.tune(examples(12), n_epochs=1)
        _soon(lambda: len(engine.children("evaluations.local.llama_process")) == 2)
        (new,) = set(engine.children("evaluations.local.llama_process")) - {old}
        os.kill(new, signal.SIGSTOP)
        # Nobody is told of a model that would be answered by its base.
        assert {model.id for model in engine.openai.models.list()} == {"tiny"}
        os.kill(old, signal.SIGKILL)
        time.sleep(1.5)
        os.kill(new, signal.SIGCONT)
        job = engine.wait(key)
        _soon(lambda: _answers(engine, job["fine_tuned_model"]))
        time.sleep(2)
        assert job["fine_tuned_model"] in {model.id for model in engine.openai.models.list()}
        assert _answers(engine, job["fine_tuned_model"])


def test_a_text_begins_in_training_as_it_does_in_serving(tmp_path: Path):
    model = write_tiny_model(tmp_path / "tiny.gguf", begins=True)
    with running_engine(model, tmp_path / "data") as engine:
        usage = engine.openai.chat.completions.create(model="tiny", messages=QUESTION, max_tokens=1).usage
        job = engine.wait(
            engine.tune([{"messages": [*QUESTION, {"role": "assistant", "content": "a"}]}] * 10, n_epochs=1)
        )
        # Each example: the prompt as it is served, "a", and the token that ends an answer.
        assert job["trained_tokens"] == 10 * (usage.prompt_tokens + 2)


def test_with_another_model_in_the_same_folder_it_starts_without_the_old_ones_adapters(tmp_path: Path):
    data = tmp_path / "data"
    with running_engine(write_tiny_model(tmp_path / "tiny.gguf"), data) as engine:
        tuned = engine.wait(engine.tune(examples(12), n_epochs=1))["fine_tuned_model"]
        left = engine.tune(examples(200), n_epochs=50)
        engine.wait(left, "running")
    with running_engine(write_tiny_model(tmp_path / "other.gguf", seed=1), data) as engine:
        assert {model.id for model in engine.openai.models.list()} == {"other"}
        assert "another model" in engine.job(left)["error"]["message"]
    with running_engine(tmp_path / "tiny.gguf", data) as engine:
        assert tuned in {model.id for model in engine.openai.models.list()}


def _answers(engine: Engine, model: str) -> bool:
    """Whether it answers: for a moment after a kill it refuses with 503."""
    try:
        return bool(engine.openai.chat.completions.create(model=model, messages=QUESTION, max_tokens=1))
    except openai.InternalServerError:
        return False


def _soon(condition: object, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.05)
