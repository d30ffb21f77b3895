"""Looking for test cases that something else shows to a model, and writing down what is found.

Sides are compared two by two: train with validation and test, validation with test, every one with general; and the
newest version of each example set in use with test. In that order of cost: the same input, runs of words, letters,
meaning. Memory is bounded: cases stream, and what is kept of each is some hundred bytes.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from django.db import connection

from core.errors import Problem
from evaluations.data_quality.containment import HeldOut
from evaluations.data_quality.near_duplicates import Signatures, confirmed
from evaluations.datasets.cases import compared, input_text
from evaluations.models import Case, DatasetVersion, Finding, FindingKind, Report
from infra.bulk_copy import copy_rows
from registry.examples import embedders, example_sets
from registry.models import ExampleSetVersion

logger = logging.getLogger(__name__)

CHUNK = 5_000
LETTERS_A_CHUNK = 1_500_000
# Of a longer text the beginning is compared: it is what two long texts share, if they share anything.
LONGEST_TEXT = 50_000
# Of each kind so many pairs are kept to be looked at; all are counted.
KEPT = 1_000
# Held-out cases whose runs are in memory at a time.
HELD_AT_ONCE = 200_000
# Embedding takes 10 to 50 ms a text: above this many texts it is left out, and the report says so.
MOST_EMBEDDED = 2_000
MEANING = 0.95
# Sides that must not be seen, and what must not show them.
HELD = {"test": ("train", "validation", "general"), "validation": ("train", "general"), "general": ("train",)}
SIDES = {name: index for index, name in enumerate(("train", "validation", "test", "general"))}
FIELDS = ("report", "kind", "held", "other", "example_set", "position", "score", "is_leak")
# A leak is a test case that something else shows: training data, or examples in a prompt.
SAME_INPUT = """
WITH there AS ({there}), repeated AS (
    SELECT input_hash FROM there GROUP BY input_hash HAVING count(DISTINCT split) > 1
)
SELECT there.input_hash, there.id, there.split FROM there JOIN repeated USING (input_hash) ORDER BY 1, 2
"""
CONTRADICTIONS = """
WITH there AS ({there}), torn AS (
    SELECT input_hash FROM there WHERE expected IS NOT NULL GROUP BY input_hash HAVING count(DISTINCT expected) > 1
)
SELECT there.input_hash, there.id, there.split, md5(there.expected::text)
FROM there JOIN torn USING (input_hash) WHERE there.expected IS NOT NULL ORDER BY 1, 2
"""


class Search:
    """One look at one version. `tell` hears what it is doing."""

    def __init__(self, report: Report, tell: Callable[[str], None]) -> None:
        self._report = report
        self._version = report.version
        self._tell = tell
        self.counts: Counter[str] = Counter()
        self.leaked: set[int] = set()
        self._kept: list[tuple[Any, ...]] = []
        self._seen: set[tuple[int, int | None, int | None]] = set()
        self.skipped: list[str] = []

    def run(self) -> dict[str, Any]:
        """The report's result; `keep` then writes the pairs."""
        sets = _sets_in_use(self._version)
        self._tell("Comparing inputs")
        self._same_inputs()
        self._contradictions()
        # Nearly the same comes first: of two texts of one length neither contains the other.
        self._tell("Comparing letters")
        self._nearly_same(sets)
        self._tell("Comparing runs of words")
        self._contained(sets)
        self._tell("Comparing meanings")
        self._same_meaning(sets)
        return {
            "counts": {kind: self.counts[kind] for kind in FindingKind.values},
            "leaked": len(self.leaked),
            "leaked_cases": sorted(self.leaked)[:KEPT],
            "sets": [f"{one.example_set.name}@{one.number}" for one in sets],
            "skipped": self.skipped,
            "is_clean": not self.leaked,
        }

    def keep(self) -> None:
        """Write what was found into the table of findings."""
        copy_rows(Finding, FIELDS, self._kept)

    def _same_inputs(self) -> None:
        for group in _grouped(SAME_INPUT, self._version):
            for held, split in ((row[1], row[2]) for row in group if row[2] in HELD):
                shown = next((row[1] for row in group if row[2] in HELD[split]), None)
                if shown is not None:
                    self._found(FindingKind.EXACT, held, split, other=shown, score=1.0)

    def _contradictions(self) -> None:
        for group in _grouped(CONTRADICTIONS, self._version):
            first = group[0]
            for row in group[1:]:
                if row[3] != first[3]:
                    self._found(FindingKind.CONTRADICTION, row[1], "", other=first[1], score=None)

    def _contained(self, sets: Sequence[ExampleSetVersion]) -> None:
        for split, others in HELD.items():
            held = _chunks(self._version, [split])
            while batch := list(islice(held, HELD_AT_ONCE // CHUNK)):
                index = HeldOut()
                for keys, texts in batch:
                    index.add(keys, texts)
                for keys, texts in _chunks(self._version, others):
                    self._tell(f"Comparing runs of words with {split}")
                    for pair in index.against(keys, texts):
                        self._found(FindingKind.CONTAINED, pair.held, split, other=pair.other, score=pair.share)
                for number, one in enumerate(sets if split == "test" else ()):
                    for keys, texts in _shots(one, number):
                        for pair in index.against(keys, texts):
                            self._found_shot(FindingKind.CONTAINED, pair.held, sets, pair.other, pair.share)

    def _nearly_same(self, sets: Sequence[ExampleSetVersion]) -> None:
        signatures = Signatures()
        for split, side in SIDES.items():
            for keys, texts in _chunks(self._version, [split]):
                self._tell(f"Comparing letters of {split}")
                signatures.add(keys, side, texts)
        for number, one in enumerate(sets):
            for keys, texts in _shots(one, number):
                signatures.add(keys, len(SIDES), texts)
        candidates = list(signatures.candidates())
        for start in range(0, len(candidates), CHUNK):
            part = candidates[start : start + CHUNK]
            split_of = _splits(key for pair in part for key in pair if key > 0)
            wanted = (pair for pair in part if _is_wanted(pair, split_of))
            for pair in confirmed(wanted, lambda keys: _texts(keys, sets)):
                self._pair(FindingKind.NEAR, pair.first, pair.second, pair.similarity, split_of, sets)

    def _same_meaning(self, sets: Sequence[ExampleSetVersion]) -> None:
        """Compare what the texts mean. Those that are the same in words were found before, so each is embedded once."""
        embedder = embedders.default()
        if embedders.is_lexical(embedder):
            self.skipped.append("Meaning was not compared: no embedder is installed.")
            return
        held = _by_text(_chunks(self._version, ["test"]))
        shown = _by_text(_chunks(self._version, ["train", "validation"]), len(held))
        for number, one in enumerate(sets):
            shown |= _by_text(_shots(one, number), len(held) + len(shown))
        if len(held) + len(shown) > MOST_EMBEDDED:
            self.skipped.append(f"Meaning was not compared: there are more than {MOST_EMBEDDED:,} different texts.")
            return
        if not held or not shown:
            return
        try:
            embed = embedders.named(embedder).embed
            rows = embed(list(held))
            self._tell("Comparing meanings")
            near = rows @ embed(list(shown)).T
        except Problem as problem:
            self.skipped.append(f"Meaning was not compared: {problem.detail}")
            return
        held_keys, shown_keys = list(held.values()), list(shown.values())
        for row, column in np.argwhere(near >= MEANING).tolist():
            key, other = held_keys[row], shown_keys[column]
            self._pair(FindingKind.MEANING, key, other, float(near[row, column]), {key: "test"}, sets, is_held=True)

    def _pair(
        self,
        kind: FindingKind,
        first: int,
        second: int,
        score: float,
        split_of: dict[int, str],
        sets: Sequence[ExampleSetVersion],
        *,
        is_held: bool = False,
    ) -> None:
        """A pair of which it is not known yet which of the two is held out."""
        if min(first, second) < 0:
            self._found_shot(kind, max(first, second), sets, min(first, second), score)
        elif is_held or split_of[second] in HELD.get(split_of[first], ()):
            self._found(kind, first, split_of[first], other=second, score=score)
        else:
            self._found(kind, second, split_of[second], other=first, score=score)

    def _found_shot(
        self, kind: FindingKind, held: int, sets: Sequence[ExampleSetVersion], key: int, score: float
    ) -> None:
        number, position = divmod(-key - 1, LARGEST_SET)
        self._found(kind, held, "test", example_set=sets[number].pk, position=position, score=score)

    def _found(
        self,
        kind: FindingKind,
        held: int,
        split: str,
        *,
        other: int | None = None,
        example_set: int | None = None,
        position: int | None = None,
        score: float | None,
    ) -> None:
        """Count a pair once, by the first kind that finds it, and keep it while there are not many."""
        pair = (held, other if other is not None else -(example_set or 0), position)
        if kind != FindingKind.CONTRADICTION and pair in self._seen:
            return
        self._seen.add(pair)
        self.counts[kind] += 1
        is_leak = split == "test"
        if is_leak:
            self.leaked.add(held)
        if self.counts[kind] <= KEPT:
            self._kept.append((self._report.pk, kind, held, other, example_set, position, score, is_leak))


def near_to(version: DatasetVersion, documents: Sequence[Any]) -> dict[int, list[dict[str, Any]]]:
    """Cases of a version that are the same as new ones, contain them or are nearly the same, by the new one's index."""
    keys = [-1 - index for index in range(len(documents))]
    texts = [compared(input_text(document["variables"])) for document in documents]
    text_of = dict(zip(keys, texts, strict=True))
    held, signatures = HeldOut(), Signatures()
    if not keys:
        return {}
    held.add(keys, texts)
    signatures.add(keys, 1, texts)
    found: dict[int, dict[int, dict[str, Any]]] = {}

    def note(kind: FindingKind, key: int, case: int, score: float) -> None:
        found.setdefault(-1 - key, {}).setdefault(case, {"kind": kind.value, "case": case, "score": round(score, 3)})

    contained = []
    for split in SIDES:
        for others, compared_texts in _chunks(version, [split]):
            contained += list(held.against(others, compared_texts))
            signatures.add(others, 0, compared_texts)
    for near in confirmed(signatures.candidates(), lambda wanted: _texts_beside(wanted, text_of)):
        kind = FindingKind.EXACT if near.similarity == 1 else FindingKind.NEAR
        note(kind, min(near.first, near.second), max(near.first, near.second), near.similarity)
    for pair in contained:
        note(FindingKind.CONTAINED, pair.held, pair.other, pair.share)
    split_of = _splits(case for own in found.values() for case in own)
    return {
        index: [
            {**one, "split": split_of[one["case"]]} for one in sorted(own.values(), key=lambda one: -one["score"])[:5]
        ]
        for index, own in found.items()
    }


def _texts_beside(keys: Sequence[int], new: dict[int, str]) -> dict[int, str]:
    return {key: new[key] for key in keys if key < 0} | _texts([key for key in keys if key > 0], ())


# Examples of sets stand beside cases under keys of their own, below zero: -1 - position - number of the set * this.
LARGEST_SET = 1_000_000


def _sets_in_use(version: DatasetVersion) -> list[ExampleSetVersion]:
    return list(example_sets.shown_versions(version.dataset.project).select_related("example_set").order_by("pk"))


def _chunks(version: DatasetVersion, splits: Iterable[str]) -> Iterator[tuple[list[int], list[str]]]:
    """Keys and compared texts of the cases on some sides, so many at a time that memory is bounded."""
    cases = Case.objects.of(version).filter(split__in=list(splits)).order_by("id")
    rows = cases.values_list("pk", "variables").iterator(chunk_size=CHUNK // 5)
    return _bounded((key, input_text(variables)) for key, variables in rows)


def _bounded(texts: Iterable[tuple[int, str]]) -> Iterator[tuple[list[int], list[str]]]:
    """Chunks of at most CHUNK texts and LETTERS_A_CHUNK letters; of a very long text the beginning is compared."""
    keys: list[int] = []
    chunk: list[str] = []
    letters = 0
    for key, text in texts:
        keys.append(key)
        chunk.append(compared(text[:LONGEST_TEXT]))
        letters += len(chunk[-1])
        if len(keys) == CHUNK or letters >= LETTERS_A_CHUNK:
            yield keys, chunk
            keys, chunk, letters = [], [], 0
    if keys:
        yield keys, chunk


def _by_text(chunks: Iterable[tuple[list[int], list[str]]], before: int = 0) -> dict[str, int]:
    """The first key of each text, up to what is embedded at all."""
    found: dict[str, int] = {}
    for keys, texts in chunks:
        for key, text in zip(keys, texts, strict=True):
            found.setdefault(text, key)
        if before + len(found) > MOST_EMBEDDED:
            break
    return found


def _shots(version: ExampleSetVersion, number: int) -> Iterator[tuple[list[int], list[str]]]:
    """As `_chunks`, for the inputs of an example set."""
    rows = example_sets.places(version).values_list("position", "example__input").iterator(chunk_size=CHUNK // 5)
    return _bounded((-1 - position - number * LARGEST_SET, text) for position, text in rows)


def _texts(keys: Sequence[int], sets: Sequence[ExampleSetVersion]) -> dict[int, str]:
    """Compared texts by key."""
    cases = Case.objects.filter(pk__in=[key for key in keys if key > 0]).values_list("pk", "variables")
    found = {key: compared(input_text(variables)[:LONGEST_TEXT]) for key, variables in cases}
    of_set: dict[int, list[int]] = {}
    for key in keys:
        if key < 0:
            number, position = divmod(-key - 1, LARGEST_SET)
            of_set.setdefault(number, []).append(position)
    for number, positions in of_set.items():
        rows = example_sets.places(sets[number]).filter(position__in=positions)
        for position, text in rows.values_list("position", "example__input"):
            found[-1 - position - number * LARGEST_SET] = compared(text[:LONGEST_TEXT])
    return found


def _splits(keys: Iterable[int]) -> dict[int, str]:
    return dict(Case.objects.filter(pk__in=set(keys)).values_list("pk", "split"))


def _is_wanted(pair: tuple[int, int], split_of: dict[int, str]) -> bool:
    """Whether one of a pair is held out and the other may show it; an example shows only test cases."""
    first, second = pair
    if min(pair) < 0:
        return split_of.get(max(pair)) == "test"
    return split_of[second] in HELD.get(split_of[first], ()) or split_of[first] in HELD.get(split_of[second], ())


def _grouped(statement: str, version: DatasetVersion) -> Iterator[list[tuple[Any, ...]]]:
    """Rows of the cases of a version that have the same first column, group by group."""
    there, values = Case.objects.of(version).values("id", "split", "input_hash", "expected").query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(statement.format(there=there), values)
        group: list[tuple[Any, ...]] = []
        for row in cursor:
            if group and row[0] != group[0][0]:
                yield group
                group = []
            group.append(row)
        if group:
            yield group
