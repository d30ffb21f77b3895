"""Gates: rules that a version must pass in a run before it is released. A gate is a required check.

Nobody has to start it: reconciliation finds undecided promotions, runs their versions for each gate, and writes the
checks on the versions' hashes. Promotion itself knows only checks.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.module_loading import import_string

from core.errors import Fault, Problem
from core.references import is_prompt_name, quoted
from evaluations.comparisons import lifecycle as comparisons
from evaluations.comparisons import slas
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
    Split,
)
from evaluations.providers import configuration as providers
from evaluations.runs import lifecycle as runs
from evaluations.runs import planning
from evaluations.runs.planning import RunSettings
from evaluations.scorers import specs as scoring
from evaluations.scorers.specs import Spec
from evaluations.statistics.slas import PROPORTIONS, TITLES, UNITS, SLAResult, quality_by, sla_results
from registry.accounts import audit
from registry.accounts.permissions import Actor, Right, actor_for_command_line
from registry.models import CheckStatus, Environment, Project, Promotion, PromptVersion
from registry.models.governance import UNDECIDED
from registry.promotions import approvals, checks, environments
from registry.promotions.environments import Rules

logger = logging.getLogger(__name__)

MAX_NAME_LENGTH = 60
MAX_PROMPTS_LENGTH = 200
MEASURING = "Being measured"
# A gate whose runs ended early (a provider that was down, a spent budget) is measured again after this time.
RETRY_INTERVAL = timedelta(minutes=10)


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
    repetitions: int = 1,
    min_quality: float | None = None,
    quality_scorer: str = "",
    not_worse: bool = True,
    margin: float = comparisons.DEFAULT_MARGIN,
    keeps_slas: bool = True,
    budget_usd: object = None,
) -> Gate:
    """Create a gate, and with it a check that the environment requires from now on."""
    actor.require(Right.ADMINISTER)
    faults = _faults_of_settings(name, prompts, split, min_quality, margin)
    budget = planning.read_budget(budget_usd, faults)
    if faults:
        raise Problem("request.invalid", faults[0].message, faults=faults)
    _require_free_name(environment, name)
    if min_quality is None and not not_worse and not keeps_slas:
        raise Problem("gate.asks_nothing", "This gate has no condition: choose at least one.")
    providers.require_usable(model)
    specs = planning.pin_scorers(actor.project, scoring.read_specs(scorers), model)
    _require_quality_scorer(specs, quality_scorer)
    locked = environments.lock(environment)
    try:
        with transaction.atomic():
            gate = Gate.objects.create(
                environment=locked,
                name=name,
                prompts=prompts.strip(),
                dataset=dataset_version.dataset,
                dataset_version=dataset_version,
                split=split,
                model=model,
                scorers=[spec.as_dict() for spec in specs],
                repetitions=repetitions,
                min_quality=min_quality,
                quality_scorer=quality_scorer,
                not_worse=not_worse,
                margin=margin,
                keeps_slas=keeps_slas,
                budget_usd=budget,
                created_by_name=actor.name,
            )
    except IntegrityError:
        raise Problem("gate.name_taken", f"{environment.name} has a gate {quoted(name)} already.") from None
    audit.record(actor, "gate.created", gate, after={"environment": environment.name, "scorers": gate.scorers})
    environments.set_measured(locked, [*locked.measured_checks, name])
    _require_check(actor, locked, [*locked.required_checks, name])
    _forget_older_results(gate)
    return gate


def _faults_of_settings(name: str, prompts: str, split: str, min_quality: float | None, margin: float) -> list[Fault]:
    faults: list[Fault] = []
    if not is_prompt_name(name) or len(name) > MAX_NAME_LENGTH:
        faults.append(Fault("/name", "name", "Lower-case letters and digits in words joined by . - or _."))
    for pointer, share in (("/min_quality", min_quality), ("/margin", margin)):
        if share is not None and not 0 <= share <= 1:
            faults.append(Fault(pointer, "range", "Must be a number from 0 to 1."))
    if split and split not in Split.values:
        faults.append(Fault("/split", "choice", f"Must be one of: {', '.join(Split.values)}, or empty for all."))
    if len(prompts.strip()) > MAX_PROMPTS_LENGTH or "\0" in prompts:
        faults.append(Fault("/prompts", "length", f"Must have at most {MAX_PROMPTS_LENGTH} characters."))
    return faults


def _require_free_name(environment: Environment, name: str) -> None:
    """Refuse a name that is a check's already, and an environment that requires no checks."""
    if name in environment.required_checks:
        # Also a check of an outside CI: removing the gate would remove the requirement.
        raise Problem("gate.name_taken", f"{environment.name} requires a check {quoted(name)} already.")
    if not environment.protected:
        raise Problem("gate.not_protected", f"{environment.name} is not protected: nothing is asked for there.")
    others = Environment.objects.filter(project=environment.project_id, required_checks__contains=[name])
    if others.exclude(measured_checks__contains=[name]).exists():
        # There it comes from outside, and could no longer be recorded.
        raise Problem("gate.name_taken", f"Another environment requires a check {quoted(name)} from outside.")


