"""Gates: what a version must show before it is released. A gate is a required check that a run answers.

Whoever asks for a promotion need not think of it: the sweep looks at undecided promotions, measures what has a gate,
and writes the check on the version's hash. Promotion itself knows checks alone.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from core.errors import Fault, Problem
from core.references import is_prompt_name, quoted
from evaluations.comparisons import pairwise
from evaluations.datasets import lifecycle as datasets
from evaluations.models import (
    Comparison,
    DatasetVersion,
    Gate,
    GateRun,
    GateState,
    ProviderModel,
    Run,
    RunState,
    ServiceLevels,
    Split,
)
from evaluations.providers import configuration as providers
from evaluations.runs import lifecycle as runs
from evaluations.runs import planning
from evaluations.runs.planning import Asked
from evaluations.scorers import specs as scoring
from evaluations.statistics.service_levels import NAMES, SHARES, TITLES, UNITS, Finding, findings
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right, command_line
from registry.models import CheckStatus, Environment, Project, Promotion, PromptVersion
from registry.models.governance import UNDECIDED
from registry.promotions import approvals, checks, environments
from registry.promotions.environments import Rules

logger = logging.getLogger(__name__)

LONGEST_NAME = 60
LONGEST_PROMPTS = 200
OUT_OF_DATE = "Being measured"
# A gate whose runs ended early (a provider that was down, a spent budget) is measured again after so long.
ERRORED_AGAIN = timedelta(minutes=10)


@transaction.atomic
def create(
    actor: Actor,
    environment: Environment,
    *,
    name: str,
    dataset_version: DatasetVersion,
    model: ProviderModel,
    scorers: object,
    prompts: str = "",
    split: str = Split.TEST,
    repeats: int = 1,
    least_quality: float | None = None,
    not_worse: bool = True,
    margin: float = pairwise.DEFAULT_MARGIN,
    keeps_levels: bool = True,
    budget_usd: object = None,
) -> Gate:
    """A gate, and with it a check that the environment requires from now on."""
    actor.require(Right.ADMINISTER)
    faults: list[Fault] = []
    if not is_prompt_name(name) or len(name) > LONGEST_NAME:
        faults.append(Fault("/name", "name", "Lower-case letters and digits in words joined by . - or _."))
    for pointer, share in (("/least_quality", least_quality), ("/margin", margin)):
        if share is not None and not 0 <= share <= 1:
            faults.append(Fault(pointer, "range", "Must be a number from 0 to 1."))
    if split and split not in Split.values:
        faults.append(Fault("/split", "choice", f"Must be one of: {', '.join(Split.values)}, or empty for all."))
    if len(prompts.strip()) > LONGEST_PROMPTS or "\0" in prompts:
        faults.append(Fault("/prompts", "length", f"Must have at most {LONGEST_PROMPTS} characters."))
    budget = planning.read_budget(budget_usd, faults)
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    if name in environment.required_checks:
        # Also one of somebody's CI: with the gate, the requirement would go one day.
        raise Problem("gate.name_taken", f"{environment.name} requires a check {quoted(name)} already.")
    if least_quality is None and not not_worse and not keeps_levels:
        raise Problem("gate.asks_nothing", "This gate would ask for nothing: say at least one condition.")
    specs = planning.pinned(actor.project, scoring.read_specs(scorers), model)
    locked = environments.lock(environment)
    try:
        with transaction.atomic():
            made = Gate.objects.create(
                environment=locked,
                name=name,
                prompts=prompts.strip(),
                dataset=dataset_version.dataset,
                split=split,
                model=model,
                scorers=[spec.as_dict() for spec in specs],
                repeats=repeats,
                least_quality=least_quality,
                not_worse=not_worse,
                margin=margin,
                keeps_levels=keeps_levels,
                budget_usd=budget,
                created_by_name=actor.name,
            )
    except IntegrityError:
        raise Problem("gate.name_taken", f"{environment.name} has a gate {quoted(name)} already.") from None
    audit.record(actor, "gate.created", made, after={"environment": environment.name, "scorers": made.scorers})
    _require_check(actor, locked, [*locked.required_checks, name])
    return made


@transaction.atomic
def remove(actor: Actor, gate: Gate) -> None:
    """Take a gate away, and the check that it required. What it measured stays."""
    actor.require(Right.ADMINISTER)
    if Gate.objects.filter(pk=gate.pk, removed_at=None).update(removed_at=timezone.now()) != 1:
        raise Problem("gate.not_found", "This gate is removed already.")
    environment = environments.lock(gate.environment)
    audit.record(actor, "gate.removed", gate)
    _require_check(actor, environment, [one for one in environment.required_checks if one != gate.name])


def _require_check(actor: Actor, environment: Environment, names: Sequence[str]) -> None:
    rules = Rules.of(environment)
    environments.change_rules(actor, environment, replace(rules, required_checks=list(dict.fromkeys(names))))


def of_project(project: Project) -> QuerySet[Gate]:
    """The gates that hold, by environment."""
    rows = Gate.objects.filter(environment__project=project, removed_at=None)
    return rows.select_related("environment", "dataset", "model__provider").order_by("environment__position", "name")


def numbered(project: Project, number: int) -> Gate:
    """The project's gate with this number, or `gate.not_found`."""
    found = of_project(project).filter(pk=number).first()
    if found is None:
        raise Problem("gate.not_found", f"There is no gate {number}.")
    return found


