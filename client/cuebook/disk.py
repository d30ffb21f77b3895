"""A copy on disk, for a process that starts while the registry cannot be reached."""

import hashlib
import hmac
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from cuebook.errors import IntegrityError

FORMAT = 2
SEAL_LENGTH = 64


def default_directory() -> Path:
    """`cuebook` in the user's cache directory."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cuebook"


class DiskCopy:
    """One file for one registry, key and environment, which nobody but its owner may read; processes share it.

    It begins with an HMAC under the key, so that what another program wrote there is not taken for the registry's.
    """

    def __init__(self, directory: str | os.PathLike[str], url: str, key: str, environment: str) -> None:
        self._secret = hashlib.sha256(f"cuebook disk copy\n{key}".encode()).digest()
        name = hashlib.sha256("\n".join((url, key, environment)).encode()).hexdigest()[:32]
        self.path = Path(directory) / f"{name}.json"
        # Of what this process wrote or read last.
        self._seal = b""

    def write(self, state: dict[str, Any]) -> None:
        """Replace the copy, as a whole or not at all. Raises OSError."""
        body = json.dumps({"format": FORMAT, **state}, ensure_ascii=False, separators=(",", ":")).encode()
        seal = self._sealed(body)
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # mkstemp's file is readable by its owner alone.
        descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=f"{self.path.stem}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(seal + b"\n" + body)
            os.replace(name, self.path)
        except BaseException:
            os.unlink(name)
            raise
        self._seal = seal

    def confirm(self) -> bool:
        """The registry has just said that what this process wrote is what it would say now; False where that is not
        there any more, because somebody removed it, or another process wrote since. Raises OSError."""
        try:
            with self.path.open("rb") as file:
                is_ours = file.read(SEAL_LENGTH) == self._seal
            if is_ours:
                os.utime(self.path)
        except FileNotFoundError:
            return False
        return is_ours

    def read(self) -> tuple[dict[str, Any], float] | None:
        """What was written, and how many seconds ago it was confirmed; None where there is no copy.

        Raises IntegrityError for a file that this key did not write, and OSError.
        """
        try:
            data = self.path.read_bytes()
            confirmed = self.path.stat().st_mtime
        except FileNotFoundError:
            return None
        seal, _, body = data.partition(b"\n")
        if not hmac.compare_digest(seal, self._sealed(body)):
            raise IntegrityError(f"{self.path} is damaged, or was not written with this key; it is not used.")
        state: dict[str, Any] = json.loads(body)
        if state.get("format") != FORMAT:
            return None
        self._seal = seal
        return state, max(0.0, time.time() - confirmed)

    def _sealed(self, body: bytes) -> bytes:
        return hmac.new(self._secret, body, "sha256").hexdigest().encode()
