"""Adapters: two small matrices beside each large one (LoRA: Hu et al. 2021, arXiv 2106.09685), and their GGUF file."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np

from evaluations.local.trainer.weights import ADAPTED, Floats, Model

# (layer, matrix, "a" or "b"): y = W x + alpha / rank * B A x.
Key = tuple[int, str, str]
Parameters = dict[Key, Floats]


@dataclass(frozen=True)
class AdapterShape:
    """An adapter's rank, its `alpha`, and the first layer that has one; those below stay as they are."""

    rank: int
    alpha: float
    first_layer: int

    @property
    def scale(self) -> np.float32:
        return np.float32(self.alpha / self.rank)


def new_parameters(model: Model, shape: AdapterShape, seed: int) -> Parameters:
    """Return an adapter that changes nothing yet: A is random (uniform by Kaiming's rule, as in peft), B is zero."""
    rng = np.random.default_rng(seed)
    parameters: Parameters = {}
    for layer in range(shape.first_layer, model.shape.layers):
        for name in ADAPTED:
            outputs, inputs = model.layers[layer][name].shape
            bound = 1 / np.sqrt(inputs)
            parameters[layer, name, "a"] = rng.uniform(-bound, bound, (shape.rank, inputs)).astype(np.float32)
            parameters[layer, name, "b"] = np.zeros((outputs, shape.rank), np.float32)
    return parameters


def write_adapter(path: Path, parameters: Mapping[Key, Floats], shape: AdapterShape, architecture: str) -> None:
    """Write an adapter as llama.cpp reads it; the file is there as a whole or not at all."""
    unfinished = path.with_name(path.name + ".part")
    writer = gguf.GGUFWriter(unfinished, architecture)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", shape.alpha)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    for (layer, name, matrix), values in parameters.items():
        writer.add_tensor(f"blk.{layer}.{name}.weight.lora_{matrix}", np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    os.replace(unfinished, path)