def is_for(gate: Gate, prompt: str) -> bool:
    """Whether a gate is for a prompt: its name, or the start of names where it ends with a dot."""
    wanted = gate.prompts
    return not wanted or prompt == wanted or (wanted.endswith(".") and prompt.startswith(wanted))


# --- Service levels --------------------------------------------------------------------------------------------------


def levels_of(project: Project) -> ServiceLevels:
    """What a project's prompts have to keep to; asks for nothing where nobody has said anything."""
    return ServiceLevels.objects.filter(project=project).first() or ServiceLevels(project=project)


@transaction.atomic
def set_levels(actor: Actor, given: Mapping[str, Any]) -> ServiceLevels:
    """Say what prompts have to keep to; a member that is None asks for nothing."""
    actor.require(Right.ADMINISTER)
    wanted = read_levels(given)
    before = told(levels_of(actor.project))
    made, _ = ServiceLevels.objects.update_or_create(project=actor.project, defaults=wanted)
    audit.record(actor, "service_levels.set", made, before=before, after=told(made))
    return made


def read_levels(given: Mapping[str, Any], pointer: str = "") -> dict[str, Any]:
    """Levels as they are written, each of them or None; refuses what cannot be one."""
    faults = [Fault(f"{pointer}/{name}", "unknown", "There is no such level.") for name in given.keys() - {*NAMES}]
    for name in NAMES:
        highest = 1 if name in SHARES else 1_000_000
        if (value := given.get(name)) is not None and not (is_number(value) and 0 < value <= highest):
            sentence = "Must be from 0 to 1." if name in SHARES else "Must be above 0."
            faults.append(Fault(f"{pointer}/{name}", "range", sentence))
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    return {name: given.get(name) for name in NAMES}


def is_number(value: object) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def told(levels: ServiceLevels) -> dict[str, float | None]:
    """Levels by name."""
    return {name: None if (value := getattr(levels, name)) is None else float(value) for name in NAMES}


# --- Measuring -------------------------------------------------------------------------------------------------------


def look() -> list[Run]:
    """Begin what undecided promotions need; returns the runs that were made. The sweep calls it; safe to repeat."""
    made: list[Run] = []
    waiting = Promotion.objects.filter(
        status__in=UNDECIDED, environment__gates__isnull=False, environment__gates__removed_at=None
    )
    for promotion in waiting.select_related("environment__project", "version__prompt").distinct():
        for gate in of_project(promotion.environment.project).filter(environment=promotion.environment):
            made += _begin(gate, promotion.version)
    return made


def _actor(gate: Gate) -> Actor:
    return replace(command_line(gate.environment.project), name=f"gate {gate.name}")


