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
from cuebook.memory import MOST_OTHERS

# What cuebook.memory.Memory.state gives, and the number below.
State = dict[str, Any]
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
        # Of what this process wrote or read last, and the memory's revision that this is.
        self._seal = b""
        self._revision = -1

    def save(self, revision: int, state: Callable[[], State]) -> None:
        """What is held now, which the registry has just said is so. Where the file has it already its time is renewed;
        what other processes wrote into it stays. Raises OSError."""
        if revision == self._revision and self._confirm():
            return
        there = self._readable()
        merged = state() if there is None else beside(state(), there)
        if there is None or not is_same(merged, there):
            self._write(merged)
        else:
            self._confirm()
        self._revision = revision

    def load(self) -> tuple[State, float] | None:
        """What was saved, and how many seconds ago it was confirmed; None where there is no copy.

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
            found = self.load()
        except IntegrityError:
            # It is written anew.
            return None
        return found[0] if found is not None else None

    def _write(self, state: State) -> None:
        """Replace the copy, as a whole or not at all."""
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
        """Renew the file's time; False where what this process wrote or read is not there any more, because somebody
        removed it, or another process wrote since."""
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


def beside(ours: State, theirs: State) -> State:
    """A state with what another process's has too: versions by other references, and examples that are used."""
    others = dict(list({**theirs["others"], **ours["others"]}.items())[-MOST_OTHERS:])
    documents = [*ours["live"].values(), *(document for document, _ in others.values())]
    used = {document["content"].get("examples", {}).get("set") for document in documents}
    examples = {**theirs["examples"], **ours["examples"]}
    kept = {pinned: shots for pinned, shots in examples.items() if pinned in used}
    return {**ours, "others": others, "examples": kept}


def is_same(one: State, other: State) -> bool:
    """Whether two states have the same in them, whenever that was confirmed."""
    others = [{reference: held[0] for reference, held in state["others"].items()} for state in (one, other)]
    return others[0] == others[1] and all(one[name] == other[name] for name in ("tag", "live", "examples"))
