"""Which arm of an experiment a subject is in: one function, for server, inference service, snapshots and clients. Pure.

SHA-256 over the UTF-8 of salt, a zero byte, and subject; the highest 53 bits of its first eight bytes as a whole number
(most significant byte first), divided by 2^53, is the subject's place from 0 to below 1. Arms own stretches of that
line, in basis points of 10,000: the first challenger from 0 up, the second from 1 down, further ones above the first in
their order; the baseline owns what is left. So a ramp takes subjects from the baseline and moves nobody between
challengers, where there are two at most; and a subject's place says nothing of its place with another salt.
tests/vectors/assignment.json is what it has to answer.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

BASIS_POINTS = 10_000


@dataclass(frozen=True)
class Arm:
    """A name, and its share of the subjects in basis points."""

    name: str
    weight: int


def place(salt: str, subject: str) -> float:
    """Return a subject's place on the line, from 0 to below 1."""
    # What is no character is replaced, as a server does that reads it from an address.
    digest = hashlib.sha256(salt.encode() + b"\0" + subject.encode(errors="replace")).digest()
    # As many as a float holds: nothing is rounded up to 1.
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def assign(salt: str, subject: str, baseline: str, challengers: Sequence[Arm]) -> str:
    """Return the name of the arm that a subject is in. ValueError where the weights are more than all there is."""
    total = sum(arm.weight for arm in challengers)
    if total > BASIS_POINTS or any(arm.weight < 0 for arm in challengers):
        raise ValueError(f"weights are from 0 to {BASIS_POINTS:,} together, not {total:,}")
    at = place(salt, subject) * BASIS_POINTS
    if len(challengers) > 1 and at >= BASIS_POINTS - challengers[1].weight:
        return challengers[1].name
    end = 0
    for number, arm in enumerate(challengers):
        if number == 1:
            continue
        end += arm.weight
        if at < end:
            return arm.name
    return baseline


@dataclass(frozen=True)
class Split:
    """What an experiment serves in one environment now: the run and its step on the ramp, the name of the baseline's
    arm, and the challengers with their weights at this step. Subjects of a stopped arm are served the baseline, and are
    no part of the experiment any more: so the others go on as they were."""

    run: int
    step: int
    salt: str
    baseline: str
    challengers: tuple[Arm, ...]
    stopped: frozenset[str] = field(default_factory=frozenset)

    def arm_of(self, subject: str) -> str | None:
        """Return the arm that a subject is in; None where it is no part of the experiment."""
        name = assign(self.salt, subject, self.baseline, self.challengers)
        return None if name in self.stopped else name

    def exposure(self, arm: str) -> dict[str, Any]:
        """Return what a call says of the arm that it was served, so that it is a part of the experiment."""
        return {"run": self.run, "step": self.step, "arm": arm}

    def as_dict(self, hashes: Mapping[str, str]) -> dict[str, Any]:
        """Return the split as snapshots have it, with the content hash of each arm."""
        return {
            "run": self.run,
            "step": self.step,
            "salt": self.salt,
            "baseline": {"arm": self.baseline, "hash": hashes[self.baseline]},
            "challengers": [
                {"arm": arm.name, "weight": arm.weight, "hash": hashes[arm.name]} for arm in self.challengers
            ],
            "stopped": sorted(self.stopped),
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> tuple["Split", dict[str, str]]:
        """Read what `as_dict` wrote: the split, and the content hash of each arm. Raises KeyError, TypeError or
        ValueError."""
        baseline = document["baseline"]
        arms = [(Arm(str(row["arm"]), int(row["weight"])), str(row["hash"])) for row in document["challengers"]]
        split = cls(
            int(document["run"]),
            int(document["step"]),
            str(document["salt"]),
            str(baseline["arm"]),
            tuple(arm for arm, _ in arms),
            frozenset(map(str, document["stopped"])),
        )
        # Weights that nobody could assign by are refused here, and not at the first subject.
        split.arm_of("")
        return split, {split.baseline: str(baseline["hash"]), **{arm.name: pinned for arm, pinned in arms}}
