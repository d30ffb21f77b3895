"""Reading what an experiment is to be: from a request, and as it is stored. Pure."""

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

from core.errors import Fault, Problem
from core.json_values import read_strict_json
from core.references import parse_reference
from inference.calls import reading
from inference.experiments.record import (
    BETTER,
    DECIDES,
    DEFAULT_RAMP,
    HIGHER,
    LOWER,
    ExperimentRecord,
    Metric,
    PlannedArm,
    PlannedShadow,
)
from inference.usage.stats import CONVERSION, FEEDBACK

MAX_ARMS, MAX_GUARDRAILS, MAX_STEPS = 5, 8, 10
# So many per cent at least stay with the baseline, or there is nothing to compare with.
MIN_BASELINE = 1.0
MIN_WEIGHT = 0.01
MAX_STEP_HOURS = 24 * 30
EXPECTED_SUBJECTS = (100, 100_000_000)
MAX_NAME, MAX_HYPOTHESIS = 60, 500
PINNED = re.compile(r"[^@]+@sha256:[0-9a-f]{64}")
# A record is stored as a template without code: what would begin code is refused.
TEMPLATE_MARKERS = ("{{", "{%", "{#")


def read_record(document: object) -> ExperimentRecord:
    """Read an experiment from a request; raises `experiment.invalid` with every fault."""
    faults: list[Fault] = []
    record = _read(document, faults)
    if faults or record is None:
        raise Problem("experiment.invalid", faults[0].message, faults=faults)
    return record


def parse_record(text: str) -> ExperimentRecord:
    """Read an experiment as it is stored; raises `experiment.invalid` where a user committed something else by hand,
    also where a version is not pinned to a whole hash, which could mean another text tomorrow than was reviewed."""
    try:
        record = read_record(read_strict_json(text))
    except (ValueError, RecursionError) as error:
        sentence = f"It is not JSON: {error}"[:300]
        raise Problem("experiment.invalid", sentence, faults=[Fault("", "json", sentence)]) from None
    for pointer, reference in _places_of_versions(record):
        if not PINNED.fullmatch(reference):
            sentence = "Versions have to be pinned: name@sha256:… with the whole hash."
            raise Problem("experiment.invalid", sentence, faults=[Fault(pointer, "pinned", sentence)])
    return record


def _places_of_versions(record: ExperimentRecord) -> list[tuple[str, str]]:
    """Return the pointer of each version that a record names, with its reference."""
    arms = [(f"/arms/{place}/version", arm.version) for place, arm in enumerate(record.arms)]
    shadow = [("/shadow/version", record.shadow.version)] if record.shadow else []
    return [("/baseline", record.baseline), *arms, *shadow]


def _read(document: object, faults: list[Fault]) -> ExperimentRecord | None:
    if not isinstance(document, Mapping):
        faults.append(Fault("", "type", "An experiment is an object."))
        return None
    values, own_faults = reading.read_members(document, MEMBERS, "")
    faults += own_faults
    shadow = _read_shadow(document.get("shadow"), faults)
    arms = _read_list(document, "arms", (0 if shadow else 1, MAX_ARMS), ARM_MEMBERS, faults)
    primary = _read_metric(document.get("primary"), "/primary", faults)
    guardrails = [
        _read_metric(each, f"/guardrails/{place}", faults)
        for place, each in enumerate(_list(document, "guardrails", (0, MAX_GUARDRAILS), faults))
    ]
    ramp = _read_ramp(document.get("ramp"), faults)
    record = ExperimentRecord(
        prompt=str(values.get("prompt", "")),
        baseline=str(values.get("baseline", "")),
        arms=[PlannedArm(str(arm.get("version") or ""), float(arm.get("weight") or 0)) for arm in arms],
        primary=replace(primary or Metric("score", HIGHER), role=DECIDES),
        guardrails=_with_errors([metric for metric in guardrails if metric]),
        ramp=ramp,
        step_hours=_or_default(values.get("step_hours"), 24.0),
        expected_subjects=int(_or_default(values.get("expected_subjects"), 2_000)),
        hypothesis=str(values.get("hypothesis", "")),
        shadow=shadow,
    )
    if not faults:
        _check(record, faults)
    return record


def _or_default(value: Any, default: float) -> float:
    return default if value is None else value


def _check(record: ExperimentRecord, faults: list[Fault]) -> None:
    """Add what is wrong with members that can be read, each by itself or together."""
    for pointer, reference in _places_of_versions(record):
        try:
            parsed = parse_reference(reference)
        except Problem as problem:
            faults.append(Fault(pointer, problem.code, problem.detail))
            continue
        if parsed.name != record.prompt:
            faults.append(Fault(pointer, "other_prompt", f"Must be a version of {record.prompt}."))
    for place, arm in enumerate(record.arms):
        if not MIN_WEIGHT <= arm.weight <= 100 - MIN_BASELINE:
            sentence = f"Must be from {MIN_WEIGHT} to {100 - MIN_BASELINE:g} per cent of the subjects."
            faults.append(Fault(f"/arms/{place}/weight", "range", sentence))
    if not faults and sum(arm.weight for arm in record.arms) > 100 - MIN_BASELINE:
        sentence = f"Arms are {100 - MIN_BASELINE:g} per cent together at most: the rest is the baseline's."
        faults.append(Fault("/arms", "range", sentence))
    if len(set(record.versions)) != len(record.versions):
        faults.append(Fault("/arms", "duplicate", "Each version is in one arm."))
    names = [metric.name for metric in record.guardrails]
    if len(set(names)) != len(names):
        faults.append(Fault("/guardrails", "duplicate", "Each metric is one guardrail."))
    if any(marker in record.text() for marker in TEMPLATE_MARKERS):
        faults.append(Fault("/hypothesis", "characters", "Must not begin code of a template, such as {{."))


