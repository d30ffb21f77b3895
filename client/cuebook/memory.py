"""What a client holds: an environment's snapshot, other versions that were asked for, and example sets."""

import threading
import time
from collections import OrderedDict
from typing import Any

from cuebook.core.example_content import Shot
from cuebook.errors import IntegrityError
from cuebook.hashing import content_hash, verify, verify_examples
from cuebook.prompt import Confirmation, Prompt, Source
from cuebook.remote import Document, Snapshot

# Of versions beside the snapshot: those asked for last.
MOST_OTHERS = 1_000


class Memory:
    """Threads may share it. `ready` is read without a lock: it is never changed, but replaced as a whole."""

    def __init__(self, environment: str, source: Source) -> None:
        self._environment = environment
        self._source = source
        self._live: dict[str, Document] = {}
        self._live_prompts: dict[str, Prompt] = {}
        self._confirmed = Confirmation(time.monotonic())
        self._others: OrderedDict[str, tuple[Document, Prompt]] = OrderedDict()
        self._examples: dict[str, list[Shot]] = {}
        self.tag = ""
        # Whether it has an environment's snapshot, be it empty or from the disk.
        self.is_loaded = False
        # By reference, as callers write it.
        self.ready: dict[str, Prompt] = {}
        # Counts changes, so that the disk is written only where there are any.
        self.revision = 0
        self.after_fork()

    def after_fork(self) -> None:
        """Whoever held the lock stayed in the parent."""
        self._lock = threading.RLock()

    def apply(self, snapshot: Snapshot) -> None:
        """What is live now. Raises IntegrityError, and then nothing has changed but that all is asked for next."""
        with self._lock:
            live = {} if snapshot.is_whole else dict(self._live)
            for name in snapshot.removed:
                live.pop(name, None)
            live |= snapshot.prompts
            try:
                for document in snapshot.prompts.values():
                    verify(document)
                if content_hash({name: document["hash"] for name, document in live.items()}) != snapshot.tag:
                    raise IntegrityError("The snapshot has not the prompts that its tag says.")
            except IntegrityError:
                self.tag = ""
                raise
            self._replace_live(live, snapshot.tag)

    def clear(self) -> None:
        """Nothing is live: the environment is gone."""
        with self._lock:
            self._replace_live({}, "")

    def confirm(self) -> None:
        """The snapshot is still what is live."""
        self._confirmed.at = time.monotonic()

    def keep(self, reference: str, document: Document) -> Prompt:
        """A version by another reference than the environment's. Raises IntegrityError."""
        verify(document)
        with self._lock:
            return self._keep(reference, document)

    def _keep(self, reference: str, document: Document) -> Prompt:
        selector = reference.partition("@")[2]
        never_changes = selector.isdecimal() or selector.startswith("sha256:")
        held = self._others.pop(reference, None)
        confirmed = None if never_changes else Confirmation(time.monotonic())
        if held is not None and held[0]["hash"] == document["hash"]:
            prompt = held[1]
            prompt.confirm(confirmed)
        else:
            prompt = Prompt(document, self._source, confirmed)
        self._others[reference] = (document, prompt)
        while len(self._others) > MOST_OTHERS:
            self._others.popitem(last=False)
        self._make_ready()
        return prompt

    def drop(self, reference: str) -> None:
        with self._lock:
            if self._others.pop(reference, None):
                self._make_ready()

    @property
    def watched(self) -> list[str]:
        """References beside the snapshot that may select another version at any time."""
        with self._lock:
            return [reference for reference, (_, prompt) in self._others.items() if prompt.may_change]

    @property
    def wanted_examples(self) -> list[str]:
        """Sets that rendering needs and that are not here yet."""
        with self._lock:
            return sorted(self._used_examples() - self._examples.keys())

    def examples(self, pinned: str) -> list[Shot] | None:
        return self._examples.get(pinned)

    def keep_examples(self, pinned: str, shots: list[Shot]) -> None:
        """Raises IntegrityError."""
        verify_examples(shots, pinned)
        with self._lock:
            self._examples[pinned] = shots
            self.revision += 1

    def state(self) -> dict[str, Any]:
        """All of it, for the disk."""
        with self._lock:
            return {
                "tag": self.tag,
                "live": self._live,
                "others": {reference: document for reference, (document, _) in self._others.items()},
                "examples": {pinned: [shot.as_dict() for shot in shots] for pinned, shots in self._examples.items()},
            }

    def restore(self, state: dict[str, Any], age: float) -> None:
        """What `state` gave, confirmed so many seconds ago. Raises IntegrityError."""
        self.apply(Snapshot(state["tag"], state["live"]))
        self._confirmed.at -= age
        for reference, document in state["others"].items():
            self.keep(reference, document).age_by(age)
        for pinned, shots in state["examples"].items():
            read = [Shot(one["input"], one["output"], one.get("note", ""), tuple(one.get("tags", ()))) for one in shots]
            self.keep_examples(pinned, read)

    def _replace_live(self, live: dict[str, Document], tag: str) -> None:
        now = Confirmation(time.monotonic())
        # A version that stays keeps its compiled templates, and so does what the service holds of it.
        self._live_prompts = {
            name: self._kept(name, document) or Prompt(document, self._source, now) for name, document in live.items()
        }
        for name, prompt in self._live_prompts.items():
            prompt.confirm(now)
            self._others.pop(name, None)
        self._live, self._confirmed, self.tag, self.is_loaded = live, now, tag, True
        used = self._used_examples()
        self._examples = {pinned: shots for pinned, shots in self._examples.items() if pinned in used}
        self._make_ready()

    def _kept(self, name: str, document: Document) -> Prompt | None:
        held = self._live_prompts.get(name)
        return held if held is not None and held.hash == document["hash"] else None

    def _used_examples(self) -> set[str]:
        prompts = [*self._live_prompts.values(), *(prompt for _, prompt in self._others.values())]
        return {prompt.example_set for prompt in prompts if prompt.example_set is not None}

    def _make_ready(self) -> None:
        ready = {reference: prompt for reference, (_, prompt) in self._others.items()}
        ready |= {f"{name}@{self._environment}": prompt for name, prompt in self._live_prompts.items()}
        ready |= self._live_prompts
        self.ready = ready
        self.revision += 1