def _require_quality_scorer(specs: Sequence[Spec], name: str) -> None:
    names = [spec.name for spec in scoring.quality_specs(specs)]
    if name and name not in names:
        sentence = f"Must be one of the gate's scorers of quality: {', '.join(names)}."
        raise Problem("request.invalid", sentence, faults=[Fault("/quality_scorer", "choice", sentence)])


def _forget_older_results(gate: Gate) -> None:
    """Say of everything that waits that it is not measured yet: a gate of the same name, on other cases, may have let
    it pass."""
    waiting = Promotion.objects.filter(environment=gate.environment, status__in=UNDECIDED)
    for promotion in waiting.select_related("version__prompt"):
        if approvals.newest_checks(promotion.version, gate.environment, [gate.name])[gate.name]:
            _write_check(gate, promotion.version, passed=False, summary=f"{MEASURING} on {gate.dataset_version}.")


@transaction.atomic
def use_cases(actor: Actor, gate: Gate, dataset_version: DatasetVersion) -> Gate:
    """Measure on another version of the gate's cases. That changes what the environment requires, so an admin does it,
    approvals so far become void, and another gate with the same settings replaces this one."""
    actor.require(Right.ADMINISTER)
    if dataset_version.dataset_id != gate.dataset_id:
        sentence = f"The gate is on {gate.dataset.name}; for other cases make another gate."
        raise Problem("request.invalid", sentence, faults=[Fault("/dataset", "choice", sentence)])
    remove(actor, gate)
    kept_settings = ("name", "prompts", "split", "scorers", "repetitions", "min_quality", "not_worse", "margin")
    settings = {
        member: getattr(gate, member) for member in (*kept_settings, "quality_scorer", "keeps_slas", "budget_usd")
    }
    environment = environments.get_environment(actor.project, gate.environment.name)
    return create(actor, environment, dataset_version=dataset_version, model=gate.model, **settings)


@transaction.atomic
def remove(actor: Actor, gate: Gate) -> None:
    """Remove a gate, and the check that it required. Its runs stay."""
    actor.require(Right.ADMINISTER)
    if Gate.objects.filter(pk=gate.pk, removed_at=None).update(removed_at=timezone.now()) != 1:
        raise Problem("gate.not_found", "This gate is removed already.")
    environment = environments.lock(gate.environment)
    audit.record(actor, "gate.removed", gate)
    environments.set_measured(environment, [check for check in environment.measured_checks if check != gate.name])
    _require_check(actor, environment, [check for check in environment.required_checks if check != gate.name])


def _require_check(actor: Actor, environment: Environment, names: Sequence[str]) -> None:
    rules = Rules.of(environment)
    environments.change_rules(actor, environment, replace(rules, required_checks=list(dict.fromkeys(names))))


