"""The trainer's arithmetic: gradients, Adam's loop, checkpoints, and what it refuses."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluations.local.trainer import training
from evaluations.local.trainer.adapter import AdapterShape, Parameters, new_parameters
from evaluations.local.trainer.network import Network, Text
from evaluations.local.trainer.training import Settings, Training
from evaluations.local.trainer.weights import ADAPTED, Model, UnsupportedModelError, read_model, refusal
from tests.tiny_model import LAYERS, write_tiny_model

SHAPE = AdapterShape(rank=4, alpha=8.0, first_layer=1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return read_model(write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.gguf"))


def texts(count: int, seed: int = 1) -> list[Text]:
    """Texts in which the answer repeats a part of the question, so that there is something to learn."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        question = [int(token) for token in rng.integers(97, 101, int(rng.integers(5, 12)))]
        rows.append(Text((*question, 10, question[0], question[0], 258), len(question) + 1))
    return rows


def changed(parameters: Parameters, seed: int = 2) -> Parameters:
    """An adapter whose B is not zero: at zero the gradients of A are."""
    rng = np.random.default_rng(seed)
    return {
        key: values + rng.normal(0, 0.05, values.shape).astype(np.float32) if key[2] == "b" else values
        for key, values in parameters.items()
    }


@pytest.mark.parametrize("name", ADAPTED)
@pytest.mark.parametrize("matrix", ["a", "b"])
@pytest.mark.parametrize("layer", [1, LAYERS - 1])
def test_gradients_are_what_the_loss_does(model: Model, layer: int, name: str, matrix: str):
    """Each gradient along its own direction, against the central difference of the loss."""
    network = Network(model, SHAPE, changed(new_parameters(model, SHAPE, 0)))
    batch = texts(3)
    _, gradients = network.loss_and_gradients(batch)
    key = (layer, name, matrix)
    gradient, values = gradients[key], network.parameters[key]
    direction = gradient / np.linalg.norm(gradient)
    step = np.float32(0.02)

    network.parameters[key] = values + step * direction
    above = network.loss(batch).mean
    network.parameters[key] = values - step * direction
    below = network.loss(batch).mean

    assert (above - below) / (2 * float(step)) == pytest.approx(float((gradient * direction).sum()), rel=0.02, abs=2e-5)


def test_texts_of_a_batch_do_not_see_each_other(model: Model):
    network = Network(model, SHAPE, changed(new_parameters(model, SHAPE, 0)))
    first, second = texts(2)
    alone = [network.loss([text]) for text in (first, second)]
    together = network.loss([first, second])
    tokens = sum(loss.tokens for loss in alone)
    assert together.tokens == tokens
    assert together.mean == pytest.approx(sum(loss.mean * loss.tokens for loss in alone) / tokens, rel=1e-4)


def test_lower_layers_are_the_same_whether_remembered_or_not(model: Model):
    batch = texts(2)
    whole = AdapterShape(4, 8.0, 0)
    plain = Network(model, whole, new_parameters(model, whole, 0)).loss(batch)
    assert Network(model, SHAPE, new_parameters(model, SHAPE, 0)).loss(batch).mean == pytest.approx(
        plain.mean, rel=1e-4
    )


def otherwise(text: Text) -> Text:
    """The same question with another answer: the better the others are learned, the worse this is foretold."""
    return Text((*text.tokens[: text.answer_start], 200, 201, 258), text.answer_start)


def train(
    model: Model, folder: Path, settings: Settings, stop_at: int = 0, validation: Sequence[Text] = ()
) -> list[dict[str, Any]]:
    """Train, killed at a step if one is named; returns what was said."""
    folder.mkdir(exist_ok=True)
    lines: list[dict[str, Any]] = []

    def say(**members: Any) -> None:
        lines.append(json.loads(json.dumps(members)))
        if stop_at and members.get("step") == stop_at and "train_loss" in members:
            raise KeyboardInterrupt

    network = Network(model, settings.shape, new_parameters(model, settings.shape, settings.seed))
    job = Training(network, texts(24), validation or texts(8, seed=7), settings, folder)
    if stop_at:
        with pytest.raises(KeyboardInterrupt):
            job.run(say, "llama")
    else:
        job.run(say, "llama")
    return lines


def test_it_learns(model: Model, tmp_path: Path):
    lines = train(model, tmp_path, Settings(epochs=4, rate=2e-2, shape=AdapterShape(8, 16.0, 0)))
    epochs = [line for line in lines if "epoch" in line and "adapter" in line]
    assert epochs[-1]["valid_loss"] < epochs[0]["valid_loss"]
    assert all((tmp_path / line["adapter"]).exists() for line in epochs)


def test_a_killed_training_goes_on_as_if_it_had_not_been(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    settings = Settings(epochs=2, rate=1e-2, shape=SHAPE)
    whole = train(model, tmp_path / "whole", settings)
    killed = train(model, tmp_path / "killed", settings, stop_at=8)
    resumed = train(model, tmp_path / "killed", settings)

    assert {"event": "resumed", "step": 7} in resumed
    losses = {line["step"]: line["train_loss"] for line in [*killed, *resumed] if "train_loss" in line}
    assert losses == {line["step"]: line["train_loss"] for line in whole if "train_loss" in line}
    assert (tmp_path / "killed/epoch-2.gguf").read_bytes() == (tmp_path / "whole/epoch-2.gguf").read_bytes()


def test_it_stops_where_the_validation_loss_rises(model: Model, tmp_path: Path):
    contradicting = [otherwise(text) for text in texts(8, seed=7)]
    lines = train(model, tmp_path, Settings(epochs=9, rate=2e-2, shape=SHAPE), validation=contradicting)
    stopped = next(line for line in lines if line.get("event") == "stopped_early")
    losses = {line["epoch"]: line["valid_loss"] for line in lines if "valid_loss" in line}
    assert stopped["epoch"] < 9
    assert losses[stopped["best_epoch"]] == min(losses.values())


def test_other_architectures_are_refused_by_name(tmp_path: Path):
    path = write_tiny_model(tmp_path / "other.gguf", architecture="qwen2")
    assert "'qwen2'" in refusal(path)
    with pytest.raises(UnsupportedModelError, match="served here, but not tuned"):
        read_model(path)
    assert refusal(write_tiny_model(tmp_path / "tiny.gguf")) == ""
    # What changes the arithmetic is not computed as if it were not there.
    assert "llama.rope.scaling.factor" in refusal(write_tiny_model(tmp_path / "rope.gguf", rope_factor=4.0))


def test_what_was_said_before_a_kill_is_repeated(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(training, "CHECKPOINT_SECONDS", 0.0)
    settings = Settings(epochs=2, rate=1e-2, shape=SHAPE)
    train(model, tmp_path, settings, stop_at=8)
    resumed = train(model, tmp_path, settings)
    assert [line["step"] for line in resumed if "train_loss" in line] == list(range(1, 13))
    assert [line["epoch"] for line in resumed if "adapter" in line] == [1, 2]
    assert [bool(line.get("repeated")) for line in resumed if "adapter" in line] == [True, False]
