"""Assignment of cases to the splits of a dataset. Pure: usable without Django.

Cases of one group (a thread, a customer; without a group, cases of the same input) are always in the same split. The
groups of a label are put in an order that only their hash and the seed decide, and assigned so that the label's splits
come as near to the split ratios as its cases allow; assigned cases stay where they are when cases are added later. So
no case changes its split, and every label is in every split as soon as it has enough cases.

train       cases that a model is tuned on, and that few-shot examples may come from
validation  cases that a tuning run is validated on while it goes on
test        cases that versions are compared on; nothing of them may be in the others
general     tasks beside the dataset's own, held out to see what a tuned model forgets
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from core.errors import Fault, Problem
from evaluations.datasets.cases import SPLITS

SplitRatios = Mapping[str, int]
# Percent. `general` is filled by cases that say so.
DEFAULT_SPLIT_RATIOS: SplitRatios = {"train": 70, "validation": 15, "test": 15, "general": 0}
DEFAULT_SEED = 1
MAX_SEED = 2**31 - 1
# A label with fewer cases is assigned together with the other rare ones: alone it would be in one split only.
MIN_STRATUM_SIZE = 8
MAX_STRATA = 1_000
# Below this size a fixed test split is too small to compare on; folds use every case (the seed document: "Use
# cross-validation for small datasets").
SMALL_DATASET_SIZE = 200
MAX_FOLDS = 20


@dataclass(frozen=True)
class Group:
    """Cases that stay together: their hash, their label and their number."""

    hash: int
    label: str
    size: int


def checked_split_ratios(split_ratios: Mapping[str, object]) -> dict[str, int]:
    """Check whole percentages of all four splits that add up to 100, or raise `dataset.invalid_split_ratios`."""
    faults = [
        Fault(f"/split_ratios/{name}", "unknown", "Is not a split.") for name in split_ratios.keys() - set(SPLITS)
    ]
    whole: dict[str, int] = {}
    for name in SPLITS:
        share = split_ratios.get(name, 0)
        if isinstance(share, bool) or not isinstance(share, int) or not 0 <= share <= 100:
            faults.append(Fault(f"/split_ratios/{name}", "range", "Must be a whole percentage."))
        else:
            whole[name] = share
    if not faults and sum(whole.values()) != 100:
        faults.append(Fault("/split_ratios", "sum", f"The split ratios add up to {sum(whole.values())} %, not 100."))
    if faults:
        raise Problem("dataset.invalid_split_ratios", faults[0].message, faults=faults)
    return whole


def order_key(seed: int, group: int) -> str:
    """Return the sort key of a group: `sha256("<seed>:<hash of the group>")` in hex. PostgreSQL computes the same."""
    return hashlib.sha256(f"{seed}:{group}".encode()).hexdigest()


@dataclass(frozen=True)
class SplitPlan:
    """The stratum of each label, and where each split ends when a stratum's groups are put in a row: a group goes to
    the first split whose end is beyond the group's middle."""

    stratum_of: Mapping[str, str]
    ends: Mapping[str, Sequence[float]]


def plan_splits(
    added: Mapping[str, int], existing: Mapping[str, Mapping[str, int]], split_ratios: SplitRatios
) -> SplitPlan:
    """Plan the assignment of added cases, counted by label; `existing` counts assigned cases by label and split.

    Each split gets what it lacks of its ratio, counting the existing cases. Where the splits lack more than is added,
    each gets the same part of what it lacks.
    """
    sizes = Counter(added)
    for label, counts in existing.items():
        sizes[label] += sum(counts.values())
    are_many = len(sizes) > MAX_STRATA
    stratum_of = {label: "" if are_many or size < MIN_STRATUM_SIZE else label for label, size in sizes.items()}
    new: Counter[str] = Counter()
    old: dict[str, Counter[str]] = defaultdict(Counter)
    for label, stratum in stratum_of.items():
        new[stratum] += added.get(label, 0)
        old[stratum].update(existing.get(label, {}))
    return SplitPlan(stratum_of, {stratum: _ends(split_ratios, old[stratum], count) for stratum, count in new.items()})


def _ends(split_ratios: SplitRatios, existing: Mapping[str, int], added: int) -> list[float]:
    total = added + sum(existing.values())
    lacking = [max(0.0, split_ratios[name] / 100 * total - existing.get(name, 0)) for name in SPLITS]
    scale = added / sum(lacking) if sum(lacking) else 0.0
    return list(accumulate(lack * scale for lack in lacking))


def assign_splits(
    groups: Iterable[Group], seed: int, split_ratios: SplitRatios, existing: Mapping[str, Mapping[str, int]]
) -> dict[int, str]:
    """Assign each new group to a split. The database assigns many of them by the same plan
    (evaluations.datasets.ingest); this is the reference, and a test compares the two."""
    new_groups = list(groups)
    added: Counter[str] = Counter()
    for group in new_groups:
        added[group.label] += group.size
    planned = plan_splits(added, existing, split_ratios)
    before: Counter[str] = Counter()
    split_of: dict[int, str] = {}
    for group in sorted(new_groups, key=lambda group: order_key(seed, group.hash)):
        stratum = planned.stratum_of[group.label]
        middle = before[stratum] + group.size / 2
        limits = zip(SPLITS, planned.ends[stratum], strict=True)
        split_of[group.hash] = next((name for name, end in limits if middle < end), SPLITS[0])
        before[stratum] += group.size
    return split_of


def assign_folds(groups: Iterable[Group], count: int, seed: int) -> dict[int, int]:
    """Assign each group to a fold (0 to count - 1): each label's groups in their order, each to the smallest fold.

    Every case is tested once, by a model or prompt that saw only the other folds.
    """
    if not 2 <= count <= MAX_FOLDS:
        fault = Fault("/k", "range", f"Must be 2 to {MAX_FOLDS} folds.")
        raise Problem("request.invalid", fault.message, faults=[fault])
    total = [0] * count
    own: dict[str, list[int]] = defaultdict(lambda: [0] * count)
    fold_of: dict[int, int] = {}
    for group in sorted(groups, key=lambda group: (group.label, order_key(seed, group.hash))):
        fold = min(range(count), key=lambda index: (own[group.label][index], total[index], index))
        fold_of[group.hash] = fold
        own[group.label][fold] += group.size
        total[fold] += group.size
    return fold_of
