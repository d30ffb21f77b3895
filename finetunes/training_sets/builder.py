"""Builder of training sets: cases into lines, lines into files, with a validation report."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from django.db.models import Q, QuerySet

from core.errors import Problem
from core.image_data import digest_of
from core.messages import address_of, images_of, text_of
from evaluations.curation import annotation
from evaluations.datasets import lifecycle as datasets
from evaluations.models import AnnotationRound, Case, Comparison, Result, Run, Split
from finetunes.models import TrainingSet
from finetunes.providers import jsonl
from finetunes.providers.jsonl import Line, Method
from finetunes.training_sets import advisories, validation
from finetunes.training_sets.validation import TRAIN, VALIDATION
from registry.content import tokens
from registry.images.lookup import with_data
from registry.prompts import includes, versions

BATCH = 500
PIECE = 1024 * 1024
MAX_EXAMPLES = 50_000
# Of all images of a set as data: files are made in memory, and providers take 512 MB of a file.
MAX_IMAGE_SIZE = 256 * 1024 * 1024
# Further vocabularies by which lines are counted, each with a model that uses it.
COUNTED_BESIDE: Mapping[str, str] = {"cl100k_base": "gpt-3.5-turbo"}
# So many questions of the test split are compared with those that are learned.
MAX_TEST_QUESTIONS = 50_000


@dataclass(frozen=True)
class BuildResult:
    """Files of a set; `counts` has the lines of each, `lengths` their tokens: {"o200k_base": {"train": [...], ...}}."""

    files: Mapping[str, bytes]
    counts: Mapping[str, int]
    content_hash: str
    report: dict[str, Any]
    lengths: dict[str, dict[str, list[int]]]


def build_files(training_set: TrainingSet) -> BuildResult:
    """Build the files of a set, the same each time; refuses where there is nothing to learn from."""
    method = Method(training_set.method)
    lines: dict[str, list[Line]] = {TRAIN: [], VALIDATION: []}
    skipped = image_size = 0
    sizes = training_set.dataset_version.sizes
    if not training_set.folds and max(sizes.get(split, 0) for split in lines) > MAX_EXAMPLES:
        raise Problem("training_set.too_large", f"A set has at most {MAX_EXAMPLES:,} cases in a split.")
    for split in lines:
        rows = (
            _supervised_lines(training_set, split)
            if method == Method.SUPERVISED
            else _preference_lines(training_set, split)
        )
        for line in rows:
            if line is None:
                skipped += 1
            else:
                image_size += _image_size(line)
                lines[split].append(line)
            if image_size > MAX_IMAGE_SIZE:
                sentence = f"Its images have more than {MAX_IMAGE_SIZE // 2**20} MB as data; choose fewer cases."
                raise Problem("training_set.too_large", sentence)
    if not lines[TRAIN]:
        raise Problem("training_set.nothing", "Nothing in the train split can be learned: no case has an answer.")
    files = {split: jsonl.encode_file(split_lines) for split, split_lines in lines.items() if split_lines}
    test_questions = _test_questions(training_set)
    schema = training_set.prompt.content.get("response", {}).get("schema")
    verdict = validation.validate(
        files,
        method,
        violations=partial(versions.renderer_pool().violations, schema, owner=training_set.project_id)
        if schema
        else None,
        test_inputs=lambda messages: _question_text(messages) in test_questions,
    )
    report = {
        **verdict.as_dict(),
        "skipped": skipped,
        "has_general": bool(sizes.get("general")),
        "knowledge": None,
    }
    pairs = ((_question_text(jsonl.question_messages(line)), jsonl.answer_to_learn(line)) for line in lines[TRAIN])
    if method == Method.SUPERVISED and (advisory := advisories.knowledge_advisory(pairs)):
        report["knowledge"] = advisory.as_dict()
    # The verdict has counted by one vocabulary already; unreadable lines have no length.
    lengths = {tokens.DEFAULT_VOCABULARY: verdict.lengths} | {
        vocabulary: {split: [validation.line_tokens(line, model).tokens for line in lines[split]] for split in lines}
        for vocabulary, model in COUNTED_BESIDE.items()
    }
    return BuildResult(
        files, {split: len(split_lines) for split, split_lines in lines.items()}, _hash_of(files), report, lengths
    )


def chunks_of(data: bytes) -> Iterator[bytes]:
    """Cut a file into pieces that a row can hold."""
    return (data[start : start + PIECE] for start in range(0, len(data), PIECE))


def vocabulary_of(model: str) -> str:
    """Return the vocabulary whose counts stand for a model's."""
    return tokens.vocabulary_for(model) or tokens.DEFAULT_VOCABULARY


