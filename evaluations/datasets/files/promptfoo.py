"""Files of promptfoo: tests as cases, assertions as scorers. Pure.

promptfoo judges each test by its own assertions; here a run's scorers judge every case. An assertion that all tests
share becomes a scorer with its value. One kind of assertion may have a value of its own in every test (`equals` before
any other): the value is the case's expected output, and the scorer compares with that. Everything else judges some
tests only, or runs code, and is left out with the reason.
"""

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from core.errors import Fault, Problem
from evaluations.datasets.row import Row
from infra import yaml_values

# A file is read whole.
MAX_BYTES = 4 * 1024 * 1024
UNREADABLE = "dataset.unreadable"
MAX_COMBINATIONS = 1_000
MAX_SENTENCES = 20
MAX_SHOWN_LENGTH = 80
NOT = "not-"
# promptfoo's name, and the parameters `need` and `case_sensitive` of our scorer.
CONTAINS: Mapping[str, tuple[str, bool]] = {
    "contains": ("all", True),
    "icontains": ("all", False),
    "contains-all": ("all", True),
    "icontains-all": ("all", False),
    "contains-any": ("any", True),
    "icontains-any": ("any", False),
}
# Assertions whose value may be the expected output of a case.
COMPARES: Mapping[str, str] = {
    "equals": "exact",
    "similar": "similarity",
    "levenshtein": "levenshtein",
    "rouge-l": "rouge_l",
    **dict.fromkeys(CONTAINS, "contains"),
}
MEASURES: Mapping[str, str] = {"latency": "latency", "cost": "cost"}
RUBRICS = frozenset({"llm-rubric", "model-graded-closedqa", "factuality", "g-eval", "answer-relevance", "select-best"})
CODE = frozenset({"javascript", "python", "ruby", "webhook"})


class UnmappedError(ValueError):
    """The reason why an assertion has no scorer here."""


@dataclass(frozen=True)
class AssertionPlan:
    """Scorers for a file's assertions. `own` is the assertion whose value each case expects ("" for none); `scorers` is
    in the form of evaluations.scorers.specs.read_specs; `left_out` are sentences."""

    own: str
    scorers: Sequence[Mapping[str, Any]]
    left_out: Sequence[str]


def scorer_for_assertion(assertion: Mapping[str, Any], *, is_own: bool = False) -> dict[str, Any]:
    """Convert an assertion to a scorer; with `is_own` it compares with the expected output. Raises UnmappedError."""
    full_name = str(assertion.get("type") or "")
    name = full_name.removeprefix(NOT)
    is_negated = full_name.startswith(NOT)
    for member in ("transform", "provider", "config", "rubricPrompt"):
        if member in assertion:
            raise UnmappedError(f"has a {member}, which is not read here")
    if is_negated and name in ("similar", "levenshtein", "rouge-l", "contains-all", "icontains-all"):
        raise UnmappedError("means the opposite of a score, and scores are inverted here")
    if name == "levenshtein" and "threshold" in assertion:
        raise UnmappedError("counts letters; the scorer levenshtein judges by a share of them")
    _require_plain(assertion.get("value"))
    scorer: dict[str, Any] = {**_scorer_settings(name, None if is_own else assertion.get("value")), "name": full_name}
    if is_negated:
        scorer["negate"] = True
    if isinstance(weight := assertion.get("weight"), int | float):
        scorer["weight"] = weight
    threshold = assertion.get("threshold")
    if isinstance(threshold, int | float):
        scorer["threshold"] = threshold
    return scorer


def _require_plain(value: Any) -> None:
    texts = value if isinstance(value, list) else [value]
    for text in texts:
        if isinstance(text, str) and ("{{" in text or text.startswith("file://")):
            raise UnmappedError("is filled in or read from a file by promptfoo; write the value out")