def _begin(gate: Gate, version: PromptVersion) -> list[Run]:
    """Measure a version for a gate, unless it is measured on the newest cases already."""
    project = gate.environment.project
    if not is_for(gate, version.prompt.name):
        newest = approvals.newest_checks(project.pk, version.content_hash, [gate.name])[gate.name]
        if newest is None:
            _check(gate, version, passed=True, summary="This gate is not for this prompt.")
        return []
    dataset_version = gate.dataset.head
    if dataset_version is None:
        return []
    dataset_version.dataset = gate.dataset
    rows = GateRun.objects.filter(gate=gate, version=version)
    if rows.filter(state=GateState.RUNNING).exists():
        return []
    live = _live(gate, version)
    measured = rows.filter(dataset_version=dataset_version).select_related("baseline", "run").order_by("-id").first()
    if measured and _holds(measured, live):
        return []
    try:
        with transaction.atomic():
            return _start(gate, version, dataset_version, live)
    except Problem as problem:
        said = f"Cannot be measured: {problem.detail}"[:1_000]
        # It is tried every few seconds; the trail says once what is the matter.
        newest = approvals.newest_checks(project.pk, version.content_hash, [gate.name])[gate.name]
        if newest is None or newest.summary != said:
            _check(gate, version, passed=False, summary=said)
            logger.warning("gate.not_begun gate=%s version=%s %s", gate.pk, version.pk, problem.detail)
        return []


def _live(gate: Gate, version: PromptVersion) -> PromptVersion | None:
    """What a version must not be worse than: what is live, unless that is the version itself or the gate asks not."""
    release = approvals.live_release(gate.environment, version.prompt) if gate.not_worse else None
    return release.version if release and release.version_id != version.pk else None


def _holds(measured: GateRun, live: PromptVersion | None) -> bool:
    """Whether what was measured still counts. Another version may be live by now; and where a run ended early, somebody
    may have taken it up again, or it is tried once more after a while."""
    if measured.state == GateState.ERRORED:
        was = measured.finished_at or measured.created_at
        return timezone.now() - was < ERRORED_AGAIN
    against = measured.baseline.version_id if measured.baseline else None
    return against == (live.pk if live else None)


def _start(
    gate: Gate, version: PromptVersion, dataset_version: DatasetVersion, live: PromptVersion | None
) -> list[Run]:
    actor = _actor(gate)
    candidate = runs.create(actor, _asked(gate, version, dataset_version))
    baseline = None
    if live is not None:
        baseline = runs.create(actor, _asked(gate, live, dataset_version))
    GateRun.objects.create(
        gate=gate, version=version, dataset_version=dataset_version, run=candidate, baseline=baseline
    )
    # Also where an older check passed: it was measured on other cases, and does not count any more.
    said = f"{OUT_OF_DATE} on {dataset_version}, in run {candidate.pk}."
    _check(gate, version, passed=False, summary=said)
    return [candidate, *([baseline] if baseline else [])]


def _model_for(gate: Gate, version: PromptVersion) -> ProviderModel:
    """The model that a version names, where the gate's provider has it: what goes live is what is measured, and a tuned
    model is part of its version. Else the gate's own."""
    own = str(version.content.get("model", {}).get("name") or "")
    return gate.model.provider.models.select_related("provider").filter(name=own).first() or gate.model


def _asked(gate: Gate, version: PromptVersion, dataset_version: DatasetVersion) -> Asked:
    return Asked(
        version=version,
        dataset_version=dataset_version,
        scorers=gate.scorers,
        model=_model_for(gate, version),
        split=gate.split,
        repeats=gate.repeats,
        leaked="exclude",
        budget_usd=gate.budget_usd,
    )


def _check(gate: Gate, version: PromptVersion, *, passed: bool, summary: str) -> Any:
    status = CheckStatus.PASSED if passed else CheckStatus.FAILED
    return checks.record(_actor(gate), version, name=gate.name, status=status, summary=summary[:1_000])


def unsettled() -> QuerySet[GateRun]:
    """Gate runs whose figures are there."""
    rows = GateRun.objects.filter(state=GateState.RUNNING, run__summary__isnull=False)
    rows = rows.exclude(baseline__isnull=False, baseline__summary__isnull=True)
    return rows.select_related(
        *("gate__environment__project", "version__prompt", "dataset_version__dataset", "run", "baseline"),
    ).order_by("id")