def is_exact(model: str) -> bool:
    """Say whether that count is the model's own."""
    return tokens.vocabulary_for(model) is not None


def _hash_of(files: Mapping[str, bytes]) -> str:
    """Hash the names and bytes of the files."""
    listing = "".join(f"{name} {hashlib.sha256(files[name]).hexdigest()}\n" for name in sorted(files))
    return f"sha256:{hashlib.sha256(listing.encode()).hexdigest()}"


def cases_of_split(training_set: TrainingSet, split: str) -> QuerySet[Case]:
    """Return a set's cases of a split: the dataset's own split, or, for a fold, that fold to test and all others to
    learn."""
    cases = Case.objects.of(training_set.dataset_version)
    if not training_set.folds or split == Split.GENERAL:
        return cases.filter(split=split)
    fold_cases = datasets.case_folds(training_set.dataset_version, training_set.folds)[training_set.fold - 1]
    if split == Split.TEST:
        return cases.filter(pk__in=fold_cases)
    return cases.exclude(split=Split.GENERAL).exclude(pk__in=fold_cases) if split == Split.TRAIN else cases.none()


def _supervised_lines(training_set: TrainingSet, split: str) -> Iterator[Line | None]:
    """Make a line of each case, None where it has no answer to learn."""
    content = training_set.prompt.content
    schema, tools = content.get("response", {}).get("schema"), content.get("tools", ())
    cases = cases_of_split(training_set, split).order_by("digest", "id")
    rows = cases.values_list("variables", "expected").iterator(chunk_size=BATCH)
    for batch in _batches(rows):
        answered = [(variables, expected) for variables, expected in batch if expected is not None]
        yield from [None] * (len(batch) - len(answered))
        for request, (_, expected) in zip(
            _requests(training_set, [variables for variables, _ in answered]), answered, strict=True
        ):
            yield jsonl.supervised_line(_sent(training_set, request), jsonl.answer_text(expected, schema), tools)


def _preference_lines(training_set: TrainingSet, split: str) -> Iterator[Line | None]:
    """Make a line of each pair of a better and a worse answer to one question; nothing of the test split."""
    tools = training_set.prompt.content.get("tools", ())
    for batch in _batches(_answer_pairs(training_set, split)):
        questions = [variables for variables, _, _ in batch]
        for request, (_, better, worse) in zip(_requests(training_set, questions), batch, strict=True):
            yield jsonl.preference_line(_sent(training_set, request), better, worse, tools)


def _answer_pairs(training_set: TrainingSet, split: str) -> Iterator[tuple[Mapping[str, Any], str, str]]:
    """Yield (variables, better answer, worse answer), in the order of the cases' digests."""
    split_cases = cases_of_split(training_set, split)
    if "comparison" in training_set.pairs:
        # Made of two runs (training_sets.lifecycle).
        baseline, candidate = Comparison.objects.get(pk=training_set.pairs["comparison"]).runs
        worse_of = _answers_by_case(baseline, split_cases)
        for result in _answers_by_case(candidate, split_cases).values():
            other = worse_of.get(result.case_id)
            if other is None or result.quality is None or other.quality is None or result.quality == other.quality:
                continue
            better, worse = (result, other) if result.quality > other.quality else (other, result)
            if better.output and worse.output and better.output != worse.output:
                yield result.case.variables, better.output, worse.output
        return
    schema = training_set.prompt.content.get("response", {}).get("schema")
    if "round" in training_set.pairs:
        yield from _overruled_pairs(training_set.pairs["round"], split_cases, schema)
        return
    run = Run.objects.get(pk=training_set.pairs["run"])
    wrong = _answers_by_case(run, split_cases, annotations__is_correct=False, case__expected__isnull=False)
    for result in wrong.values():
        right = jsonl.answer_text(result.case.expected, schema)
        if result.output and result.output != right:
            yield result.case.variables, right, result.output


