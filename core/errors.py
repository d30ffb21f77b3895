"""Refusals: one exception with a stable code for each kind.

Domain code raises `Problem("promotion.own_approval", "...")`. The REST layer turns it into an RFC 9457 problem
document, pages show its sentence, commands print it. Codes are part of the contract: a client may branch on them,
so they are never renamed. Each app declares its own in its `errors.py`; here stand those of what server and client
share. `manage.py error_codes` prints the table that docs/errors.md holds.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Kind:
    """The status and title of all refusals with one code."""

    status: int
    title: str


@dataclass(frozen=True)
class Fault:
    """One fault in an input: a JSON pointer to the member, a code, and what is wrong with it."""

    pointer: str
    code: str
    message: str

    def as_dict(self) -> dict[str, str]:
        return {"pointer": self.pointer, "code": self.code, "message": self.message}


CATALOGUE: dict[str, Kind] = {
    # Prompts and versions
    "prompt.invalid_selector": Kind(400, "This cannot be a selector"),
    "reference.invalid": Kind(400, "This cannot be a reference"),
    # Example sets
    "examples.invalid": Kind(400, "The examples have faults"),
    "examples.too_many": Kind(413, "The examples are too many"),
    # Templates
    "template.syntax": Kind(400, "The template cannot be parsed"),
    "template.not_allowed": Kind(400, "The template uses something that prompts may not use"),
    "template.too_complex": Kind(400, "The template is too large or nested too deeply"),
    "template.too_expensive": Kind(400, "The template needs too much time, memory or output"),
    "template.failed": Kind(400, "The template failed with these variables"),
    "render.missing_variable": Kind(400, "A variable is missing"),
    "render.invalid_variable": Kind(400, "A variable has the wrong type"),
    "render.invalid_message": Kind(400, "A provider would refuse the rendered message"),
}


def declare(codes: Mapping[str, Kind]) -> None:
    """Add an app's codes to the catalogue; a code has one meaning, so nothing declares it twice."""
    if twice := CATALOGUE.keys() & codes.keys():
        raise ValueError(f"declared twice: {sorted(twice)}")
    CATALOGUE.update(codes)


# What may become of a call of a model, by its code: results, records of calls and the inference service have them.
FAILURES: dict[str, str] = {}


def declare_failures(codes: Mapping[str, str]) -> None:
    """Add codes of calls that failed, with what each means; nothing declares one twice."""
    if twice := (FAILURES.keys() | CATALOGUE.keys()) & codes.keys():
        raise ValueError(f"declared twice: {sorted(twice)}")
    FAILURES.update(codes)


class Problem(Exception):  # noqa: N818 - RFC 9457's own word
    """A refusal that the caller can act on.

    `code` is a key of CATALOGUE, `detail` one sentence for a person, `faults` what is wrong where, and `members`
    further facts that a program may want (they become members of the problem document).
    """

    def __init__(self, code: str, detail: str, *, faults: Iterable[Fault] = (), **members: Any) -> None:
        super().__init__(detail)
        self.kind = CATALOGUE[code]
        self.code = code
        self.detail = detail
        self.faults = tuple(faults)
        self.members = members

    def as_document(self) -> dict[str, Any]:
        """The problem document's members (RFC 9457)."""
        document: dict[str, Any] = {
            "type": f"urn:cuebook:problem:{self.code}",
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
            "code": self.code,
            **self.members,
        }
        if self.faults:
            document["errors"] = [fault.as_dict() for fault in self.faults]
        return document