def _with_errors(guardrails: list[Metric]) -> list[Metric]:
    """Return the guardrails with errors among them: an arm that fails is stopped, whatever else is watched."""
    has_errors = any(metric.name == "errors" for metric in guardrails)
    return guardrails if has_errors else [Metric("errors", LOWER), *guardrails]


def _list(document: Mapping[Any, Any], name: str, bounds: tuple[int, int], faults: list[Fault]) -> list[Any]:
    value = document.get(name)
    value = [] if value is None else value
    if not isinstance(value, list) or not bounds[0] <= len(value) <= bounds[1]:
        faults.append(Fault(f"/{name}", "count", f"Must be a list of {bounds[0]} to {bounds[1]}."))
        return []
    return value


def _read_list(
    document: Mapping[Any, Any],
    name: str,
    bounds: tuple[int, int],
    members: Mapping[str, reading.Read],
    faults: list[Fault],
) -> list[dict[str, Any]]:
    rows = []
    for place, each in enumerate(_list(document, name, bounds, faults)):
        if not isinstance(each, Mapping):
            faults.append(Fault(f"/{name}/{place}", "type", "Must be an object."))
            continue
        values, own_faults = reading.read_members(each, members, f"/{name}/{place}")
        faults += own_faults
        rows.append(values)
    return rows


def _read_metric(value: object, pointer: str, faults: list[Fault]) -> Metric | None:
    if not isinstance(value, Mapping):
        faults.append(
            Fault(pointer, "required", f"Name a metric: {', '.join(BETTER)}, feedback.NAME, conversion.NAME.")
        )
        return None
    values, own_faults = reading.read_members(value, METRIC_MEMBERS, pointer)
    faults += own_faults
    name, better = values.get("metric", ""), values.get("better")
    is_feedback = any(name.startswith(prefix) and len(name) > len(prefix) for prefix in (FEEDBACK, CONVERSION))
    if name not in BETTER and not is_feedback:
        sentence = f"Must be one of {', '.join(BETTER)}, feedback.NAME or conversion.NAME."
        faults.append(Fault(f"{pointer}/metric", "choice", sentence))
        return None
    if name not in BETTER and better is None:
        sentence = f"Of {name[:80]} only you know: say whether higher or lower is better."
        faults.append(Fault(f"{pointer}/better", "required", sentence))
    if name in BETTER and better not in (None, BETTER[name]):
        faults.append(Fault(f"{pointer}/better", "choice", f"Of {name}, {BETTER[name]} is better."))
    return Metric(name, better or BETTER.get(name, HIGHER), float(values.get("margin") or 0.0))


def _read_shadow(value: object, faults: list[Fault]) -> PlannedShadow | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        faults.append(Fault("/shadow", "type", "Must be an object: version, percent, daily_usd."))
        return None
    values, own_faults = reading.read_members(value, SHADOW_MEMBERS, "/shadow")
    faults += own_faults
    percent, dollars = float(values.get("percent") or 0), float(values.get("daily_usd") or 0)
    if not own_faults and percent < MIN_WEIGHT:
        faults.append(Fault("/shadow/percent", "range", f"Must be from {MIN_WEIGHT} to 100 per cent of the calls."))
    if not own_faults and dollars <= 0:
        faults.append(Fault("/shadow/daily_usd", "required", "Say what it may cost on a day, in US dollars."))
    return PlannedShadow(str(values.get("version") or ""), percent, dollars)


def _read_ramp(value: object, faults: list[Fault]) -> list[int]:
    if value is None:
        return list(DEFAULT_RAMP)
    steps = value if isinstance(value, list) else []
    is_fine = (
        1 <= len(steps) <= MAX_STEPS
        and all(isinstance(step, int) and not isinstance(step, bool) and 1 <= step <= 100 for step in steps)
        and all(before < after for before, after in pairwise(steps))
        and steps[-1] == 100
    )
    if not is_fine:
        sentence = f"Must be 1 to {MAX_STEPS} rising whole numbers up to 100: per cent of the weights."
        faults.append(Fault("/ramp", "range", sentence))
        return list(DEFAULT_RAMP)
    return steps


def _unread(value: Any) -> Any:
    """Leave what is read elsewhere."""
    return value


MEMBERS: Mapping[str, reading.Read] = {
    "prompt": reading.text(200, required=True),
    "baseline": reading.text(300, required=True),
    **dict.fromkeys(("arms", "primary", "guardrails", "ramp", "shadow"), _unread),
    "step_hours": reading.number(MAX_STEP_HOURS),
    "expected_subjects": reading.count(*EXPECTED_SUBJECTS),
    "hypothesis": reading.text(MAX_HYPOTHESIS),
}
ARM_MEMBERS: Mapping[str, reading.Read] = {"version": reading.text(300, required=True), "weight": reading.number(100)}
SHADOW_MEMBERS: Mapping[str, reading.Read] = {
    "version": reading.text(300, required=True),
    "percent": reading.number(100),
    "daily_usd": reading.number(100_000),
}
METRIC_MEMBERS: Mapping[str, reading.Read] = {
    "metric": reading.text(MAX_NAME + len(CONVERSION), required=True),
    "better": reading.choice((HIGHER, LOWER)),
    "margin": reading.number(86_400_000),
}
