"""Small JSON files that only their owner may read, such as secrets and credentials."""

import json
import os
from pathlib import Path
from typing import Any


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the object stored at `path`, or None where there is no such file."""
    try:
        stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return stored


def write_private_json(path: Path, value: dict[str, Any]) -> None:
    """Write atomically, readable by the owner alone."""
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as handle:
        json.dump(value, handle, indent=2)
    temporary.replace(path)
