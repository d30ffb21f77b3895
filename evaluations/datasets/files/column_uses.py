"""What a user says that a file's columns are: input, expected output, label, tag, group, a variable, or nothing. Pure.

A column that nobody says anything of is read by its name (evaluations.datasets.files.row_mapping).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from core.errors import Fault, Problem
from core.references import quoted

EXPECTED, LABEL, GROUP, TAG = "expected", "label", "group", "tag"
LEAVE_OUT, INPUT, VARIABLE = "leave_out", "input", "variable"
USES = (INPUT, EXPECTED, LABEL, TAG, GROUP, LEAVE_OUT, VARIABLE)
# What a case has one of.
SINGLE_USES = (EXPECTED, LABEL, GROUP)
# `variable:ticket` is a variable of another name.
NAMED_VARIABLE = f"{VARIABLE}:"
MAX_COLUMNS = 200
MAX_NAME_LENGTH = 200


def read_uses(mapping: Mapping[str, Any], form: str = "", pointer: str = "/map") -> dict[str, str]:
    """Check what a user says of columns; `request.invalid` names each column of which something else is said. A file of
    promptfoo's tests (`form`) has no columns."""
    faults = [
        Fault(
            f"{pointer}/{column}"[:MAX_NAME_LENGTH],
            "choice",
            f"{quoted(column)} must be one of: {', '.join(USES)}, variable:NAME.",
        )
        for column, use in mapping.items()
        if not isinstance(use, str) or (use not in USES and not _variable_of(use))
    ]
    faults += [
        Fault(pointer, "repeated", f"Only one column can be {use}.")
        for use in SINGLE_USES
        if list(mapping.values()).count(use) > 1
    ]
    names = [variable_name(column, use) for column, use in mapping.items() if isinstance(use, str)]
    repeated = sorted({name for name in names if name is not None and names.count(name) > 1})
    faults += [Fault(pointer, "repeated", f"Two columns would be the variable {name}.") for name in repeated]
    if len(mapping) > MAX_COLUMNS:
        faults.append(Fault(pointer, "count", f"At most {MAX_COLUMNS} columns can be named."))
    if mapping and form == "promptfoo":
        faults.append(Fault(pointer, "format", "promptfoo's tests say themselves what is what, and have no columns."))
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    return dict(mapping)


def variable_name(column: str, use: str) -> str | None:
    """Return the name of the variable that a column is, or None where it is something else."""
    return column if use == VARIABLE else INPUT if use == INPUT else _variable_of(use)


def _variable_of(use: str) -> str | None:
    name = use.removeprefix(NAMED_VARIABLE)
    return name if use.startswith(NAMED_VARIABLE) and 0 < len(name) <= MAX_NAME_LENGTH else None


@dataclass
class MappedRow:
    """A row's columns by what a user says that they are; `rest` has those that are read by their names."""

    rest: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    group: str = ""
    label: str = ""
    expected: Any = None
    left_out: list[str] = field(default_factory=list)


def apply_uses(row: Mapping[str, Any], uses: Mapping[str, str]) -> MappedRow:
    """Sort a row's columns by their uses. Where another column is the expected output, the label or the group, one of
    that name is left out."""
    mapped = MappedRow()
    for column, value in row.items():
        use = uses.get(column)
        name = None if use is None else variable_name(column, use)
        if name is not None:
            mapped.variables[name] = value
        elif use == TAG:
            mapped.tags += _as_tags(value)
        elif use == GROUP:
            mapped.group = "" if value is None else str(value)
        elif use == LABEL:
            mapped.label = "" if value is None else str(value)
        elif use == EXPECTED:
            mapped.expected = value
        elif use == LEAVE_OUT or (column in SINGLE_USES and column in uses.values()):
            mapped.left_out.append(column)
        else:
            mapped.rest[column] = value
    return mapped


def _as_tags(value: Any) -> list[str]:
    """Return a cell's tags: of a list each item; an empty cell is none."""
    values = value if isinstance(value, list) else [value]
    return [str(item) for item in values if item not in (None, "")]
