"""A file's row as a case: the names in it are mapped to a case's members (`evaluations.datasets.cases`). Pure.

* a row with `variables` (or `vars`, `inputs`, or an `input` that is an object) has its variables there;
* a row with `messages` is an OpenAI training line: the last user message is `input`, the answer to it (or the tools
  that it calls) is expected, and a conversation of more than that is `messages`;
* any other row is flat: its `expected` (or ideal, answer, output, completion, label, category, ...), `tags`, `group`,
  `weight` and `split` are those members, and every further column is a variable.

What became of each name, and what was left out, is counted (evaluations.datasets.files.file_mapping).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from evaluations.datasets.cases import MAX_LABEL_LENGTH
from evaluations.datasets.files import promptfoo, training_lines
from evaluations.datasets.files.column_uses import EXPECTED, GROUP, LABEL, TAG, apply_uses
from evaluations.datasets.files.file_mapping import FileMapping

# In order: the first of these that a row has is its expected output.
EXPECTED_NAMES = (
    "expected",
    "expected_output",
    "ideal",
    "answer",
    "output",
    "outputs",
    "completion",
    "label",
    "category",
    "intent",
    "target",
)
# The same names as other products write them (Langfuse: expectedOutput, MLflow: expectations, LangSmith:
# reference_outputs), compared without case and signs.
OTHER_EXPECTED_NAMES = frozenset(
    {
        *("expectedoutput", "expectedanswer", "expectedresponse", "expectedresult", "expectations"),
        *("groundtruth", "referenceanswer", "referenceoutput", "referenceoutputs", "referenceresponse"),
        *("idealanswer", "idealresponse", "goldanswer", "correctanswer"),
    }
)
VARIABLES_NAMES = ("variables", "vars", "inputs")
SETTINGS_NAMES = frozenset({"tags", "group", "weight", "split", "dealt"})
NOT_LETTERS = re.compile("[^a-z]")
# Among other columns these may as well mean the input, or a class: a name that says "expected" comes before them.
WEAK_EXPECTED_NAMES = ("answer", "output", "outputs", "completion", "label", "category", "intent", "target")


@dataclass(frozen=True)
class Columns:
    """Names in a file that differ from the usual ones: the column of the expected output, that of the group, other
    names for variables (`{"input": "ticket"}`), and what is not to be read."""

    expected: str = ""
    group: str = ""
    renamed: tuple[tuple[str, str], ...] = ()
    left_out: tuple[str, ...] = ()
    # What each column is (evaluations.datasets.files.column_uses); the others are read by their names.
    uses: Mapping[str, str] = field(default_factory=dict)


DEFAULT_COLUMNS = Columns()


def as_case(row: Mapping[str, Any], columns: Columns, mapping: FileMapping) -> dict[str, Any]:
    """Return a file's row under the names of a case's members, and count in `mapping` what became of its own."""
    return _as_mapped_case(row, columns, mapping) if columns.uses else _as_named_case(row, columns, mapping)


def _as_mapped_case(row: Mapping[str, Any], columns: Columns, mapping: FileMapping) -> dict[str, Any]:
    """Return a row of which a user says what its columns are; the others are read by their names."""
    mapping.seen |= columns.uses.keys() & row.keys()
    mapped, by_name = apply_uses(row, columns.uses), FileMapping()
    has_expected = EXPECTED in columns.uses.values()
    if has_expected:
        # So that no other column is taken for it by its name.
        mapped.rest[EXPECTED] = mapped.expected
    case = _as_named_case(mapped.rest, columns, by_name)
    left_out = [*mapped.left_out, *by_name.left_out]
    expected = [*by_name.expected]
    if has_expected:
        case[EXPECTED] = mapped.expected
        # An assertion, or the answer of a training line, would have been it.
        left_out = [name for name in left_out if name != EXPECTED or name in row]
        left_out += [name for name in expected if name != EXPECTED]
        expected = [column for column, use in columns.uses.items() if use == EXPECTED and column in row]
    if mapped.group:
        case[GROUP] = mapped.group
    labels = [column for column, use in columns.uses.items() if use == LABEL and column in row]
    if mapped.label:
        case[LABEL] = mapped.label
    tagged = [column for column, use in columns.uses.items() if use == TAG and column in row]
    if mapped.tags:
        own_tags = case.get("tags") or []
        case["tags"] = [*(own_tags if isinstance(own_tags, list) else [own_tags]), *mapped.tags]
    variables = case["variables"]
    names = [*by_name.variables]
    if mapped.variables and isinstance(variables, dict):
        # A column of that name that nobody said anything of.
        left_out += [name for name in mapped.variables if name in variables]
        case["variables"] = {**variables, **mapped.variables}
        names = [*dict.fromkeys([*names, *mapped.variables])]
    mapping.add(variables=names, expected=expected, left_out=left_out, tags=tagged, labels=labels)
    return case


def _as_named_case(row: Mapping[str, Any], columns: Columns, mapping: FileMapping) -> dict[str, Any]:
    members = {name: value for name, value in row.items() if name not in columns.left_out}
    if columns.group and columns.group in members:
        members["group"] = str(members.pop(columns.group))
    left_out = [name for name in columns.left_out if name in row]
    if columns.expected and columns.expected in members:
        left_out += [EXPECTED] if EXPECTED in members and columns.expected != EXPECTED else []
        members[EXPECTED] = members.pop(columns.expected)
    tests = promptfoo.split_off_assertions(members)
    left_out += tests.left_out
    if tests.expected is not None:
        members["expected"] = tests.expected
    own_names = {EXPECTED: tests.name if tests.expected is not None else columns.expected or EXPECTED}
    case, dropped = (
        _from_training_line(members)
        or _from_holder(members, mapping, own_names)
        or _from_columns(members, mapping, own_names)
    )
    variables = case["variables"]
    if columns.renamed and isinstance(variables, dict):
        names = dict(columns.renamed)
        case["variables"] = variables = {names.get(name, name): value for name, value in variables.items()}
    mapping.add(variables=variables if isinstance(variables, dict) else (), left_out=[*left_out, *dropped])
    return case


# A case, and the names of the row that are not in it.
_Case = tuple[dict[str, Any], list[str]]


def _expected_name(row: Mapping[str, Any], *, is_flat: bool = False) -> str | None:
    """Return the name in a row that has the expected output: ours first, then those of other products. A label is one
    in a flat row."""
    usual = next((name for name in EXPECTED_NAMES if name in row and (is_flat or name != "label")), None)
    if usual in (None, *WEAK_EXPECTED_NAMES):
        other = next((name for name in row if NOT_LETTERS.sub("", name.lower()) in OTHER_EXPECTED_NAMES), None)
        return other or usual
    return usual


def _expected_of(value: Any) -> Any:
    """Return an expected output: of MLflow's expectations the response itself, where there is nothing else."""
    if isinstance(value, dict) and len(value) == 1:
        name, response = next(iter(value.items()))
        if NOT_LETTERS.sub("", str(name).lower()) in OTHER_EXPECTED_NAMES:
            return response
    return value


