"""A copy on disk, for a process that starts while the registry cannot be reached."""

import hashlib
import hmac
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cuebook.errors import IntegrityError
from cuebook.memory import MAX_OTHERS

# The result of cuebook.memory.Memory.state, and the format's number below.
State = dict[str, Any]
FORMAT = 2
SEAL_LENGTH = 64


def default_directory() -> Path:
    """Return `cuebook` in the user's cache directory."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cuebook"


class DiskCopy:
    """One file for one registry, key and environment, readable by its owner alone; processes share it.

    It begins with an HMAC under the key, so that a file of another program is not taken for the registry's.
    """

    def __init__(self, directory: str | os.PathLike[str], url: str, key: str, environment: str) -> None:
        self._secret = hashlib.sha256(f"cuebook disk copy\n{key}".encode()).digest()
        name = hashlib.sha256("\n".join((url, key, environment)).encode()).hexdigest()[:32]
        self.path = Path(directory) / f"{name}.json"
        # The seal that this process last wrote or read, and the memory's revision of that state.
        self._seal = b""
        self._revision = -1

    def save(self, revision: int, state: Callable[[], State]) -> None:
        """Save the memory's state, which the registry has just confirmed. Where the file has it already, its time is
        renewed; what other processes wrote into it stays. Raises OSError."""
        if revision == self._revision and self._confirm():
            return
        stored = self._readable()
        merged = state() if stored is None else merge_states(state(), stored)
        if stored is None or not is_same_state(merged, stored):
            self._write(merged)
        else:
            self._confirm()
        self._revision = revision

    def load(self) -> tuple[State, float] | None:
        """Return the saved state, and how many seconds ago it was confirmed; None where there is no copy.

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
        state: State = json.loads(body)
        if state.get("format") != FORMAT:
            return None
        self._seal = seal
        return state, max(0.0, time.time() - confirmed)

    def _readable(self) -> State | None:
        try:
            loaded = self.load()
        except IntegrityError:
            # It will be overwritten.
            return None
        return loaded[0] if loaded is not None else None

    def _write(self, state: State) -> None:
        """Replace the copy atomically."""
        body = json.dumps({**state, "format": FORMAT}, ensure_ascii=False, separators=(",", ":")).encode()
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

    def _confirm(self) -> bool:
        """Renew the file's time; False where the file is no longer the one that this process wrote or read, because it
        was removed, or another process wrote it since."""
        try:
            with self.path.open("rb") as file:
                is_known = file.read(SEAL_LENGTH) == self._seal
            if is_known:
                os.utime(self.path)
        except FileNotFoundError:
            return False
        return is_known

    def _sealed(self, body: bytes) -> bytes:
        return hmac.new(self._secret, body, "sha256").hexdigest().encode()


def merge_states(ours: State, theirs: State) -> State:
    """Merge another process's state into ours: versions by other references, and examples that are used."""
    others = dict(list({**theirs["others"], **ours["others"]}.items())[-MAX_OTHERS:])
    documents = [*ours["live"].values(), *(document for document, _ in others.values())]
    used = {document["content"].get("examples", {}).get("set") for document in documents}
    examples = {**theirs["examples"], **ours["examples"]}
    used_examples = {pinned: shots for pinned, shots in examples.items() if pinned in used}
    return {**ours, "others": others, "examples": used_examples}


def is_same_state(first: State, second: State) -> bool:
    """Return whether two states have the same contents, whenever those were confirmed."""
    others = [{reference: row[0] for reference, row in state["others"].items()} for state in (first, second)]
    return others[0] == others[1] and all(first[name] == second[name] for name in ("tag", "live", "examples"))
