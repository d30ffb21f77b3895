"""On which side of a dataset a case stands. Pure: usable without Django.

Cases of one group (a thread, a customer; without a group, cases of the same input) are always on the same side. The
groups of a label are put in an order that only their hash and the seed decide, and dealt out so that the label's sides
come as near to the shares as its cases allow; what was dealt stays where it is when cases are added later. So no case
changes side, and every label is on every side as soon as it has enough cases.

train       what a model is tuned on, and what few-shot examples may come from
validation  what a tuning run looks at while it goes on
test        what versions are compared on; nothing of it may be in the others
general     tasks beside the dataset's own, held out to see what a tuned model forgets
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from core.errors import Fault, Problem
from evaluations.datasets.cases import SPLITS

Shares = Mapping[str, int]
# Percent. `general` is filled by cases that say so.
DEFAULT_SHARES: Shares = {"train": 70, "validation": 15, "test": 15, "general": 0}
DEFAULT_SEED = 1
LARGEST_SEED = 2**31 - 1
# A label with fewer cases is dealt together with the other rare ones: alone it would be on one side only.
SMALLEST_STRATUM = 8
MOST_STRATA = 1_000
# Below this a fixed test split is too small to compare on; folds use every case (the seed document: "Use
# cross-validation for small datasets").
SMALL = 200
MOST_FOLDS = 20


@dataclass(frozen=True)
class Group:
    """Cases that stay together: their hash, what they are cases of, and how many there are."""

    hash: int
    label: str
    size: int


def checked_shares(shares: Mapping[str, object]) -> dict[str, int]:
    """Whole percentages of all four sides that make 100, or `dataset.invalid_shares`."""
    faults = [Fault(f"/shares/{name}", "unknown", "Is no split.") for name in shares.keys() - set(SPLITS)]
    whole: dict[str, int] = {}
    for name in SPLITS:
        share = shares.get(name, 0)
        if isinstance(share, bool) or not isinstance(share, int) or not 0 <= share <= 100:
            faults.append(Fault(f"/shares/{name}", "range", "Must be a whole percentage."))
        else:
            whole[name] = share
    if not faults and sum(whole.values()) != 100:
        faults.append(Fault("/shares", "sum", f"The shares make {sum(whole.values())} %, not 100."))
    if faults:
        raise Problem("dataset.invalid_shares", faults[0].message, faults=faults)
    return whole


def order_key(seed: int, group: int) -> str:
    """What a group is sorted by: `sha256("<seed>:<hash of the group>")` in hex. PostgreSQL computes the same."""
    return hashlib.sha256(f"{seed}:{group}".encode()).hexdigest()


@dataclass(frozen=True)
class Plan:
    """The stratum of each label, and where each side ends when a stratum's groups are dealt in a row: a group goes to
    the first side whose end is beyond the group's middle."""

    stratum_of: Mapping[str, str]
    ends: Mapping[str, Sequence[float]]


def plan(added: Mapping[str, int], there: Mapping[str, Mapping[str, int]], shares: Shares) -> Plan:
    """How to deal the cases that are added, counted by label; `there` counts those that have a side, by label and side.

    Each side is given what it lacks of its share, counting the cases that are there already. Where the sides lack more
    than there is to deal, each gets the same part of what it lacks.
    """
    sizes = Counter(added)
    for label, counts in there.items():
        sizes[label] += sum(counts.values())
    are_many = len(sizes) > MOST_STRATA
    stratum_of = {label: "" if are_many or size < SMALLEST_STRATUM else label for label, size in sizes.items()}
    new: Counter[str] = Counter()
    old: dict[str, Counter[str]] = defaultdict(Counter)
    for label, stratum in stratum_of.items():
        new[stratum] += added.get(label, 0)
        old[stratum].update(there.get(label, {}))
    return Plan(stratum_of, {stratum: _ends(shares, old[stratum], count) for stratum, count in new.items()})


def _ends(shares: Shares, there: Mapping[str, int], added: int) -> list[float]:
    total = added + sum(there.values())
    lacking = [max(0.0, shares[name] / 100 * total - there.get(name, 0)) for name in SPLITS]
    scale = added / sum(lacking) if sum(lacking) else 0.0
    return list(accumulate(lack * scale for lack in lacking))


def deal(groups: Iterable[Group], seed: int, shares: Shares, there: Mapping[str, Mapping[str, int]]) -> dict[int, str]:
    """The side of each new group. The database deals many of them by the same plan (evaluations.datasets.ingest); this is the
    rule as it is meant, and a test holds the two together."""
    found = list(groups)
    added: Counter[str] = Counter()
    for group in found:
        added[group.label] += group.size
    planned = plan(added, there, shares)
    before: Counter[str] = Counter()
    sides: dict[int, str] = {}
    for group in sorted(found, key=lambda one: order_key(seed, one.hash)):
        stratum = planned.stratum_of[group.label]
        middle = before[stratum] + group.size / 2
        limits = zip(SPLITS, planned.ends[stratum], strict=True)
        sides[group.hash] = next((name for name, end in limits if middle < end), SPLITS[0])
        before[stratum] += group.size
    return sides


def folds(groups: Iterable[Group], count: int, seed: int) -> dict[int, int]:
    """The fold (0 to count - 1) of each group: each label's groups in their order, each to the fold that has least.

    Every case is tested once, by a model or prompt that saw only the other folds.
    """
    if not 2 <= count <= MOST_FOLDS:
        fault = Fault("/k", "range", f"Must be 2 to {MOST_FOLDS} folds.")
        raise Problem("request.invalid", fault.message, faults=[fault])
    total = [0] * count
    own: dict[str, list[int]] = defaultdict(lambda: [0] * count)
    found: dict[int, int] = {}
    for group in sorted(groups, key=lambda one: (one.label, order_key(seed, one.hash))):
        fold = min(range(count), key=lambda index: (own[group.label][index], total[index], index))
        found[group.hash] = fold
        own[group.label][fold] += group.size
        total[fold] += group.size
    return found
