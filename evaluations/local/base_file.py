"""What the file of a base says about its model."""

from dataclasses import dataclass
from pathlib import Path

import gguf

from evaluations.local.choice import NoModelError
from evaluations.local.trainer import weights

# What reading a file that is broken or not GGUF may raise.
BROKEN = (ValueError, KeyError, IndexError, TypeError, OverflowError)


@dataclass(frozen=True)
class Base:
    """A model as its file describes it. `refusal` says why it cannot be tuned, if it cannot."""

    name: str
    path: Path
    layers: int
    has_embeddings: bool
    refusal: str = ""


def is_whole(path: Path) -> bool:
    """Return whether a GGUF file has all that its head says that it has."""
    try:
        gguf.GGUFReader(path)
    except (OSError, *BROKEN):
        return False
    return True


def read_base(name: str, path: Path) -> Base:
    """Read what a GGUF file says about its model. NoModelError where it is no GGUF file."""
    try:
        reader = gguf.GGUFReader(path)
        architecture = str(reader.fields["general.architecture"].contents())
        layers = int(reader.fields[f"{architecture}.block_count"].contents())
    except BROKEN as error:
        raise NoModelError(f"{path} is no model in GGUF's format: {error}") from None
    return Base(name, path, layers, f"{architecture}.pooling_type" in reader.fields, weights.refusal(path))
