"""Specs: the scorers of a run with their weights and thresholds, and one answer judged by all of them. Pure."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jsonschema_rs
import regex

from core.errors import Fault, Problem
from core.json_values import MAX_FAULTS, normalise_json
from evaluations.datasets.files import promptfoo
from evaluations.providers.chat import storable
from evaluations.scorers import all_scorers
from evaluations.scorers.base import Kind, Parameter, Sample, Score, Scorer, ScoringContext, score_safely
from evaluations.scorers.retrieval.ranking import expected_sources

MAX_SCORERS = 20
MAX_NAME_LENGTH = 100
MAX_TEXT_LENGTH = 20_000
MAX_TEXTS = 100
MAX_WEIGHT = 1_000.0
# Templates that go through scores by name call these on the mapping.
RESERVED_NAMES = frozenset({"items", "keys", "values"})


@dataclass(frozen=True)
class Spec:
    """One scorer as a run uses it. `name` is the name of its figures; `negate` inverts a score."""

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
class ScorerResult:
    """One scorer's judgment of one answer."""

    value: float
    passed: bool
    note: str
    details: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        # As short as it can be: there is one for every case and scorer of every run.
        document: dict[str, Any] = {"value": round(self.value, 9), "passed": self.passed}
        if self.note:
            document["note"] = self.note
        if self.details:
            document["found"] = dict(self.details)
        return document


@dataclass(frozen=True)
class AnswerScores:
    """All scores of an answer by name, the weighted mean of those from 0 to 1, and whether every one passed.

    `quality` and `passed` are None where no scorer had anything to judge by."""

    scores: Mapping[str, ScorerResult]
    quality: float | None
    passed: bool | None


def judge(
    sample: Sample, specs: Sequence[Spec], context: ScoringContext, limited: Mapping[str, Score | None]
) -> AnswerScores:
    """Judge one answer by all scorers. `limited` has the scores, by the specs' names, of those scorers that only a
    child under limits may run (evaluations.runs.limited_scores)."""
    scores: dict[str, ScorerResult] = {}
    for spec in specs:
        score = _storable(
            limited[spec.name]
            if spec.definition.is_limited
            else score_safely(spec.definition, sample, spec.parameters, context)
        )
        if score is None:
            continue
        is_inverted = spec.negate and not score.is_unjudged
        value = 1 - score.value if is_inverted and spec.kind == Kind.SCORE else score.value
        note = "" if is_inverted and score.value <= 0 else score.note
        scores[spec.name] = ScorerResult(value, passes(spec, value), note, score.details)
    return AnswerScores(
        scores, _quality(scores, specs), all(score.passed for score in scores.values()) if scores else None
    )


def _storable(score: Score | None) -> Score | None:
    if score is None:
        return None
    details = {name: storable(value) if isinstance(value, str) else value for name, value in score.details.items()}
    return replace(score, note=storable(score.note), details=details)


def scores_of_failure(specs: Sequence[Spec], sample: Sample) -> AnswerScores:
    """Fail a missing answer in every scorer that would have judged it: leaving it out would flatter the run."""
    scores = {
        spec.name: ScorerResult(0.0, False, "There is no answer.", {})
        for spec in specs
        if spec.kind == Kind.SCORE
        and not (spec.definition.needs_expected and sample.expected is None)
        and not (spec.definition.needs_retrieval and not expected_sources(sample))
    }
    return AnswerScores(scores, 0.0 if scores else None, False)


def passes(spec: Spec, value: float) -> bool:
    if spec.kind == Kind.MEASURE:
        return (value > spec.threshold) if spec.negate else (value <= spec.threshold)
    # A share that misses the threshold by rounding only has reached it.
    return value >= spec.threshold - 1e-9


def _quality(scores: Mapping[str, ScorerResult], specs: Sequence[Spec]) -> float | None:
    weighed = [(spec.weight, scores[spec.name].value) for spec in quality_specs(specs) if spec.name in scores]
    total = sum(weight for weight, _ in weighed)
    return sum(weight * value for weight, value in weighed) / total if total else None