def active_gates(project: Project) -> QuerySet[Gate]:
    """Return the gates that are not removed, by environment."""
    rows = Gate.objects.filter(environment__project=project, removed_at=None)
    return _with_related(rows)


def _with_related(rows: QuerySet[Gate]) -> QuerySet[Gate]:
    related = ("environment", "dataset__head", "dataset_version__dataset", "model__provider")
    return rows.select_related(*related).order_by("environment__position", "name")


def get_gate(project: Project, number: int) -> Gate:
    """Return the project's gate with this number, or raise `gate.not_found`."""
    gate = active_gates(project).filter(pk=number).first()
    if gate is None:
        raise Problem("gate.not_found", f"There is no gate {number}.")
    return gate


def is_for(gate: Gate, prompt: str) -> bool:
    """Return whether a gate is for a prompt: its name, or the start of names where it ends with a dot."""
    pattern = gate.prompts
    return not pattern or prompt == pattern or (pattern.endswith(".") and prompt.startswith(pattern))


# --- Measuring -------------------------------------------------------------------------------------------------------


def start_gate_runs() -> list[Run]:
    """Start the runs that undecided promotions need, and return them. Reconciliation calls it; safe to repeat."""
    new_runs: list[Run] = []
    waiting = Promotion.objects.filter(
        status__in=UNDECIDED, environment__gates__isnull=False, environment__gates__removed_at=None
    )
    for promotion in waiting.select_related("environment__project", "version__prompt").distinct():
        for gate in active_gates(promotion.environment.project).filter(environment=promotion.environment):
            new_runs += _begin_gate_run(gate, promotion.version)
    return new_runs


def _actor(gate: Gate) -> Actor:
    return replace(actor_for_command_line(gate.environment.project), name=f"gate {gate.name}")


def _begin_gate_run(gate: Gate, version: PromptVersion) -> list[Run]:
    """Start to measure a version for a gate, unless it is measured already."""
    if not is_for(gate, version.prompt.name) or import_string(settings.IS_UNMEASURED)(version):
        newest = approvals.newest_checks(version, gate.environment, [gate.name])[gate.name]
        if newest is None:
            _write_check(gate, version, passed=True, summary="This gate is not for this prompt.")
        return []
    dataset_version = gate.dataset_version
    rows = GateRun.objects.filter(gate=gate, version=version)
    if rows.filter(state=GateState.RUNNING).exists():
        return []
    live = _live_version(gate, version)
    measured = rows.filter(dataset_version=dataset_version).select_related("baseline", "run").order_by("-id").first()
    if measured and _is_current(measured, live):
        return []
    try:
        with transaction.atomic():
            return _start_runs(gate, version, dataset_version, live)
    except Problem as problem:
        summary = f"Cannot be measured: {problem.detail}"[:1_000]
        # It is tried every few seconds; the check says once what the problem is.
        newest = approvals.newest_checks(version, gate.environment, [gate.name])[gate.name]
        if newest is None or newest.summary != summary:
            _write_check(gate, version, passed=False, summary=summary)
            logger.warning("gate.not_begun gate=%s version=%s %s", gate.pk, version.pk, problem.detail)
        return []


def _live_version(gate: Gate, version: PromptVersion) -> PromptVersion | None:
    """Return the live version to compare with; None where it is this version, or the gate does not compare."""
    release = approvals.live_release(gate.environment, version.prompt) if gate.not_worse else None
    return release.version if release and release.version_id != version.pk else None


def _is_current(measured: GateRun, live: PromptVersion | None) -> bool:
    """Return whether a gate run still counts. Another version may be live by now; and where a run ended early, it may
    have been resumed, or is tried again after a while."""
    if measured.state == GateState.ERRORED:
        ended_at = measured.finished_at or measured.created_at
        return timezone.now() - ended_at < RETRY_INTERVAL
    baseline = measured.baseline.version_id if measured.baseline else None
    return baseline == (live.pk if live else None)