def settle(found: GateRun) -> GateRun:
    """Say whether a version passes, and write the check. Does nothing where another worker did."""
    gate = found.gate
    reasons: list[dict[str, Any]] = []
    comparison = None
    for run in (found.run, found.baseline):
        if run is not None and run.state != RunState.DONE:
            said = f"Run {run.pk} ended: {RunState(run.state).label.lower()}. {run.error}"
            reasons.append({"met": False, "text": said})
    is_measured = not reasons
    if is_measured:
        reasons += _own_reasons(gate, found.run)
        if found.baseline:
            comparison, reason = _against_live(gate, found.run, found.baseline)
            reasons.append(reason)
        elif gate.not_worse:
            reasons.append({"met": True, "text": "Nothing else is live that it could be worse than."})
    passed = is_measured and all(one["met"] for one in reasons)
    state = GateState.PASSED if passed else GateState.FAILED if is_measured else GateState.ERRORED
    with transaction.atomic():
        mine = GateRun.objects.select_for_update().filter(pk=found.pk, state=GateState.RUNNING).first()
        if mine is None:
            return found
        missed = [one["text"] for one in reasons if not one["met"]] or [one["text"] for one in reasons]
        written = _check(gate, found.version, passed=passed, summary=" ".join(missed))
        mine.state, mine.reasons, mine.comparison = state, reasons, comparison
        mine.check_written, mine.finished_at = written, timezone.now()
        mine.save(update_fields=["state", "reasons", "comparison", "check_written", "finished_at"])
    return mine


def _own_reasons(gate: Gate, run: Run) -> list[dict[str, Any]]:
    summary = run.summary or {}
    reasons = []
    if gate.least_quality is not None:
        (found,) = findings(summary, {"quality": gate.least_quality})
        reasons.append({"met": found.is_met, "text": f"{_said(found)}."})
    levels = told(levels_of(gate.environment.project)) if gate.keeps_levels else {}
    for found in findings(summary, levels):
        whose = ", by the service levels" if found.name == "quality" else ""
        reasons.append({"met": found.is_met, "text": f"{_said(found)}{whose}."})
    return reasons


def _said(found: Finding) -> str:
    """A level and its figure in words: Quality 0.912, at least 0.9."""
    bound = "at least" if found.name in SHARES else "at most"
    level, unit = f"{Decimal(str(found.level)).normalize():f}", UNITS.get(found.name, "")
    if found.value is None:
        missing = "not measured: add the scorer json_schema" if found.name == "format_adherence" else "unknown"
        return f"{TITLES[found.name]} {missing}, {bound} {level} {unit}".rstrip()
    figure = f"{found.value:.3f}" if found.name in SHARES else f"{found.value:.6g} {unit}"
    return f"{TITLES[found.name]} {figure}, {bound} {level} {unit}".rstrip()


def _against_live(gate: Gate, candidate: Run, baseline: Run) -> tuple[Comparison, dict[str, Any]]:
    comparison = pairwise.create(_actor(gate), baseline, candidate, margin=gate.margin)
    pairwise.perform(comparison)
    comparison.refresh_from_db()
    quality = (comparison.result or {}).get("quality")
    if not quality:
        return comparison, {"met": False, "text": f"Not comparable with what is live. {comparison.error}"}
    low = quality["low"] if quality["low"] is not None else quality["difference"]
    text = f"Quality against what is live {quality['difference']:+.3f}, at worst {low:+.3f}; margin {gate.margin:g}."
    return comparison, {"met": bool(quality["not_worse"]), "text": text}


def evidence(promotion: Promotion) -> list[tuple[Gate, GateRun | None]]:
    """What the gates of a promotion's environment have found on its version, the newest of each."""
    gates = of_project(promotion.environment.project).filter(environment=promotion.environment)
    rows = GateRun.objects.filter(gate__in=gates, version=promotion.version).order_by("id")
    newest = {row.gate_id: row for row in rows.select_related("run", "baseline", "comparison")}
    return [(gate, newest.get(gate.pk)) for gate in gates if is_for(gate, promotion.version.prompt.name)]


def asked_for(project: Project, document: Mapping[str, Any]) -> dict[str, Any]:
    """A gate as it is written, with what it names found: for `create`."""
    name, _, selector = str(document["dataset"]).partition("@")
    found = {key: value for key, value in document.items() if key not in ("dataset", "model", "environment")}
    found["dataset_version"] = datasets.selected(project, name, selector or "latest")
    found["model"] = providers.model_named(project, str(document["model"]))
    return found