def quality_specs(specs: Sequence[Spec]) -> list[Spec]:
    """Return the scorers whose weighted mean is a run's quality. Milliseconds and dollars are not in it, nor is the
    format: a model that gives one well-formed answer to everything would look half right. Nor is what was retrieved: a
    wrong answer from the right document would. Where nothing else is judged, they are all that there is."""
    weighed = [spec for spec in specs if spec.kind == Kind.SCORE and spec.weight > 0]
    of_content = [spec for spec in weighed if not spec.definition.is_format]
    return [spec for spec in of_content if not spec.definition.needs_retrieval] or of_content or weighed


def shared_specs(first: Sequence[Spec], second: Sequence[Spec]) -> list[Spec]:
    """Return the scorers of the second run that the first has too, with the same parameters: what else has the same
    name measures something else."""
    others = {spec.name: spec for spec in first}
    return [spec for spec in second if spec.name in others and _judges_alike(spec, others[spec.name])]


def shared_weights(first: Sequence[Spec], second: Sequence[Spec]) -> dict[str, float]:
    """Return the weights, by name, of the scorers by which the qualities of two runs can be compared. Where their
    weights differ the mean counts, so that the order does not matter."""
    others = {spec.name: spec for spec in first}
    in_both = {spec.name for spec in quality_specs(first)} & {spec.name for spec in quality_specs(second)}
    return {
        spec.name: (spec.weight + others[spec.name].weight) / 2
        for spec in shared_specs(first, second)
        if spec.name in in_both
    }


def _judges_alike(first: Spec, second: Spec) -> bool:
    return (first.scorer, first.parameters, first.negate) == (second.scorer, second.parameters, second.negate)


def read_specs(document: object, pointer: str = "/scorers") -> list[Spec]:
    """Read scorers as users write them: `[{"scorer": "contains", "parameters": {"texts": ["refund"]}}, "label"]`. An
    object with a `type` is an assertion of promptfoo: `{"type": "icontains", "value": "refund"}`.

    Raises `scorers.invalid`, with the pointer of each fault.
    """
    unkeepable: list[Fault] = []
    document = normalise_json(document, unkeepable)
    if unkeepable:
        sentence = unkeepable[0].message
        raise Problem("scorers.invalid", sentence, faults=[Fault(pointer + unkeepable[0].pointer, "text", sentence)])
    if not isinstance(document, list) or not 1 <= len(document) <= MAX_SCORERS:
        sentence = f"Give a list of 1 to {MAX_SCORERS} scorers."
        raise Problem("scorers.invalid", sentence, faults=[Fault(pointer, "length", sentence)])
    faults: list[Fault] = []
    specs: list[Spec] = []
    for place, member in enumerate(document):
        spec = _read_spec(member, f"{pointer}/{place}", faults)
        if spec is not None and any(spec.name == other.name for other in specs):
            faults.append(Fault(f"{pointer}/{place}/name", "unique", f"Another scorer is named “{spec.name}” already."))
        elif spec is not None:
            specs.append(spec)
    if faults:
        raise Problem("scorers.invalid", faults[0].message, faults=faults[:MAX_FAULTS])
    return specs


def specs_from_json(documents: Sequence[Mapping[str, Any]]) -> list[Spec]:
    """Load the specs that a run has stored."""
    return [Spec(**document) for document in documents]


MEMBERS = frozenset({"scorer", "name", "parameters", "weight", "threshold", "negate"})