def _start_runs(
    gate: Gate, version: PromptVersion, dataset_version: DatasetVersion, live: PromptVersion | None
) -> list[Run]:
    actor = _actor(gate)
    candidate = runs.create(actor, _run_settings(gate, version, dataset_version))
    baseline = None
    if live is not None:
        baseline = runs.create(actor, _run_settings(gate, live, dataset_version))
    GateRun.objects.create(
        gate=gate, version=version, dataset_version=dataset_version, run=candidate, baseline=baseline
    )
    # Also where an older check passed: it was compared with another live version, and no longer counts.
    summary = f"{MEASURING} on {dataset_version}, in run {candidate.pk}."
    _write_check(gate, version, passed=False, summary=summary)
    return [candidate, *([baseline] if baseline else [])]


def _model_for(gate: Gate, version: PromptVersion) -> ProviderModel:
    """Return the model that a version names, where the gate's provider has it, because a tuned model is part of its
    version; else the gate's own."""
    own = str(version.content.get("model", {}).get("name") or "")
    models = gate.model.provider.models.select_related("provider").filter(archived_at=None)
    return models.filter(name=own).first() or gate.model


def _run_settings(gate: Gate, version: PromptVersion, dataset_version: DatasetVersion) -> RunSettings:
    levels = slas.get_slas(gate.environment.project)
    needs_latency = gate.keeps_slas and levels.p99_latency_ms is not None
    return RunSettings(
        version=version,
        dataset_version=dataset_version,
        scorers=gate.scorers,
        model=_model_for(gate, version),
        split=gate.split,
        repetitions=gate.repetitions,
        leaked="exclude",
        budget_usd=gate.budget_usd,
        # An answer of before has no latency of today.
        fresh=needs_latency,
        concurrency=levels.concurrency if needs_latency else None,
    )


def _write_check(gate: Gate, version: PromptVersion, *, passed: bool, summary: str) -> Any:
    status = CheckStatus.PASSED if passed else CheckStatus.FAILED
    return checks.record(
        _actor(gate), version, name=gate.name, status=status, summary=summary[:1_000], measured_for=gate.environment
    )


def unsettled_gate_runs() -> QuerySet[GateRun]:
    """Return open gate runs whose runs have their summaries."""
    rows = GateRun.objects.filter(state=GateState.RUNNING, run__summary__isnull=False)
    rows = rows.exclude(baseline__isnull=False, baseline__summary__isnull=True)
    return rows.select_related(
        *("gate__environment__project", "version__prompt", "dataset_version__dataset", "run", "baseline"),
    ).order_by("id")


def settle(gate_run: GateRun) -> GateRun:
    """Decide whether a version passes, and write the check. Does nothing where another worker did."""
    gate = gate_run.gate
    reasons: list[dict[str, Any]] = []
    comparison = None
    for run in (gate_run.run, gate_run.baseline):
        if run is not None and run.state != RunState.DONE:
            text = f"Run {run.pk} ended: {RunState(run.state).label.lower()}. {run.error}"
            reasons.append({"met": False, "text": text})
    is_measured = not reasons
    if is_measured:
        reasons += _own_reasons(gate, gate_run.run)
        if gate_run.baseline:
            comparison, reason = _compare_with_live(gate, gate_run.run, gate_run.baseline)
            reasons.append(reason)
        elif gate.not_worse:
            reasons.append({"met": True, "text": "No other version is live to compare with."})
    passed = is_measured and all(reason["met"] for reason in reasons)
    state = GateState.PASSED if passed else GateState.FAILED if is_measured else GateState.ERRORED
    with transaction.atomic():
        mine = GateRun.objects.select_for_update().filter(pk=gate_run.pk, state=GateState.RUNNING).first()
        if mine is None:
            return gate_run
        missed = [reason["text"] for reason in reasons if not reason["met"]] or [reason["text"] for reason in reasons]
        written = _write_check(gate, gate_run.version, passed=passed, summary=" ".join(missed))
        mine.state, mine.reasons, mine.comparison = state, reasons, comparison
        mine.check_written, mine.finished_at = written, timezone.now()
        mine.save(update_fields=["state", "reasons", "comparison", "check_written", "finished_at"])
    return mine


