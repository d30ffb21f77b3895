"""Building a training set: cases into lines, lines into files, and what is wrong with them."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from django.db.models import Q, QuerySet

from core.errors import Problem
from evaluations.curation import annotation
from evaluations.datasets import lifecycle as datasets
from evaluations.models import AnnotationRound, Case, Comparison, Result, Run, Split
from finetunes.models import TrainingSet
from finetunes.providers import jsonl
from finetunes.providers.jsonl import Line, Method
from finetunes.training_sets import advisories, validation
from finetunes.training_sets.validation import TRAIN, VALIDATION
from registry.content import tokens
from registry.prompts import includes, versions

BATCH = 500
PIECE = 1024 * 1024
MOST_EXAMPLES = 50_000
# The vocabularies by which lines are counted beside the usual one, each with a model that reads it.
COUNTED_BESIDE: Mapping[str, str] = {"cl100k_base": "gpt-3.5-turbo"}
# So many questions of the test side are looked for among those that are learned.
MOST_TESTED = 50_000


@dataclass(frozen=True)
class Built:
    """`counts` has the lines of each file, `lengths` their tokens: {"o200k_base": {"train": [...], ...}}."""

    files: Mapping[str, bytes]
    counts: Mapping[str, int]
    content_hash: str
    report: dict[str, Any]
    lengths: dict[str, dict[str, list[int]]]


def built(training_set: TrainingSet) -> Built:
    """The files of a set, the same each time; refuses where there is nothing to learn from."""
    method = Method(training_set.method)
    lines: dict[str, list[Line]] = {TRAIN: [], VALIDATION: []}
    skipped = 0
    sizes = training_set.dataset_version.sizes
    if not training_set.folds and max(sizes.get(split, 0) for split in lines) > MOST_EXAMPLES:
        raise Problem("training_set.too_large", f"A set is of at most {MOST_EXAMPLES:,} cases on a side.")
    for split in lines:
        rows = _of_cases(training_set, split) if method == Method.SUPERVISED else _of_pairs(training_set, split)
        for line in rows:
            if line is None:
                skipped += 1
            else:
                lines[split].append(line)
    if not lines[TRAIN]:
        raise Problem("training_set.nothing", "Nothing on the training side could be learned: no case has an answer.")
    files = {split: jsonl.joined(found) for split, found in lines.items() if found}
    tested = _test_questions(training_set)
    verdict = validation.validate(
        files,
        method,
        schema=training_set.prompt.content.get("response", {}).get("schema"),
        test_inputs=lambda asked: _said(asked) in tested,
    )
    report = {
        **verdict.as_dict(),
        "skipped": skipped,
        "has_general": bool(sizes.get("general")),
        "knowledge": None,
    }
    pairs = ((_said(jsonl.question(line)), jsonl.answer(line)) for line in lines[TRAIN])
    if method == Method.SUPERVISED and (found := advisories.knowledge(pairs)):
        report["knowledge"] = found.as_dict()
    # The verdict has counted by one vocabulary already; what it could not read has no length.
    lengths = {tokens.DEFAULT_VOCABULARY: verdict.lengths} | {
        vocabulary: {split: [validation.line_tokens(line, model).tokens for line in lines[split]] for split in lines}
        for vocabulary, model in COUNTED_BESIDE.items()
    }
    return Built(files, {split: len(found) for split, found in lines.items()}, _hash_of(files), report, lengths)


def cut(data: bytes) -> Iterator[bytes]:
    """A file in pieces that a row can hold."""
    return (data[start : start + PIECE] for start in range(0, len(data), PIECE))


def vocabulary_of(model: str) -> str:
    """The vocabulary whose counts stand for a model's."""
    return tokens.vocabulary_of(model) or tokens.DEFAULT_VOCABULARY


def is_exact(model: str) -> bool:
    """Whether that count is the model's own."""
    return tokens.vocabulary_of(model) is not None


def _hash_of(files: Mapping[str, bytes]) -> str:
    """Of which file has which bytes."""
    told = "".join(f"{name} {hashlib.sha256(files[name]).hexdigest()}\n" for name in sorted(files))
    return f"sha256:{hashlib.sha256(told.encode()).hexdigest()}"


def side(training_set: TrainingSet, split: str) -> QuerySet[Case]:
    """The cases of a side, as a set deals them: as its dataset does, or, of a fold, that fold for the test and all
    others to learn."""
    cases = Case.objects.of(training_set.dataset_version)
    if not training_set.folds or split == Split.GENERAL:
        return cases.filter(split=split)
    kept = datasets.in_folds(training_set.dataset_version, training_set.folds)[training_set.fold - 1]
    if split == Split.TEST:
        return cases.filter(pk__in=kept)
    return cases.exclude(split=Split.GENERAL).exclude(pk__in=kept) if split == Split.TRAIN else cases.none()