def _from_training_line(row: dict[str, Any]) -> _Case | None:
    messages = row.get("messages")
    if not isinstance(messages, list):
        return None
    case, rest = training_lines.read_case(messages)
    settings = {name: row[name] for name in SETTINGS_NAMES & row.keys()}
    return {**settings, **case}, [*(name for name in row if name != "messages" and name not in SETTINGS_NAMES), *rest]


def _from_holder(row: dict[str, Any], mapping: FileMapping, own_names: Mapping[str, str]) -> _Case | None:
    holder = next((name for name in (*VARIABLES_NAMES, "input") if isinstance(row.get(name), dict)), None)
    if holder is None:
        return None
    if holder == "variables":
        # Our own form: an unknown member is a mistake, and is reported as one.
        if EXPECTED not in row:
            return _with_expected(row, mapping), []
        mapping.add(expected=[own_names[EXPECTED]] if own_names[EXPECTED] != EXPECTED else ())
        return {**row}, []
    case: dict[str, Any] = {name: row[name] for name in row.keys() & (SETTINGS_NAMES | {"label"})}
    case["variables"] = row[holder]
    expected = _expected_name(row)
    if expected is not None:
        case["expected"] = _expected_of(row[expected])
    elif "label" in row:
        case["expected"], expected = case.pop("label"), "label"
    mapping.add(expected=[own_names.get(expected, expected)] if expected else ())
    return case, [name for name in row if name not in case and name not in (holder, expected)]


def _with_expected(row: dict[str, Any], mapping: FileMapping) -> dict[str, Any]:
    """Rename the answer of a row with variables where it has another usual name."""
    name = _expected_name(row)
    if name is None:
        return row
    mapping.add(expected=[name])
    return {
        ("expected" if member == name else member): (_expected_of(value) if member == name else value)
        for member, value in row.items()
    }


def _from_columns(row: dict[str, Any], mapping: FileMapping, own_names: Mapping[str, str]) -> _Case:
    case: dict[str, Any] = {name: row.pop(name) for name in SETTINGS_NAMES & row.keys()}
    expected = _expected_name(row, is_flat=True)
    if expected is not None:
        case["expected"] = _expected_of(row.pop(expected))
        mapping.add(expected=[own_names.get(expected, expected)])
    label = row.get("label")
    if isinstance(label, str) and len(label) <= MAX_LABEL_LENGTH:
        case["label"] = row.pop("label")
    # A table that we exported may have its variables as one column of JSON.
    variables = row.pop("variables", None)
    case["variables"] = {**row, **variables} if isinstance(variables, dict) else row
    return case, []


def may_be_expected(name: str) -> bool:
    """Return whether a column of this name may be taken for the expected output."""
    return name in EXPECTED_NAMES or NOT_LETTERS.sub("", name.lower()) in OTHER_EXPECTED_NAMES