def _scorer_settings(name: str, value: Any) -> dict[str, Any]:
    if name in CONTAINS:
        need, is_exact = CONTAINS[name]
        if isinstance(value, str) and _accepts_list(name):
            # promptfoo reads several texts out of one that is separated by commas.
            value = _listed_texts(value)
        texts = {"texts": _texts(value)} if value is not None else {}
        return {"scorer": "contains", "parameters": {**texts, "need": need, "case_sensitive": is_exact}}
    if name in COMPARES:
        if value is not None:
            raise UnmappedError("compares with what a case expects, and has one value for all")
        return {"scorer": COMPARES[name]}
    if name in ("regex", "starts-with"):
        if not isinstance(value, str):
            raise UnmappedError("has no text to look for")
        return {"scorer": "regex", "parameters": {"pattern": value if name == "regex" else rf"\A{re.escape(value)}"}}
    if name == "is-json":
        schema = yaml_values.load(value, UNREADABLE) if isinstance(value, str) else value
        if isinstance(schema, dict):
            return {"scorer": "json_schema", "parameters": {"schema": schema}}
        if schema is not None:
            raise UnmappedError("has a schema that cannot be read")
        return {"scorer": "json_valid"}
    if name in MEASURES:
        return {"scorer": MEASURES[name]}
    if name == "is-refusal":
        return {"scorer": "refusal"}
    if name in RUBRICS:
        raise UnmappedError("asks a model by a rubric: register the rubric as a prompt, and use the scorer judge")
    if name in CODE:
        raise UnmappedError("runs code: judge outside, and record a check on the version over REST")
    raise UnmappedError("has no scorer here")


def _listed_texts(value: str) -> list[str]:
    return [text.strip() for text in value.split(",")]


def _accepts_list(name: str) -> bool:
    """Return whether an assertion takes a list of texts."""
    return name.endswith(("-all", "-any"))


def _texts(value: Any) -> list[str]:
    return [str(text) for text in value] if isinstance(value, list) else [str(value)]


def plan_assertions(document: Any) -> AssertionPlan:
    """Map the assertions of a file to scorers."""
    tests = [test for test in _tests(document) if isinstance(test, dict)]
    shared = _assertions(_object(document, "defaultTest"))
    by_test = [_assertions(test) for test in tests]
    own = _own_assertion(by_test)
    left_out: list[str] = []
    scorers: dict[str, Mapping[str, Any]] = {}
    everywhere = Counter(
        _key(assertion)
        for assertions in by_test
        for assertion in {_key(assertion): assertion for assertion in assertions}.values()
    )
    first = {_key(assertion): assertion for assertions in by_test for assertion in assertions}
    for assertion in [*shared, *(first[key] for key, count in everywhere.items() if count == len(by_test) > 1)]:
        _add(scorers, left_out, assertion, is_own=False)
    if own:
        _add(
            scorers,
            left_out,
            next(assertion for assertions in by_test for assertion in assertions if assertion["type"] == own),
            is_own=True,
        )
    partial = [
        (first[key], count)
        for key, count in everywhere.items()
        if count != len(by_test) or len(by_test) == 1
        if first[key]["type"] != own
    ]
    twice = sum(sum(assertion["type"] == own for assertion in assertions) > 1 for assertions in by_test) if own else 0
    settings_of_own = {
        repr((assertion.get("weight"), assertion.get("threshold")))
        for assertions in by_test
        for assertion in assertions
        if assertion["type"] == own
    }
    if len(settings_of_own) > 1:
        left_out.append(f"{own} has other weights or thresholds in some tests; those of the first count for all")
    if twice:
        left_out.append(f"{own} occurs more than once in {twice} of {len(by_test)} tests; the first one counts")
    left_out += [
        f"{_describe_assertion(assertion)} judges {count} of {len(by_test)} tests; a scorer judges every case"
        for assertion, count in partial[: MAX_SENTENCES + 1]
    ]
    left_out += _unread_members(document, tests)
    if len(left_out) > MAX_SENTENCES:
        left_out = [*left_out[:MAX_SENTENCES], "and more"]
    return AssertionPlan(own, list(scorers.values()), left_out)


# Members of a test that mean nothing for a case, or are read.
READ_MEMBERS = frozenset({"vars", "assert", "description", "metadata"})
READ_OPTIONS = frozenset({"disableVarExpansion"})