def _of_cases(training_set: TrainingSet, split: str) -> Iterator[Line | None]:
    """A line of each case, None where it has no answer to learn."""
    content = training_set.prompt.content
    schema, tools = content.get("response", {}).get("schema"), content.get("tools", ())
    cases = side(training_set, split).order_by("digest", "id")
    rows = cases.values_list("variables", "expected").iterator(chunk_size=BATCH)
    for batch in _batches(rows):
        answered = [(variables, expected) for variables, expected in batch if expected is not None]
        yield from [None] * (len(batch) - len(answered))
        for request, (_, expected) in zip(
            _requests(training_set, [variables for variables, _ in answered]), answered, strict=True
        ):
            yield jsonl.supervised(request["messages"], jsonl.answer_text(expected, schema), tools)


def _of_pairs(training_set: TrainingSet, split: str) -> Iterator[Line | None]:
    """A line of each pair of a better and a worse answer to one question; nothing of the test side."""
    tools = training_set.prompt.content.get("tools", ())
    for batch in _batches(_pairs(training_set, split)):
        wanted = [variables for variables, _, _ in batch]
        for request, (_, better, worse) in zip(_requests(training_set, wanted), batch, strict=True):
            yield jsonl.preference(request["messages"], better, worse, tools)


def _pairs(training_set: TrainingSet, split: str) -> Iterator[tuple[Mapping[str, Any], str, str]]:
    """(variables, better answer, worse answer), in the order of the cases' digests."""
    there = side(training_set, split)
    if "comparison" in training_set.pairs:
        compared = Comparison.objects.get(pk=training_set.pairs["comparison"])
        worse_of = _answers(compared.baseline, there)
        for result in _answers(compared.candidate, there).values():
            other = worse_of.get(result.case_id)
            if other is None or result.quality is None or other.quality is None or result.quality == other.quality:
                continue
            better, worse = (result, other) if result.quality > other.quality else (other, result)
            if better.output and worse.output and better.output != worse.output:
                yield result.case.variables, better.output, worse.output
        return
    schema = training_set.prompt.content.get("response", {}).get("schema")
    if "round" in training_set.pairs:
        yield from _overruled(training_set.pairs["round"], there, schema)
        return
    run = Run.objects.get(pk=training_set.pairs["run"])
    wrong = _answers(run, there, marks__is_right=False, case__expected__isnull=False)
    for result in wrong.values():
        right = jsonl.answer_text(result.case.expected, schema)
        if result.output and result.output != right:
            yield result.case.variables, right, result.output


def _overruled(round_key: int, there: QuerySet[Case], schema: Any) -> Iterator[tuple[Mapping[str, Any], str, str]]:
    """What a round settled on, against what the case expected before and what an annotator said who was overruled."""
    cases = {case.input_hash: case for case in there}
    items = annotation.answered(AnnotationRound.objects.get(pk=round_key))
    for item in sorted(items, key=lambda one: (one.case.digest, one.pk)):
        case = cases.get(item.case.input_hash)
        if case is None:
            continue
        better = jsonl.answer_text(annotation.settled(item), schema)
        said = [item.case.expected, *(one.expected for one in item.annotations.all())]
        worse = dict.fromkeys(jsonl.answer_text(one, schema) for one in said if one is not None)
        yield from ((case.variables, better, text) for text in worse if text != better)


def marked_wrong(run: int) -> list[int]:
    """The answers of a run that somebody has marked as wrong."""
    rows = Result.objects.filter(run=run, marks__is_right=False).order_by("id").distinct()
    return list(rows.values_list("pk", flat=True))


def _answers(run: Run, there: Any, **only: Any) -> dict[int, Result]:
    """A run's first answers to these cases, by case, in the order of the cases' digests."""
    rows = Result.objects.filter(Q(**only), run=run, error="", repeat=1, case__in=there.values("pk"))
    return {row.case_id: row for row in rows.select_related("case").distinct().order_by("case__digest", "case")}


def _requests(training_set: TrainingSet, every: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    version = training_set.prompt
    partials = {key: one.content for key, one in includes.partials_of([version]).items()}
    found = versions.requests_for(training_set.project_id, version.content, every, partials)
    for place, request in enumerate(found):
        if isinstance(request, Problem):
            shown = str(every[place])[:200]
            raise Problem(request.code, f"The short prompt cannot ask {shown}: {request.detail}")
    return [one for one in found if not isinstance(one, Problem)]


def _test_questions(training_set: TrainingSet) -> set[str]:
    """What the test side asks, as the user says it."""
    cases = side(training_set, Split.TEST).order_by("id")
    rows = cases.values_list("variables", flat=True)[:MOST_TESTED].iterator(chunk_size=BATCH)
    return {_said(one["messages"]) for batch in _batches(rows) for one in _requests(training_set, batch)}


def _said(messages: Sequence[Mapping[str, Any]]) -> str:
    """What a question says, however it is spaced and written."""
    text = "\n".join(str(one.get("content", "")) for one in messages if one.get("role") == "user")
    return " ".join(text.casefold().split())


def _batches(rows: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(rows)
    while batch := list(islice(rest, BATCH)):
        yield batch
