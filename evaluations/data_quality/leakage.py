"""Search for leakage: test cases that training data or examples show to a model.

Splits are compared in pairs: train with validation and test, validation with test, every one with general; and the
newest version of each example set in use with test. In the order of cost: the same input, letters, runs of words,
meaning. Memory is bounded: cases stream, and some hundred bytes of each are kept.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, combinations, islice
from typing import Any

import numpy as np
from django.db import connection

from core.errors import Problem
from core.image_data import UPLOADED, digest_of, uploaded_in
from evaluations.data_quality.containment import HeldOut
from evaluations.data_quality.near_duplicates import Signatures, confirm_pairs
from evaluations.datasets.cases import comparison_form, input_text
from evaluations.models import Case, CaseImage, DatasetVersion, Finding, FindingKind, Report
from infra.bulk_copy import copy_rows
from registry.examples import embedders, example_sets, text_vectors
from registry.models import ExampleSetVersion

logger = logging.getLogger(__name__)

CHUNK = 5_000
LETTERS_A_CHUNK = 1_500_000
# Of a longer text only the beginning is compared: two long texts share that, if they share anything.
MAX_TEXT_LENGTH = 50_000
# Pairs of each kind that are stored for users to read; all are counted.
MAX_PAIRS_KEPT = 1_000
# Held-out cases whose runs are in memory at a time.
MAX_HELD_OUT_AT_ONCE = 200_000
# Embedding takes 10 to 50 ms a text: with more texts than this it is skipped, and the report says so.
MAX_EMBEDDED = 2_000
MIN_MEANING_SIMILARITY = 0.95
# Of cases with the same images every pair is compared.
MAX_OF_SAME_IMAGES = 500
# Held-out splits, and the splits that must not contain their cases.
EXPOSING_SPLITS = {
    "test": ("train", "validation", "general"),
    "validation": ("train", "general"),
    "general": ("train",),
}
SPLIT_INDEXES = {name: index for index, name in enumerate(("train", "validation", "test", "general"))}
FIELDS = ("report", "kind", "held_out", "other", "example_set", "position", "score", "is_leak")
# A leak is a test case that also occurs in training data or in a prompt's examples.
SAME_INPUT = """
WITH existing AS ({existing}), repeated AS (
    SELECT input_hash FROM existing GROUP BY input_hash HAVING count(DISTINCT split) > 1
)
SELECT existing.input_hash, existing.id, existing.split FROM existing JOIN repeated USING (input_hash) ORDER BY 1, 2
"""
CONTRADICTIONS = """
WITH existing AS ({existing}), torn AS (
    SELECT input_hash FROM existing WHERE expected IS NOT NULL GROUP BY input_hash HAVING count(DISTINCT expected) > 1
)
SELECT existing.input_hash, existing.id, existing.split, md5(existing.expected::text)
FROM existing JOIN torn USING (input_hash) WHERE existing.expected IS NOT NULL ORDER BY 1, 2
"""


class LeakageSearch:
    """One search of one version. `report_progress` gets a phrase for each step."""

    def __init__(self, report: Report, report_progress: Callable[[str], None]) -> None:
        self._report = report
        self._version = report.version
        self._report_progress = report_progress
        self.counts: Counter[str] = Counter()
        self.leaked: set[int] = set()
        self._rows: list[tuple[Any, ...]] = []
        self._seen: set[tuple[int, int | None, int | None]] = set()
        self.skipped: list[str] = []

    def run(self) -> dict[str, Any]:
        """Return the report's result; `save_findings` then writes the pairs."""
        sets = _sets_in_use(self._version)
        self._report_progress("Comparing inputs")
        self._same_inputs()
        self._contradictions()
        # Near duplicates come first: of two texts of one length neither contains the other.
        self._report_progress("Comparing letters")
        self._nearly_same(sets)
        self._report_progress("Comparing runs of words")
        self._contained(sets)
        self._report_progress("Comparing meanings")
        self._same_meaning(sets)
        self._report_progress("Comparing cases with the same images")
        self._nearly_same_with_images()
        return {
            "counts": {kind: self.counts[kind] for kind in FindingKind.values},
            "leaked": len(self.leaked),
            "leaked_cases": sorted(self.leaked)[:MAX_PAIRS_KEPT],
            "sets": [f"{set_version.example_set.name}@{set_version.number}" for set_version in sets],
            "skipped": self.skipped,
            "is_clean": not self.leaked,
        }

    def save_findings(self) -> None:
        """Write the pairs to the table of findings."""
        copy_rows(Finding, FIELDS, self._rows)

    def _same_inputs(self) -> None:
        for group in _grouped(SAME_INPUT, self._version):
            for case, split in ((row[1], row[2]) for row in group if row[2] in EXPOSING_SPLITS):
                exposing = next((row[1] for row in group if row[2] in EXPOSING_SPLITS[split]), None)
                if exposing is not None:
                    self._record(FindingKind.EXACT, case, split, other=exposing, score=1.0)

    def _contradictions(self) -> None:
        for group in _grouped(CONTRADICTIONS, self._version):
            first = group[0]
            for row in group[1:]:
                if row[3] != first[3]:
                    self._record(FindingKind.CONTRADICTION, row[1], "", other=first[1], score=None)

    def _contained(self, sets: Sequence[ExampleSetVersion]) -> None:
        for split, others in EXPOSING_SPLITS.items():
            chunks = _chunks(self._version, [split])
            while batch := list(islice(chunks, MAX_HELD_OUT_AT_ONCE // CHUNK)):
                index = HeldOut()
                for keys, texts in batch:
                    index.add(keys, texts)
                for keys, texts in _chunks(self._version, others):
                    self._report_progress(f"Comparing runs of words with {split}")
                    for pair in index.contained_in(keys, texts):
                        self._record(FindingKind.CONTAINED, pair.held_out, split, other=pair.other, score=pair.share)
                for number, set_version in enumerate(sets if split == "test" else ()):
                    for keys, texts in _example_chunks(set_version, number):
                        for pair in index.contained_in(keys, texts):
                            self._record_example(FindingKind.CONTAINED, pair.held_out, sets, pair.other, pair.share)

    def _nearly_same(self, sets: Sequence[ExampleSetVersion]) -> None:
        signatures = Signatures()
        for split, split_index in SPLIT_INDEXES.items():
            for keys, texts in _chunks(self._version, [split]):
                self._report_progress(f"Comparing letters of {split}")
                signatures.add(keys, split_index, texts)
        for number, set_version in enumerate(sets):
            for keys, texts in _example_chunks(set_version, number):
                signatures.add(keys, len(SPLIT_INDEXES), texts)
        candidates = list(signatures.candidates())
        for start in range(0, len(candidates), CHUNK):
            part = candidates[start : start + CHUNK]
            split_of = _splits(key for pair in part for key in pair if key > 0)
            exposures = (pair for pair in part if _is_exposure(pair, split_of))
            for pair in confirm_pairs(exposures, lambda keys: _texts(keys, sets)):
                self._pair(FindingKind.NEAR, pair.first, pair.second, pair.similarity, split_of, sets)

    def _nearly_same_with_images(self) -> None:
        """Compare the texts of cases that have the same images. With others a text is another question, and to compare
        by meaning or by runs of words would find the questions that are asked of every image."""
        pairs: list[tuple[int, int]] = []
        for keys in _groups_by_images(self._version):
            if len(keys) > MAX_OF_SAME_IMAGES:
                self.skipped.append(
                    f"More than {MAX_OF_SAME_IMAGES:,} cases have the same images: not all are compared."
                )
            pairs += combinations(keys[:MAX_OF_SAME_IMAGES], 2)
        for start in range(0, len(pairs), CHUNK):
            part = pairs[start : start + CHUNK]
            split_of = _splits(key for pair in part for key in pair)
            exposures = (pair for pair in part if _is_exposure(pair, split_of))
            for pair in confirm_pairs(exposures, lambda keys: _texts(keys, ())):
                self._pair(FindingKind.NEAR, pair.first, pair.second, pair.similarity, split_of, ())

    def _same_meaning(self, sets: Sequence[ExampleSetVersion]) -> None:
        """Compare the texts by meaning. Equal texts were found before, so each is embedded once."""
        embedder = embedders.default_embedder()
        if embedders.is_lexical(embedder):
            self.skipped.append("Meaning was not compared: no embedder is installed.")
            return
        held_out = _by_text(_chunks(self._version, ["test"]))
        exposing = _by_text(_chunks(self._version, ["train", "validation"]), len(held_out))
        for number, set_version in enumerate(sets):
            exposing |= _by_text(_example_chunks(set_version, number), len(held_out) + len(exposing))
        if len(held_out) + len(exposing) > MAX_EMBEDDED:
            self.skipped.append(f"Meaning was not compared: there are more than {MAX_EMBEDDED:,} different texts.")
            return
        if not held_out or not exposing:
            return
        try:
            rows = text_vectors.embed(embedder, list(held_out))
            self._report_progress("Comparing meanings")
            near = rows @ text_vectors.embed(embedder, list(exposing)).T
        except Problem as problem:
            self.skipped.append(f"Meaning was not compared: {problem.detail}")
            return
        held_out_keys, exposing_keys = list(held_out.values()), list(exposing.values())
        for row, column in np.argwhere(near >= MIN_MEANING_SIMILARITY).tolist():
            key, other = held_out_keys[row], exposing_keys[column]
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
        """Record a pair, after finding out which of the two is held out."""
        if min(first, second) < 0:
            self._record_example(kind, max(first, second), sets, min(first, second), score)
        elif is_held or split_of[second] in EXPOSING_SPLITS.get(split_of[first], ()):
            self._record(kind, first, split_of[first], other=second, score=score)
        else:
            self._record(kind, second, split_of[second], other=first, score=score)

    def _record_example(
        self, kind: FindingKind, case: int, sets: Sequence[ExampleSetVersion], key: int, score: float
    ) -> None:
        number, position = divmod(-key - 1, MAX_SET_SIZE)
        self._record(kind, case, "test", example_set=sets[number].pk, position=position, score=score)

    def _record(
        self,
        kind: FindingKind,
        case: int,
        split: str,
        *,
        other: int | None = None,
        example_set: int | None = None,
        position: int | None = None,
        score: float | None,
    ) -> None:
        """Count a pair once, by the first kind that finds it, and store it up to the limit."""
        pair = (case, other if other is not None else -(example_set or 0), position)
        if kind != FindingKind.CONTRADICTION and pair in self._seen:
            return
        self._seen.add(pair)
        self.counts[kind] += 1
        is_leak = split == "test"
        if is_leak:
            self.leaked.add(case)
        if self.counts[kind] <= MAX_PAIRS_KEPT:
            self._rows.append((self._report.pk, kind, case, other, example_set, position, score, is_leak))


def find_similar_cases(version: DatasetVersion, documents: Sequence[Any]) -> dict[int, list[dict[str, Any]]]:
    """Find cases of a version that equal new ones, contain them or are nearly the same, by the new one's index."""
    text_of = {-1 - index: comparison_form(_text_of(document["variables"])) for index, document in enumerate(documents)}
    images_of = {-1 - index: _image_hashes(document["variables"]) for index, document in enumerate(documents)}
    keys = [key for key, images in images_of.items() if not images]
    texts = [text_of[key] for key in keys]
    held_out, signatures = HeldOut(), Signatures()
    if not documents:
        return {}
    held_out.add(keys, texts)
    signatures.add(keys, 1, texts)
    matches: dict[int, dict[int, dict[str, Any]]] = {}

    def note(kind: FindingKind, key: int, case: int, score: float) -> None:
        matches.setdefault(-1 - key, {}).setdefault(case, {"kind": kind.value, "case": case, "score": round(score, 3)})

    contained = []
    for split in SPLIT_INDEXES:
        for others, compared_texts in _chunks(version, [split]):
            contained += list(held_out.contained_in(others, compared_texts))
            signatures.add(others, 0, compared_texts)
    candidates = chain(signatures.candidates(), _pairs_with_images(version, images_of))
    for near in confirm_pairs(candidates, lambda keys: _texts_beside(keys, text_of)):
        kind = FindingKind.EXACT if near.similarity == 1 else FindingKind.NEAR
        note(kind, min(near.first, near.second), max(near.first, near.second), near.similarity)
    for pair in contained:
        note(FindingKind.CONTAINED, pair.held_out, pair.other, pair.share)
    split_of = _splits(case for own in matches.values() for case in own)
    return {
        index: [
            {**match, "split": split_of[match["case"]]}
            for match in sorted(own.values(), key=lambda match: -match["score"])[:5]
        ]
        for index, own in matches.items()
    }


def _pairs_with_images(version: DatasetVersion, images_of: Mapping[int, frozenset[str]]) -> Iterator[tuple[int, int]]:
    """Yield pairs of new cases and existing ones that have the same images."""
    new = {images: [key for key, of_key in images_of.items() if of_key == images] for images in images_of.values()}
    new.pop(frozenset(), None)
    if not new:
        return
    for case, images in _images_by_case(version).items():
        yield from ((key, case) for key in new.get(images, ()))


def _images_by_case(version: DatasetVersion) -> dict[int, frozenset[str]]:
    """Return the hashes of the images of each case that has any."""
    images: dict[int, set[str]] = {}
    rows = CaseImage.objects.filter(case__in=Case.objects.of(version)).values_list("case_id", "image__sha256")
    for case, sha256 in rows.iterator(chunk_size=CHUNK):
        images.setdefault(case, set()).add(sha256)
    return {case: frozenset(hashes) for case, hashes in images.items()}


def _groups_by_images(version: DatasetVersion) -> list[list[int]]:
    """Return the cases that have the same images, where they are several."""
    groups: dict[frozenset[str], list[int]] = {}
    for case, images in _images_by_case(version).items():
        groups.setdefault(images, []).append(case)
    return [sorted(cases) for cases in groups.values() if len(cases) > 1]


def _image_hashes(variables: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(digest_of(address) for address in uploaded_in(variables))


def _text_of(variables: Mapping[str, Any]) -> str:
    """Return a case's text without the addresses of images, which are no words."""
    return UPLOADED.sub("", input_text(variables))


def _texts_beside(keys: Sequence[int], new: dict[int, str]) -> dict[int, str]:
    return {key: new[key] for key in keys if key < 0} | _texts([key for key in keys if key > 0], ())


# Examples of sets have keys below zero, beside those of cases: -1 - position - number of the set * this.
MAX_SET_SIZE = 1_000_000


def _sets_in_use(version: DatasetVersion) -> list[ExampleSetVersion]:
    return list(example_sets.versions_in_use(version.dataset.project).select_related("example_set").order_by("pk"))


def _chunks(version: DatasetVersion, splits: Iterable[str]) -> Iterator[tuple[list[int], list[str]]]:
    """Yield keys and comparison forms of the cases of some splits, in chunks that bound the memory; those with images
    are compared among themselves."""
    cases = Case.objects.of(version).filter(split__in=list(splits), images=None).order_by("id")
    rows = cases.values_list("pk", "variables").iterator(chunk_size=CHUNK // 5)
    return _bounded((key, input_text(variables)) for key, variables in rows)


def _bounded(texts: Iterable[tuple[int, str]]) -> Iterator[tuple[list[int], list[str]]]:
    """Yield chunks of at most CHUNK texts and LETTERS_A_CHUNK letters, with only the beginning of very long texts."""
    keys: list[int] = []
    chunk: list[str] = []
    letters = 0
    for key, text in texts:
        keys.append(key)
        chunk.append(comparison_form(text[:MAX_TEXT_LENGTH]))
        letters += len(chunk[-1])
        if len(keys) == CHUNK or letters >= LETTERS_A_CHUNK:
            yield keys, chunk
            keys, chunk, letters = [], [], 0
    if keys:
        yield keys, chunk


def _by_text(chunks: Iterable[tuple[list[int], list[str]]], before: int = 0) -> dict[str, int]:
    """Map each text to its first key, up to the number that is embedded at all."""
    key_of_text: dict[str, int] = {}
    for keys, texts in chunks:
        for key, text in zip(keys, texts, strict=True):
            key_of_text.setdefault(text, key)
        if before + len(key_of_text) > MAX_EMBEDDED:
            break
    return key_of_text


def _example_chunks(version: ExampleSetVersion, number: int) -> Iterator[tuple[list[int], list[str]]]:
    """Do the same as `_chunks` for the inputs of an example set."""
    rows = (
        example_sets.version_places(version).values_list("position", "example__input").iterator(chunk_size=CHUNK // 5)
    )
    return _bounded((-1 - position - number * MAX_SET_SIZE, text) for position, text in rows)


def _texts(keys: Sequence[int], sets: Sequence[ExampleSetVersion]) -> dict[int, str]:
    """Map keys to comparison forms."""
    cases = Case.objects.filter(pk__in=[key for key in keys if key > 0]).values_list("pk", "variables")
    texts = {key: comparison_form(_text_of(variables)[:MAX_TEXT_LENGTH]) for key, variables in cases}
    of_set: dict[int, list[int]] = {}
    for key in keys:
        if key < 0:
            number, position = divmod(-key - 1, MAX_SET_SIZE)
            of_set.setdefault(number, []).append(position)
    for number, positions in of_set.items():
        rows = example_sets.version_places(sets[number]).filter(position__in=positions)
        for position, text in rows.values_list("position", "example__input"):
            texts[-1 - position - number * MAX_SET_SIZE] = comparison_form(text[:MAX_TEXT_LENGTH])
    return texts


def _splits(keys: Iterable[int]) -> dict[int, str]:
    return dict(Case.objects.filter(pk__in=set(keys)).values_list("pk", "split"))


def _is_exposure(pair: tuple[int, int], split_of: dict[int, str]) -> bool:
    """Return whether one of a pair is held out and the other exposes it; an example exposes only test cases."""
    first, second = pair
    if min(pair) < 0:
        return split_of.get(max(pair)) == "test"
    return split_of[second] in EXPOSING_SPLITS.get(split_of[first], ()) or split_of[first] in EXPOSING_SPLITS.get(
        split_of[second], ()
    )


def _grouped(statement: str, version: DatasetVersion) -> Iterator[list[tuple[Any, ...]]]:
    """Yield rows of a version's cases in groups with the same first column."""
    query, values = Case.objects.of(version).values("id", "split", "input_hash", "expected").query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(statement.format(existing=query), values)
        group: list[tuple[Any, ...]] = []
        for row in cursor:
            if group and row[0] != group[0][0]:
                yield group
                group = []
            group.append(row)
        if group:
            yield group