def _unread_members(document: Any, tests: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name what the tests have beside variables and assertions, because promptfoo would judge otherwise with it."""
    counts: Counter[str] = Counter()
    for test in tests:
        counts.update(name for name in test if name not in READ_MEMBERS and name != "options")
        counts.update(f"options.{name}" for name in _object(test, "options") if name not in READ_OPTIONS)
        counts.update(f"metadata.{name}" for name in _object(test, "metadata") if name != "tags")
        for name, value in _object(test, "vars").items():
            values = value if isinstance(value, list) else [value]
            if any(isinstance(text, str) and text.startswith("file://") for text in values):
                counts[f"the file of the variable {name}"] += 1
    sentences = [f"{str(name)[:MAX_SHOWN_LENGTH]} of {count} of {len(tests)} tests" for name, count in counts.items()]
    shared = document.get("defaultTest") if isinstance(document, Mapping) else None
    if isinstance(shared, str):
        sentences.insert(0, f"defaultTest {shared[:MAX_SHOWN_LENGTH]}: other files are not read")
    elif isinstance(shared, Mapping):
        unread = [name for name in shared if name not in READ_MEMBERS and name != "options"]
        unread += [f"options.{name}" for name in _object(shared, "options") if name not in READ_OPTIONS]
        sentences += [f"{name} of defaultTest" for name in unread]
    return sentences


def _own_assertion(by_test: Sequence[Sequence[Mapping[str, Any]]]) -> str:
    """Find the comparing assertion that most tests have with a value of their own; `equals` where any has it."""
    values: dict[str, set[str]] = {}
    counted: Counter[str] = Counter()
    for assertions in by_test:
        for name in {
            assertion["type"]
            for assertion in assertions
            if assertion["type"] in COMPARES and assertion.get("value") is not None
        }:
            counted[name] += 1
            values.setdefault(name, set()).add(
                _key(next(assertion for assertion in assertions if assertion["type"] == name))
            )
    if "equals" in counted:
        return "equals"
    differing = [name for name in counted if len(values[name]) > 1]
    return max(differing, key=lambda name: counted[name], default="")


def _add(
    scorers: dict[str, Mapping[str, Any]], left_out: list[str], assertion: Mapping[str, Any], *, is_own: bool
) -> None:
    try:
        scorer = scorer_for_assertion(assertion, is_own=is_own)
    except UnmappedError as error:
        left_out.append(f"{_describe_assertion(assertion)} {error}")
        return
    name = scorer["name"]
    while scorer["name"] in scorers:
        scorer["name"] = f"{name}-{len(scorers) + 1}"
    scorers[scorer["name"]] = scorer


def _key(assertion: Mapping[str, Any]) -> str:
    return repr(sorted(assertion.items(), key=str))


def _describe_assertion(assertion: Mapping[str, Any]) -> str:
    value = assertion.get("value")
    text = "" if value is None else f" {json.dumps(value, ensure_ascii=False, default=str)}"
    text = text if len(text) <= MAX_SHOWN_LENGTH else f"{text[:MAX_SHOWN_LENGTH]}…"
    return f"{assertion['type']}{text}"


def _assertions(test: Mapping[str, Any]) -> list[dict[str, Any]]:
    listed = test.get("assert")
    flat: list[dict[str, Any]] = []
    for assertion in listed if isinstance(listed, list) else ():
        if not isinstance(assertion, dict) or not isinstance(assertion.get("type"), str):
            continue
        if assertion["type"] == "assert-set" and "threshold" not in assertion:
            flat += _assertions(assertion)
        else:
            flat.append({str(name): value for name, value in assertion.items() if name != "metric"})
    return flat


@dataclass(frozen=True)
class RowAssertions:
    """The assertions of one row: the expected output, where one says what the answer is, with the name that it stood
    under; and the names of the others."""

    expected: Any = None
    name: str = ""
    left_out: tuple[str, ...] = ()


NO_ASSERTIONS = RowAssertions()
# `contains: refund`, `not-icontains-any: a, b`, `similar(0.8): hello`, `is-json`.
ASSERTION_TEXT = re.compile(r"(?P<type>[a-z][a-z-]*)(?:\((?P<threshold>[\d.]+)\))?(?::(?P<value>.*))?", re.DOTALL)
TEXT_TYPES = frozenset(
    {
        *COMPARES,
        *MEASURES,
        *RUBRICS,
        *CODE,
        *(
            "regex",
            "starts-with",
            "is-json",
            "contains-json",
            "is-refusal",
            "fn",
            "eval",
            "grade",
            "file",
            "perplexity",
        ),
    }
)
EXPECTED_COLUMN = re.compile(r"__expected\d*")


def split_off_assertions(row: dict[str, Any]) -> RowAssertions:
    """Take the columns of promptfoo (`__expected`, `__expected1`, `__description`, `__metadata:x`, ...) and its list
    `assert` out of a row: they are no variables."""
    own = [name for name in row if name.startswith("__") or (name == "assert" and isinstance(row[name], list))]
    if not own:
        return NO_ASSERTIONS
    expected, expected_name, left_out = None, "", []
    for name in own:
        value = row.pop(name)
        if name == "assert":
            assertions = [item for item in value if isinstance(item, Mapping)]
        elif EXPECTED_COLUMN.fullmatch(name):
            assertions = [read_assertion(value)] if isinstance(value, str) else [{"type": "equals", "value": value}]
        else:
            left_out.append(name)
            continue
        for assertion in assertions:
            if assertion.get("type") == "equals" and expected is None:
                expected, expected_name = assertion.get("value"), name
            else:
                left_out.append(f"{name} ({str(assertion.get('type'))[:MAX_SHOWN_LENGTH]})")
    return RowAssertions(expected, expected_name, tuple(left_out))


def read_assertion(text: str) -> dict[str, Any]:
    """Read an assertion as promptfoo's tables write it; a text without a type is the answer itself."""
    match = ASSERTION_TEXT.fullmatch(text.strip())
    if match is None or match["type"].removeprefix(NOT) not in TEXT_TYPES:
        return {"type": "equals", "value": text}
    if match["value"] is None and match["type"].removeprefix(NOT) not in ("is-json", "contains-json", "is-refusal"):
        # A word alone is an answer, even where it is the name of an assertion.
        return {"type": "equals", "value": text}
    return {"type": match["type"], "value": (match["value"] or "").strip()}


def read_document(text: str) -> Any:
    """Parse a file's document, or raise `dataset.unreadable`."""
    if len(text) > MAX_BYTES:
        raise Problem(UNREADABLE, f"A promptfoo file has at most {MAX_BYTES // 2**20} MB.")
    document = yaml_values.load(text, UNREADABLE)
    if not isinstance(_tests(document), list):
        raise Problem(UNREADABLE, "The file has no list of tests; tests in other files are not read.")
    return document


def plan_file_assertions(path: Path) -> AssertionPlan:
    """Map the assertions of a file on disk to scorers."""
    return plan_assertions(read_document(path.read_text(encoding="utf-8-sig", errors="replace")))


def _tests(document: Any) -> Any:
    return document.get("tests") if isinstance(document, dict) else document


def rows(text: str) -> Iterator[Row]:
    """Read the tests of a file: `vars` are variables, and the value of the assertion that each has is the expected
    output. A variable that is a list stands for one test each, as in promptfoo."""
    document = read_document(text)
    own = plan_assertions(document).own
    shared = _object(document, "defaultTest")
    number = 0
    for test in _tests(document):
        for row in _combinations(test, shared, own):
            number += 1
            yield replace(row, line=number)


def _combinations(test: Any, shared: Mapping[str, Any], own: str) -> Iterator[Row]:
    if not isinstance(test, dict):
        yield Row(0, fault=Fault("", "type", "A test is an object with vars."), raw=test)
        return
    variables = {**_object(shared, "vars"), **_object(test, "vars")}
    options = {**_object(shared, "options"), **_object(test, "options")}
    is_expanded = options.get("disableVarExpansion") is not True
    listed = {name: value for name, value in variables.items() if is_expanded and isinstance(value, list)}
    expected = next((assertion.get("value") for assertion in _assertions(test) if assertion["type"] == own), None)
    if isinstance(expected, str) and _accepts_list(own):
        expected = _listed_texts(expected)
    tags = _object(test, "metadata").get("tags")
    document: dict[str, Any] = {"expected": expected, "tags": tags if isinstance(tags, list) else [], "group": ""}
    for count, values in enumerate(itertools.product(*listed.values())):
        if count == MAX_COMBINATIONS:
            yield Row(0, fault=Fault("/vars", "count", f"Stands for more than {MAX_COMBINATIONS:,} tests."), raw=test)
            return
        combination = {**variables, **dict(zip(listed, values, strict=True))}
        yield Row(0, {**document, "variables": combination}, raw=test)


def _object(value: Any, name: str) -> dict[str, Any]:
    member = value.get(name) if isinstance(value, Mapping) else None
    return dict(member) if isinstance(member, dict) else {}