def _own_reasons(gate: Gate, run: Run) -> list[dict[str, Any]]:
    summary = run.summary or {}
    reasons = []
    if gate.min_quality is not None:
        figure = quality_by(summary, gate.quality_scorer)
        (result,) = sla_results({**summary, "quality": figure}, {"quality": gate.min_quality})
        names = gate.quality_scorer or ", ".join(summary.get("quality_of") or ())
        text = f"{_describe_result(result)}, by {names}." if names else f"{_describe_result(result)}."
        reasons.append({"met": result.is_met, "text": text})
    levels = slas.slas_as_dict(slas.get_slas(gate.environment.project)) if gate.keeps_slas else {}
    for result in sla_results(summary, levels):
        whose = ", by the SLA" if result.name == "quality" else ""
        reasons.append({"met": result.is_met, "text": f"{_describe_result(result)}{whose}."})
    return reasons


def _describe_result(result: SLAResult) -> str:
    """Describe a figure and its target: Quality 0.912, at least 0.9."""
    bound = "at least" if result.name in PROPORTIONS else "at most"
    level, unit = f"{Decimal(str(result.target)).normalize():f}", UNITS.get(result.name, "")
    if result.value is None:
        missing = "not measured: add the scorer json_schema" if result.name == "format_adherence" else "unknown"
        missing = result.reason or missing
        return f"{TITLES[result.name]} {missing}, {bound} {level} {unit}".rstrip()
    figure = f"{result.value:.3f}" if result.name in PROPORTIONS else f"{result.value:.6g} {unit}"
    return f"{TITLES[result.name]} {figure}, {bound} {level} {unit}".rstrip()


def _compare_with_live(gate: Gate, candidate: Run, baseline: Run) -> tuple[Comparison, dict[str, Any]]:
    comparison = comparisons.create(_actor(gate), [baseline, candidate], margin=gate.margin)
    comparisons.run_comparison(comparison)
    comparison.refresh_from_db()
    quality = (comparison.result or {}).get("quality")
    if not quality:
        return comparison, {"met": False, "text": f"Not comparable with the live version. {comparison.error}"}
    low = quality["low"] if quality["low"] is not None else quality["difference"]
    difference = f"{quality['difference']:+.3f}, at worst {low:+.3f}; margin {gate.margin:g}"
    text = f"Quality compared with the live version {difference}."
    return comparison, {"met": bool(quality["not_worse"]), "text": text}


def gate_evidence(promotion: Promotion) -> list[tuple[Gate, GateRun | None]]:
    """Return the gates of a promotion's environment with the newest gate run of its version: of a decided one, as they
    were at the decision."""
    gates = active_gates(promotion.environment.project).filter(environment=promotion.environment)
    rows = GateRun.objects.filter(version=promotion.version)
    if promotion.decided_at is not None:
        existed = Q(removed_at=None) | Q(removed_at__gt=promotion.decided_at)
        rules = Gate.objects.filter(existed, environment=promotion.environment, created_at__lte=promotion.decided_at)
        gates = _with_related(rules)
        rows = rows.filter(created_at__lte=promotion.decided_at)
    rows = rows.filter(gate__in=gates).order_by("id")
    newest = {row.gate_id: row for row in rows.select_related("run", "baseline", "comparison")}
    return [(gate, newest.get(gate.pk)) for gate in gates if is_for(gate, promotion.version.prompt.name)]


def settings_from_document(project: Project, document: Mapping[str, Any]) -> dict[str, Any]:
    """Read a gate's settings as users write them, for `create`."""
    name, _, selector = str(document["dataset"]).partition("@")
    settings = {key: value for key, value in document.items() if key not in ("dataset", "model", "environment")}
    settings["dataset_version"] = datasets.get_version(project, name, selector or "latest")
    settings["model"] = providers.get_model(project, str(document["model"]))
    return settings
