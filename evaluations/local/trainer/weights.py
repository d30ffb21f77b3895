"""Weights of a model, read from its GGUF file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf.quants import dequantize
from numpy.typing import NDArray

# In single precision throughout.
Floats = NDArray[Any]
# The matrices that get an adapter, by their names in GGUF.
ADAPTED = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
NORMS = ("attn_norm", "ffn_norm")
SUPPORTED = ("llama",)
KNOWN_ROPE = ("llama.rope.freq_base", "llama.rope.dimension_count")


class UnsupportedModelError(Exception):
    """The model cannot be tuned here, and why."""


@dataclass(frozen=True)
class Shape:
    """The dimensions of a model. `head_width` is that of a query's head; several of them share one of the keys'."""

    layers: int
    width: int
    heads: int
    key_heads: int
    epsilon: np.float32
    rope_base: float
    max_tokens: int

    @property
    def head_width(self) -> int:
        return self.width // self.heads


@dataclass(frozen=True)
class Model:
    """A model's weights in single precision. `layers[i][name]` is a matrix [out, in], or the weights of a norm."""

    shape: Shape
    embedding: Floats
    output: Floats
    output_norm: Floats
    layers: tuple[Mapping[str, Floats], ...]


def architecture_of(path: Path) -> str:
    """Return the architecture that a GGUF file says it has. ValueError where it is no GGUF file."""
    return str(_field(gguf.GGUFReader(path), "general.architecture"))


def refusal(path: Path) -> str:
    """Return why a model cannot be tuned, or an empty text; reads the file's head only."""
    try:
        _shape(gguf.GGUFReader(path))
    except UnsupportedModelError as error:
        return str(error)
    except (ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
        return f"The trainer cannot read this model's dimensions: {error}"
    return ""


def read_model(path: Path) -> Model:
    """Read the weights. UnsupportedModelError where the trainer does not know the model's architecture."""
    reader = gguf.GGUFReader(path)
    shape = _shape(reader)
    tensors = {tensor.name: tensor for tensor in reader.tensors}

    def weights(name: str) -> Floats:
        tensor = tensors[name]
        # GGUF gives dimensions from the innermost on.
        dimensions = [int(size) for size in reversed(tensor.shape)]
        return np.ascontiguousarray(dequantize(tensor.data, tensor.tensor_type).reshape(dimensions), dtype=np.float32)

    embedding = weights("token_embd.weight")
    return Model(
        shape,
        embedding,
        # Without an output matrix of its own a model uses its embedding for both.
        weights("output.weight") if "output.weight" in tensors else embedding,
        weights("output_norm.weight"),
        tuple(
            {name: weights(f"blk.{layer}.{name}.weight") for name in (*ADAPTED, *NORMS)}
            for layer in range(shape.layers)
        ),
    )


def _shape(reader: gguf.GGUFReader) -> Shape:
    architecture = str(_field(reader, "general.architecture"))
    if architecture not in SUPPORTED:
        raise UnsupportedModelError(
            f"Models of the architecture {architecture!r} can be served here, but not tuned: the trainer knows "
            f"{', '.join(SUPPORTED)}."
        )
    # What changes the arithmetic is refused by name, not computed as if it were not there.
    for key in reader.fields:
        is_other_rope = key.startswith("llama.rope.") and key not in KNOWN_ROPE
        if (is_other_rope or key == "llama.expert_count") and _field(reader, key) not in ("none", 0):
            raise UnsupportedModelError(f"The trainer does not know {key}, which this model has.")
    if "tokenizer.ggml.eos_token_id" not in reader.fields:
        raise UnsupportedModelError("The model does not say by which token an answer ends.")
    names = {tensor.name for tensor in reader.tensors}
    unknown = sorted(name for name in names if name.endswith(".bias") or name.startswith("rope_freqs"))
    if unknown:
        raise UnsupportedModelError(f"The trainer does not know {unknown[0]}, which this model has.")
    heads = int(_field(reader, "llama.attention.head_count"))
    width = int(_field(reader, "llama.embedding_length"))
    rotated = int(_field(reader, "llama.rope.dimension_count", width // heads))
    key_width = int(_field(reader, "llama.attention.key_length", width // heads))
    if rotated != width // heads or key_width != width // heads:
        raise UnsupportedModelError("The trainer knows only heads of equal width, rotated as a whole.")
    return Shape(
        layers=int(_field(reader, "llama.block_count")),
        width=width,
        heads=heads,
        key_heads=int(_field(reader, "llama.attention.head_count_kv", heads)),
        epsilon=np.float32(_field(reader, "llama.attention.layer_norm_rms_epsilon")),
        rope_base=float(_field(reader, "llama.rope.freq_base", 10_000.0)),
        max_tokens=int(_field(reader, "llama.context_length")),
    )


_MISSING = object()


def _field(reader: gguf.GGUFReader, name: str, default: Any = _MISSING) -> Any:
    field = reader.fields.get(name)
    if field is None:
        if default is _MISSING:
            raise ValueError(f"The file says nothing of {name}.")
        return default
    return field.contents()