def _overruled_pairs(
    round_key: int, split_cases: QuerySet[Case], schema: Any
) -> Iterator[tuple[Mapping[str, Any], str, str]]:
    """Pair the answer that a round settled on with what the case expected before and with overruled annotations."""
    cases = {case.input_hash: case for case in split_cases}
    items = annotation.answered_items(AnnotationRound.objects.get(pk=round_key))
    for item in sorted(items, key=lambda item: (item.case.digest, item.pk)):
        case = cases.get(item.case.input_hash)
        if case is None:
            continue
        better = jsonl.answer_text(annotation.settled_answer(item), schema)
        outputs = [item.case.expected, *(annotation.expected for annotation in item.annotations.all())]
        worse = dict.fromkeys(jsonl.answer_text(output, schema) for output in outputs if output is not None)
        yield from ((case.variables, better, text) for text in worse if text != better)


def results_judged_wrong(run: int) -> list[int]:
    """Return the answers of a run that a user has annotated as wrong."""
    rows = Result.objects.filter(run=run, annotations__is_correct=False).order_by("id").distinct()
    return list(rows.values_list("pk", flat=True))


def _answers_by_case(run: Run, cases: Any, **only: Any) -> dict[int, Result]:
    """Return a run's first answers to these cases, by case, in the order of the cases' digests."""
    rows = Result.objects.filter(Q(**only), run=run, error="", repeat=1, case__in=cases.values("pk"))
    return {row.case_id: row for row in rows.select_related("case").distinct().order_by("case__digest", "case")}


def _requests(training_set: TrainingSet, every: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    version = training_set.prompt
    partials = {key: snippet.content for key, snippet in includes.get_partials([version]).items()}
    requests = versions.render_requests(training_set.project_id, version.content, every, partials)
    for position, request in enumerate(requests):
        if isinstance(request, Problem):
            variables_text = json.dumps(every[position], ensure_ascii=False)[:200]
            raise Problem(request.code, f"The short prompt cannot ask {variables_text}: {request.detail}")
    return [request for request in requests if not isinstance(request, Problem)]


def _image_size(line: Line) -> int:
    """Return the number of characters of a line's images."""
    return sum(len(address_of(image)) for message in jsonl.question_messages(line) for image in images_of(message))


def _sent(training_set: TrainingSet, request: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the messages of a request as a provider gets them, uploaded images as data."""
    return with_data(training_set.project_id, request["messages"])


def _test_questions(training_set: TrainingSet) -> set[str]:
    """Return the questions of the test split, as the user messages have them."""
    cases = cases_of_split(training_set, Split.TEST).order_by("id")
    rows = cases.values_list("variables", flat=True)[:MAX_TEST_QUESTIONS].iterator(chunk_size=BATCH)
    return {
        _question_text(request["messages"]) for batch in _batches(rows) for request in _requests(training_set, batch)
    }


def _question_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """Normalise a question's user messages, whatever their spacing and case."""
    questions = [message for message in messages if message.get("role") == "user"]
    # An image is the same one as data and by its address.
    images = [digest_of(address_of(image)) for message in questions for image in images_of(message)]
    text = "\n".join([*map(text_of, questions), *images])
    return " ".join(text.casefold().split())


def _batches(rows: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(rows)
    while batch := list(islice(rest, BATCH)):
        yield batch
