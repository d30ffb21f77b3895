"""What the file of a base says about its model."""

from dataclasses import dataclass
from pathlib import Path

import gguf

from evaluations.local.choice import NoModelError
from evaluations.local.trainer import weights


@dataclass(frozen=True)
class Base:
    """A model as its file describes it. `refusal` says why it cannot be tuned, if it cannot."""

    name: str
    path: Path
    layers: int
    has_embeddings: bool
    refusal: str = ""


def read_base(name: str, path: Path) -> Base:
    """Read what a GGUF file says about its model. NoModelError where it is no GGUF file."""
    try:
        reader = gguf.GGUFReader(path)
        architecture = str(reader.fields["general.architecture"].contents())
        layers = int(reader.fields[f"{architecture}.block_count"].contents())
    except (ValueError, KeyError) as error:
        raise NoModelError(f"{path} is no model in GGUF's format: {error}") from None
    return Base(name, path, layers, f"{architecture}.pooling_type" in reader.fields, weights.refusal(path))
