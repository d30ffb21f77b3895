"""Which scorers judge a run, with what weight and threshold, and how one answer fares with all of them. Pure."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jsonschema_rs
import regex

from core.errors import Fault, Problem
from core.json_values import MAX_FAULTS, plain
from evaluations.datasets import promptfoo
from evaluations.providers.chat import storable
from evaluations.scorers import all_scorers
from evaluations.scorers.base import Kind, Outside, Parameter, Sample, Score, Scorer

MOST_SCORERS = 20
LONGEST_NAME = 100
LONGEST_TEXT = 20_000
MOST_TEXTS = 100
LARGEST_WEIGHT = 1_000.0
# A page that goes through scores by name asks a mapping for these.
TAKEN_NAMES = frozenset({"items", "keys", "values"})
LONGEST_REASON = 200


@dataclass(frozen=True)
class Spec:
    """One scorer as a run uses it. `name` is what its figures are called; `negate` turns a score round."""

    scorer: str
    name: str
    parameters: Mapping[str, Any]
    weight: float = 1.0
    threshold: float = 1.0
    negate: bool = False

    @property
    def kind(self) -> Kind:
        return self.definition.kind

    @property
    def definition(self) -> Scorer:
        return all_scorers()[self.scorer]

    def as_dict(self) -> dict[str, Any]:
        return {
            "scorer": self.scorer,
            "name": self.name,
            "parameters": dict(self.parameters),
            "weight": self.weight,
            "threshold": self.threshold,
            "negate": self.negate,
        }


@dataclass(frozen=True)
class Scored:
    """What one scorer said of one answer."""

    value: float
    passed: bool
    note: str
    found: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        # As short as it can be: there is one for every case and scorer of every run.
        said: dict[str, Any] = {"value": round(self.value, 9), "passed": self.passed}
        if self.note:
            said["note"] = self.note
        if self.found:
            said["found"] = dict(self.found)
        return said


@dataclass(frozen=True)
class Judged:
    """All of it: scores by name; the weighted mean of those that are shares; whether every one passed.

    `quality` and `passed` are None where no scorer had anything to judge by."""

    scores: Mapping[str, Scored]
    quality: float | None
    passed: bool | None


def judge(sample: Sample, specs: Sequence[Spec], outside: Outside) -> Judged:
    """One answer by all scorers."""
    scores: dict[str, Scored] = {}
    for spec in specs:
        found = _scored(spec, sample, outside)
        if found is None:
            continue
        value = 1 - found.value if spec.negate and spec.kind == Kind.SCORE else found.value
        note = "" if spec.negate and found.value <= 0 else found.note
        scores[spec.name] = Scored(value, passes(spec, value), note, found.found)
    return Judged(scores, _quality(scores, specs), all(one.passed for one in scores.values()) if scores else None)


def _scored(spec: Spec, sample: Sample, outside: Outside) -> Score | None:
    """What a scorer says. An answer can be so odd that a scorer breaks over it (nested a thousand deep, a number of
    four hundred digits): then the answer fails, and the others go on."""
    try:
        found = spec.definition.score(sample, spec.parameters, outside)
    except (ValueError, ArithmeticError, RecursionError, TypeError) as error:
        return Score(0.0, f"Cannot be judged: {type(error).__name__}: {str(error)[:LONGEST_REASON]}")
    if found is None:
        return None
    kept = {name: storable(value) if isinstance(value, str) else value for name, value in found.found.items()}
    return Score(found.value, storable(found.note), kept)


def failed(specs: Sequence[Spec], sample: Sample) -> Judged:
    """An answer that did not come fails whatever would have been judged: leaving it out would flatter the run."""
    missed = {
        spec.name: Scored(0.0, False, "There is no answer.", {})
        for spec in specs
        if spec.kind == Kind.SCORE and not (spec.definition.needs_expected and sample.expected is None)
    }
    return Judged(missed, 0.0 if missed else None, False)


def passes(spec: Spec, value: float) -> bool:
    if spec.kind == Kind.MEASURE:
        return (value > spec.threshold) if spec.negate else (value <= spec.threshold)
    # A share that is the threshold but for the last bits of its arithmetic has reached it.
    return value >= spec.threshold - 1e-9


def _quality(scores: Mapping[str, Scored], specs: Sequence[Spec]) -> float | None:
    weighed = [(spec.weight, scores[spec.name].value) for spec in specs if spec.name in scores and counts(spec)]
    total = sum(weight for weight, _ in weighed)
    return sum(weight * value for weight, value in weighed) / total if total else None


def counts(spec: Spec) -> bool:
    """Whether a scorer's values are part of a run's quality: milliseconds and dollars are not."""
    return spec.kind == Kind.SCORE and spec.weight > 0


def read_specs(document: object, pointer: str = "/scorers") -> list[Spec]:
    """Scorers as people and files name them: `[{"scorer": "contains", "parameters": {"texts": ["refund"]}}, "label"]`;
    an object with a `type` is an assertion of promptfoo: `{"type": "icontains", "value": "refund"}`.

    Raises `scorers.invalid`, with each fault at its place.
    """
    unkeepable: list[Fault] = []
    document = plain(document, unkeepable)
    if unkeepable:
        sentence = unkeepable[0].message
        raise Problem("scorers.invalid", sentence, faults=[Fault(pointer + unkeepable[0].pointer, "text", sentence)])
    if not isinstance(document, list) or not 1 <= len(document) <= MOST_SCORERS:
        sentence = f"Give a list of 1 to {MOST_SCORERS} scorers."
        raise Problem("scorers.invalid", sentence, faults=[Fault(pointer, "length", sentence)])
    faults: list[Fault] = []
    found: list[Spec] = []
    for place, one in enumerate(document):
        spec = _read(one, f"{pointer}/{place}", faults)
        if spec is not None and any(spec.name == other.name for other in found):
            faults.append(
                Fault(f"{pointer}/{place}/name", "unique", f"“{spec.name}” is another scorer's name already.")
            )
        elif spec is not None:
            found.append(spec)
    if faults:
        raise Problem("scorers.invalid", faults[0].message, faults=faults[:MAX_FAULTS])
    return found


def stored(documents: Sequence[Mapping[str, Any]]) -> list[Spec]:
    """Scorers as a run keeps them."""
    return [Spec(**document) for document in documents]


MEMBERS = frozenset({"scorer", "name", "parameters", "weight", "threshold", "negate"})


def _read(one: object, pointer: str, faults: list[Fault]) -> Spec | None:
    document: dict[str, Any] = {"scorer": one} if isinstance(one, str) else one if isinstance(one, dict) else {}
    before = len(faults)
    if "type" in document and "scorer" not in document:
        try:
            document = promptfoo.scorer_of(document, is_own=document.get("value") is None)
        except promptfoo.UnmappedError as error:
            faults.append(Fault(f"{pointer}/type", "choice", f"{str(document['type'])[:100]} {error}."))
            return None
    definition = all_scorers().get(str(document.get("scorer")))
    if definition is None:
        known = ", ".join(all_scorers())
        faults.append(Fault(f"{pointer}/scorer", "choice", f"Must be one of: {known}."))
        return None
    scorer = str(document["scorer"])
    faults.extend(
        Fault(f"{pointer}/{member}", "unknown", f"Scorers have no member {member!r}.")
        for member in document.keys() - MEMBERS
    )
    name = document.get("name") or scorer
    if not isinstance(name, str) or len(name) > LONGEST_NAME or name in TAKEN_NAMES:
        faults.append(Fault(f"{pointer}/name", "length", f"Must be a text of 1 to {LONGEST_NAME} characters."))
    weight = _number(document.get("weight", 1), f"{pointer}/weight", faults, high=LARGEST_WEIGHT)
    high = 1.0 if definition.kind == Kind.SCORE else 1e12
    threshold = _number(document.get("threshold", definition.threshold), f"{pointer}/threshold", faults, high=high)
    negate = document.get("negate", False)
    if not isinstance(negate, bool):
        faults.append(Fault(f"{pointer}/negate", "type", "Must be true or false."))
    parameters = _parameters(definition, document.get("parameters") or {}, f"{pointer}/parameters", faults)
    if len(faults) > before:
        return None
    return Spec(scorer, str(name), parameters, weight, threshold, bool(negate))


def _number(value: object, pointer: str, faults: list[Fault], *, high: float) -> float:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 <= value <= high
        or not math.isfinite(value)
    ):
        faults.append(Fault(pointer, "range", f"Must be a number from 0 to {high:g}."))
        return 0.0
    return float(value)


def _parameters(definition: Scorer, given: object, pointer: str, faults: list[Fault]) -> dict[str, Any]:
    if not isinstance(given, dict):
        faults.append(Fault(pointer, "type", "Must be an object."))
        return {}
    known = {parameter.name: parameter for parameter in definition.parameters}
    faults.extend(
        Fault(f"{pointer}/{name}", "unknown", f"This scorer has no parameter {name!r}.")
        for name in given.keys() - known.keys()
    )
    found: dict[str, Any] = {}
    for name, parameter in known.items():
        value = given.get(name)
        if value in (None, "", []):
            if parameter.required:
                faults.append(Fault(f"{pointer}/{name}", "required", f"{parameter.title}: this is needed."))
            elif parameter.default is not None:
                found[name] = parameter.default
        elif why := _refused(parameter, value):
            faults.append(Fault(f"{pointer}/{name}", "value", why))
        else:
            found[name] = value
    if "pattern" in found and (why := _bad_pattern(found["pattern"])):
        faults.append(Fault(f"{pointer}/pattern", "value", why))
    return found


def _refused(parameter: Parameter, value: object) -> str:
    """Why a parameter cannot have a value; empty where it can."""
    if parameter.choices and value not in parameter.choices:
        return f"Must be one of: {', '.join(parameter.choices)}."
    match parameter.kind:
        case "boolean":
            return "" if isinstance(value, bool) else "Must be true or false."
        case "number":
            is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            return "" if is_number and float(value) >= 0 else "Must be a number from 0 on."  # type: ignore[arg-type]
        case "texts":
            is_list = isinstance(value, list) and len(value) <= MOST_TEXTS
            are_texts = is_list and all(isinstance(one, str) and 0 < len(one) <= LONGEST_TEXT for one in value)  # type: ignore[attr-defined]
            return "" if are_texts else f"Must be a list of at most {MOST_TEXTS} texts."
        case "schema":
            return _bad_schema(value)
    return "" if isinstance(value, str) and len(value) <= LONGEST_TEXT else "Must be a text."


def _bad_schema(value: object) -> str:
    if not isinstance(value, dict) or len(json.dumps(value)) > LONGEST_TEXT:
        return "Must be a JSON Schema of at most 20,000 characters."
    try:
        jsonschema_rs.meta.validate(value)
    except (ValueError, jsonschema_rs.ValidationError) as error:
        return f"This is no JSON Schema: {str(error)[:200]}"
    return ""


def _bad_pattern(pattern: str) -> str:
    try:
        regex.compile(pattern)
    except (regex.error, RecursionError, OverflowError) as error:
        return f"This is no regular expression: {error}"
    return ""
