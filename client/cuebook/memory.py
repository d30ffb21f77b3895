"""The memory of a client: an environment's snapshot, other versions that were asked for, and example sets."""

import threading
import time
from collections import OrderedDict
from typing import Any

from cuebook.answers import Document, read_experiments, read_shots, read_version, well_formed
from cuebook.core.assignment import Split
from cuebook.core.examples import Shot
from cuebook.errors import IntegrityError
from cuebook.hashing import content_hash, verify_examples
from cuebook.prompt import Confirmation, Prompt, Source
from cuebook.remote import Snapshot

# Limit of versions beside the snapshot; those asked for last stay.
MAX_OTHERS = 1_000


class Memory:
    """The memory of one client; threads may share it. `ready` is read without a lock: it is only replaced as a
    whole."""

    def __init__(self, environment: str, source: Source) -> None:
        self._environment = environment
        self._source = source
        self._live: dict[str, Document] = {}
        self._live_prompts: dict[str, Prompt] = {}
        self._experiments: dict[str, Document] = {}
        self._arm_documents: dict[str, Document] = {}
        # By the prompt's name: what assigns subjects, and the prompts of its arms by name.
        self._assigned: dict[str, tuple[Split, dict[str, Prompt]]] = {}
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
        self._is_changing = False
        self.after_fork()

    def after_fork(self) -> None:
        """Replace the lock: its holder stayed in the parent, perhaps in the middle of a change."""
        self._lock = threading.RLock()
        if self._is_changing:
            self._is_changing, self.tag = False, ""
        self._make_ready()

    def apply(self, snapshot: Snapshot) -> None:
        """Apply a snapshot. On an IntegrityError nothing changes, except that the next request asks for all of it."""
        with self._lock:
            live = {} if snapshot.is_whole else dict(self._live)
            for name in snapshot.removed:
                live.pop(name, None)
            live |= snapshot.prompts
            hashes = {name: document["hash"] for name, document in live.items()}
            whole = {"live": hashes, "experiments": snapshot.experiments} if snapshot.experiments else hashes
            if content_hash(whole) != snapshot.tag:
                self.tag = ""
                raise IntegrityError("The snapshot has not the prompts that its tag says.")
            self._experiments, self._arm_documents = snapshot.experiments, snapshot.arms
            self._replace_live(live, snapshot.tag)

    def clear(self) -> None:
        """Remove all live versions: the environment is gone."""
        with self._lock:
            self._experiments, self._arm_documents = {}, {}
            self._replace_live({}, "")

    def assigned(self, name: str, subject: str) -> Prompt | None:
        """Return the version of the arm that a subject is in; None where no experiment runs with the prompt, or the
        subject is no part of it."""
        split, prompts = self._assigned.get(name, (None, {}))
        arm = split.arm_of(subject) if split is not None else None
        return None if arm is None else prompts[arm]

    def confirm(self) -> None:
        """Record that the snapshot is still what is live."""
        self._confirmed.at = time.monotonic()

    def keep(self, reference: str, document: Document) -> Prompt:
        """Store a version by another reference than the environment's."""
        with self._lock:
            confirmed = None if never_changes(reference) else Confirmation(time.monotonic())
            previous = self._others.pop(reference, None)
            if previous is not None and previous[0]["hash"] == document["hash"]:
                self._others[reference] = previous
                previous[1].confirm(confirmed)
                return previous[1]
            prompt = Prompt(document, self._source, confirmed)
            self._others[reference] = (document, prompt)
            while len(self._others) > MAX_OTHERS:
                self._others.popitem(last=False)
            self._changed()
            return prompt

    def drop(self, reference: str) -> None:
        with self._lock:
            if self._others.pop(reference, None):
                self._changed()

    @property
    def watched(self) -> list[str]:
        """References beside the snapshot that may select another version at any time."""
        with self._lock:
            return [reference for reference, (_, prompt) in self._others.items() if prompt.may_change]

    @property
    def missing_examples(self) -> list[str]:
        """Example sets that rendering needs and that are not in memory yet."""
        with self._lock:
            return sorted(self._used_examples() - self._examples.keys())

    def examples(self, pinned: str) -> list[Shot] | None:
        return self._examples.get(pinned)

    def keep_examples(self, pinned: str, shots: list[Shot]) -> None:
        """Store an example set. Raises IntegrityError."""
        verify_examples(shots, pinned)
        with self._lock:
            self._examples[pinned] = shots
            self.revision += 1

    def state(self) -> dict[str, Any]:
        """Return all of it for the disk; versions that may change have the time of confirmation (seconds since
        1970)."""
        with self._lock:
            now = time.time()
            return {
                "tag": self.tag,
                "live": self._live,
                "experiments": self._experiments,
                "arms": self._arm_documents,
                "others": {
                    reference: [document, now - prompt.age if prompt.may_change else None]
                    for reference, (document, prompt) in self._others.items()
                },
                "examples": {pinned: [shot.as_dict() for shot in shots] for pinned, shots in self._examples.items()},
            }

    def restore(self, state: dict[str, Any], age: float) -> None:
        """Restore the result of `state`, confirmed `age` seconds ago. Raises IntegrityError."""
        with well_formed("The copy on disk"):
            live = {name: read_version(document, name) for name, document in state["live"].items()}
            experiments, arms = read_experiments(state)
            self.apply(Snapshot(state["tag"], live, experiments=experiments, arms=arms))
            self._confirmed.at -= age
            for reference, (document, at) in state["others"].items():
                # A bare name is of another environment's client, or was not live yet: it has no selector to check.
                prompt = self.keep(reference, read_version(document, reference))
                prompt.age_by(max(0.0, time.time() - at) if at is not None else 0.0)
            for pinned, shots in state["examples"].items():
                self.keep_examples(pinned, read_shots(shots))

    def _replace_live(self, live: dict[str, Document], tag: str) -> None:
        now = Confirmation(time.monotonic())
        self._is_changing = True
        # A version that stays keeps its compiled templates, and prompts that the service holds stay valid.
        self._live_prompts = {
            name: self._unchanged(name, document) or Prompt(document, self._source, now)
            for name, document in live.items()
        }
        for name, prompt in self._live_prompts.items():
            prompt.confirm(now)
            self._others.pop(name, None)
        self._live, self._confirmed, self.tag, self.is_loaded = live, now, tag, True
        self._assigned = {name: self._assign(name, document, now) for name, document in self._experiments.items()}
        used = self._used_examples()
        self._examples = {pinned: shots for pinned, shots in self._examples.items() if pinned in used}
        self._changed()
        self._is_changing = False

    def _assign(self, name: str, experiment: Document, now: Confirmation) -> tuple[Split, dict[str, Prompt]]:
        """Return what assigns a prompt's subjects, and a prompt for each arm; those that stay keep what they have
        compiled."""
        split, hashes = Split.from_dict(experiment)
        _, before = self._assigned.get(name, (None, {}))
        prompts = {}
        for arm, pinned in hashes.items():
            exposure = split.exposure(arm)
            previous = before.get(arm)
            if previous is not None and (previous.hash, previous.experiment) == (pinned, exposure):
                previous.confirm(now)
                prompts[arm] = previous
            else:
                prompts[arm] = Prompt(self._arm_documents[pinned], self._source, now, experiment=exposure)
        return split, prompts

    def _unchanged(self, name: str, document: Document) -> Prompt | None:
        prompt = self._live_prompts.get(name)
        return prompt if prompt is not None and prompt.hash == document["hash"] else None

    def _used_examples(self) -> set[str]:
        prompts = [*self._live_prompts.values(), *(prompt for _, prompt in self._others.values())]
        prompts += [prompt for _, arms in self._assigned.values() for prompt in arms.values()]
        return {prompt.example_set for prompt in prompts if prompt.example_set is not None}

    def _make_ready(self) -> None:
        ready = {reference: prompt for reference, (_, prompt) in self._others.items()}
        ready |= {f"{name}@{self._environment}": prompt for name, prompt in self._live_prompts.items()}
        ready |= self._live_prompts
        self.ready = ready

    def _changed(self) -> None:
        self._make_ready()
        self.revision += 1


def never_changes(reference: str) -> bool:
    """Return whether a reference always selects the same version: by number or by hash."""
    selector = reference.partition("@")[2]
    return selector.isdecimal() or selector.startswith("sha256:")