def _read_spec(member: object, pointer: str, faults: list[Fault]) -> Spec | None:
    document: dict[str, Any] = (
        {"scorer": member} if isinstance(member, str) else member if isinstance(member, dict) else {}
    )
    before = len(faults)
    if "type" in document and "scorer" not in document:
        try:
            document = promptfoo.scorer_for_assertion(document, is_own=document.get("value") is None)
        except promptfoo.UnmappedError as error:
            faults.append(Fault(f"{pointer}/type", "choice", f"{str(document['type'])[:100]} {error}."))
            return None
    definition = all_scorers().get(str(document.get("scorer")))
    if definition is None:
        names = ", ".join(all_scorers())
        faults.append(Fault(f"{pointer}/scorer", "choice", f"Must be one of: {names}."))
        return None
    scorer = str(document["scorer"])
    faults.extend(
        Fault(f"{pointer}/{member}", "unknown", f"Scorers have no member {member!r}.")
        for member in document.keys() - MEMBERS
    )
    name = document.get("name") or scorer
    if not isinstance(name, str) or len(name) > MAX_NAME_LENGTH or name in RESERVED_NAMES:
        faults.append(Fault(f"{pointer}/name", "length", f"Must be a text of 1 to {MAX_NAME_LENGTH} characters."))
    weight = _number(document.get("weight", 1), f"{pointer}/weight", faults, high=MAX_WEIGHT)
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


def _parameters(definition: Scorer, values: object, pointer: str, faults: list[Fault]) -> dict[str, Any]:
    if not isinstance(values, dict):
        faults.append(Fault(pointer, "type", "Must be an object."))
        return {}
    parameters = {parameter.name: parameter for parameter in definition.parameters}
    faults.extend(
        Fault(f"{pointer}/{name}", "unknown", f"This scorer has no parameter {name!r}.")
        for name in values.keys() - parameters.keys()
    )
    filled: dict[str, Any] = {}
    for name, parameter in parameters.items():
        value = values.get(name)
        if value in (None, "", []):
            if parameter.required:
                faults.append(Fault(f"{pointer}/{name}", "required", f"{parameter.title}: this is required."))
            elif parameter.default is not None:
                filled[name] = parameter.default
        elif error := _parameter_error(parameter, value):
            faults.append(Fault(f"{pointer}/{name}", "value", error))
        else:
            filled[name] = value
    if "pattern" in filled and (error := _pattern_error(filled["pattern"])):
        faults.append(Fault(f"{pointer}/pattern", "value", error))
    return filled


def _parameter_error(parameter: Parameter, value: object) -> str:
    """Say why a parameter cannot have a value; empty where it can."""
    if parameter.choices and value not in parameter.choices:
        return f"Must be one of: {', '.join(parameter.choices)}."
    match parameter.kind:
        case "boolean":
            return "" if isinstance(value, bool) else "Must be true or false."
        case "integer":
            is_whole = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 1_000_000
            return "" if is_whole else "Must be a whole number from 1 on."
        case "number":
            is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            return "" if is_number and float(value) >= 0 else "Must be a number of at least 0."  # type: ignore[arg-type]
        case "texts":
            is_list = isinstance(value, list) and len(value) <= MAX_TEXTS
            are_texts = is_list and all(isinstance(text, str) and 0 < len(text) <= MAX_TEXT_LENGTH for text in value)  # type: ignore[attr-defined]
            return "" if are_texts else f"Must be a list of at most {MAX_TEXTS} texts."
        case "schema":
            return _schema_error(value)
    return "" if isinstance(value, str) and len(value) <= MAX_TEXT_LENGTH else "Must be a text."


def _schema_error(value: object) -> str:
    if not isinstance(value, dict) or len(json.dumps(value)) > MAX_TEXT_LENGTH:
        return "Must be a JSON Schema of at most 20,000 characters."
    try:
        jsonschema_rs.meta.validate(value)
    except (ValueError, jsonschema_rs.ValidationError) as error:
        return f"This is not a JSON Schema: {str(error)[:200]}"
    return ""


def _pattern_error(pattern: str) -> str:
    try:
        regex.compile(pattern)
    except (regex.error, RecursionError, OverflowError) as error:
        return f"This is not a regular expression: {error}"
    return ""
